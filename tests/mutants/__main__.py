"""Break the core lines one by one, and show that the tests notice."""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]
#: A mutant may never end. The tests without a mutant take a few seconds.
TIMEOUT_SECONDS = 120
#: Exit status of pytest if a test failed, or if a file of tests could not be imported.
FAILED_STATUSES = 1, 2


def apply(mutant, package):
    """Write a mutant into a copy of the package, and return the original text of the file.

    Raises
    ------
    ValueError
        If the old text does not stand in the file exactly once.
    """
    path = package / mutant.file
    text = path.read_text('utf-8')
    if text.count(mutant.old) != 1:
        raise ValueError(f'{mutant.file}: {mutant.old!r} stands {text.count(mutant.old)} times')
    path.write_text(text.replace(mutant.old, mutant.new), 'utf-8')
    return text


def run_tests(copy, tests):
    """Return whether tests pass on a copy of the repository.

    Raises
    ------
    RuntimeError
        If pytest neither passes nor fails nor crashes, for example because it finds no test.
    """
    try:
        process = subprocess.run(
            [
                *(sys.executable, '-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider'),
                *('-m', 'not gpu and not slow'),  # also those that are marked cuda
                *(f'tests/{test}' for test in tests),
            ],
            cwd=copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env={
                **os.environ,
                'PYTHONPATH': str(copy),
                'PYTHONDONTWRITEBYTECODE': '1',
                'OMP_NUM_THREADS': '1',
                'OPENBLAS_NUM_THREADS': '1',
            },
            check=False,
        )
    except subprocess.TimeoutExpired:  # a mutant that never ends is noticed
        return False
    if process.returncode < 0:  # a signal ended it, such as SIGSEGV
        return False
    if process.returncode not in (0, *FAILED_STATUSES):
        raise RuntimeError(f'pytest ended with status {process.returncode}:\n{process.stdout}')
    return process.returncode == 0


def copy_repository(folder):
    """Copy what the tests need, and return the path of the copy."""
    copy = Path(folder, 'copy')
    ignore = shutil.ignore_patterns('__pycache__', '.hypothesis')
    for name in 'chainer_ssd', 'tests':
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in 'pyproject.toml', 'chainer_ssd_startup.py':
        shutil.copy(ROOT / name, copy)
    return copy


def survives(mutant, copy):
    """Return whether the tests pass with a mutant. The copy is as before afterwards."""
    path = copy / 'chainer_ssd' / mutant.file
    text = apply(mutant, copy / 'chainer_ssd')
    try:
        return run_tests(copy, mutant.tests)
    finally:
        path.write_text(text, 'utf-8')


def main():
    """Run the mutants that the command line names, and exit with status 1 if one survives."""
    parser = argparse.ArgumentParser(prog='python -m tests.mutants', description=__doc__)
    parser.add_argument('--only', metavar='FILE', help='mutants of one file (default: all)')
    parser.add_argument('--jobs', type=int, default=1, help='processes (default: %(default)s)')
    args = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if args.only in (None, mutant.file)]
    if not mutants:
        parser.error(f'--only {args.only}: no mutant of this file')
    start = time.monotonic()
    survivors = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        copies = queue.Queue()
        for i in range(args.jobs):
            copies.put(copy_repository(Path(folder, str(i))))
        copy = copies.get()
        for tests in sorted({mutant.tests for mutant in mutants}):
            if not run_tests(copy, tests):
                parser.error(f'{tests} fail without a mutant')
        copies.put(copy)

        def run(mutant):
            copy = copies.get()
            try:
                return mutant, survives(mutant, copy)
            finally:
                copies.put(copy)

        for mutant, is_alive in pool.map(run, mutants):
            verdict = 'SURVIVES' if is_alive else 'killed'
            print(f'{verdict:8}  {mutant.file}: {mutant.old!r} -> {mutant.new!r}', flush=True)
            survivors += [mutant] * is_alive
    seconds = time.monotonic() - start
    print(f'{len(mutants) - len(survivors)} of {len(mutants)} mutants killed in {seconds:.0f} s')
    sys.exit(bool(survivors))


if __name__ == '__main__':
    main()
