"""Runs the tests on each Python with the oldest and the newest NumPy that supports it.

    make test-matrix PYTHONS='python3.9 python3.12 python3.13'

Each pair has an environment and a log in ``.matrix``. The script prints a table of results, and
writes it to ``.matrix/results.md``. A missing Python is a failure.
"""

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / '.matrix'
PYTHONS = ['python3.9', 'python3.12', 'python3.13']
# The oldest supported NumPy that has wheels for the Python.
OLDEST = {'3.9': '1.23.0', '3.10': '1.23.0', '3.11': '1.23.2', '3.12': '1.26.0', '3.13': '2.1.0'}
# As a URL, because pip splits both variables at spaces.
CONSTRAINTS = (ROOT / 'build-constraints.txt').as_uri()
ENVIRONMENT = {'PIP_CONSTRAINT': CONSTRAINTS, 'PIP_BUILD_CONSTRAINT': CONSTRAINTS}
COLUMNS = ['Python', 'NumPy', 'Chainer', 'passed', 'failed', 'skipped', 'seconds', 'result']

VERSIONS = """
import platform
from importlib.metadata import version
print(platform.python_version(), version('numpy'), version('chainer'))
"""


def minor_version(python):
    """Return the version as ``'3.9'``, or None if there is no such Python."""
    try:
        out = subprocess.run([python, '--version'], capture_output=True, text=True).stdout
    except OSError:
        return None
    found = re.match(r'Python (\d+\.\d+)', out)
    return found and found[1]


def run_logged(command, log):
    """Run a command with its output in the log, and return its exit status."""
    log.write(f'$ {" ".join(map(str, command))}\n')
    log.flush()
    return subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        stdout=log,
        stderr=log,
        env={**os.environ, **ENVIRONMENT},
    ).returncode


def run_pair(python, minor, age):
    """Run the tests in a new environment, and return the row of the table."""
    name = f'python{minor}-{age}-numpy'
    environment, report = FOLDER / name, FOLDER / f'{name}.xml'
    inside = environment / 'bin' / 'python'
    numpy = f'numpy=={OLDEST[minor]}' if age == 'oldest' else 'numpy'
    report.unlink(missing_ok=True)
    with open(FOLDER / f'{name}.log', 'w') as log:
        for command in (
            [python, '-m', 'venv', environment],
            [inside, *'-m pip install --use-pep517 --upgrade --editable .[dev]'.split(), numpy],
        ):
            if run_logged(command, log):
                return [minor, age, '', '', '', '', '', f'no environment: {log.name}']
        versions = subprocess.run([inside, '-c', VERSIONS], capture_output=True, text=True)
        started = time.time()
        code = run_logged(
            [inside, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', f'--junitxml={report}'], log
        )
        seconds = time.time() - started
    row = versions.stdout.split()
    if not report.exists():
        return [*row, '', '', '', f'{seconds:.0f}', f'pytest exit {code}: {log.name}']
    counts = next(ET.parse(report).iter('testsuite')).attrib
    failed = int(counts['failures']) + int(counts['errors'])
    passed = int(counts['tests']) - failed - int(counts['skipped'])
    result = 'ok' if code == 0 else f'exit {code}: {log.name}'
    return [*row, passed, failed, counts['skipped'], f'{seconds:.0f}', result]


def main(pythons):
    """Test the Pythons, and return whether one failed."""
    FOLDER.mkdir(exist_ok=True)
    rows = []
    for python in pythons or PYTHONS:
        minor = minor_version(python)
        if minor not in OLDEST:
            rows.append([python, '', '', '', '', '', '', 'missing' if not minor else 'unknown'])
            continue
        for age in 'oldest', 'newest':
            rows.append(run_pair(python, minor, age))
            print(*rows[-1], flush=True)
    lines = [COLUMNS, ['---'] * len(COLUMNS), *rows]
    table = '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines)
    (FOLDER / 'results.md').write_text(table + '\n')
    print(table)
    return any(row[-1] != 'ok' for row in rows)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
