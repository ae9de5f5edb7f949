"""Run the fuzzers for a set time, and print the number of cases per second of each."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from tests.fuzz.properties import PROPERTIES

# Their module cannot be imported here, because Atheris instruments the package when it is imported.
PARSERS = (
    'VOC annotation',
    'VOC list',
    'COCO',
    'COCO ids',
    'YOLO labels',
    'YOLO data.yaml',
    'image',
    'npz',
    'detector',
    'snapshot record',
    'JSON',
)
#: A parser that needs more memory or more time for one file has a fault.
PARSER_LIMITS = '-rss_limit_mb=1024', '-timeout=20', '-max_len=20000'
MAX_FAILURE_LINES = 40
#: Folder for the files that a parser failed on.
CRASH_FOLDER = 'build/fuzz'


class Outcome(NamedTuple):
    """What one fuzzer did."""

    name: str
    n_case: int
    seconds: float
    failure: str | None


def fuzz(name, seconds, seed):
    """Run one fuzzer in a process of its own.

    Parameters
    ----------
    name : str
        A key of ``PROPERTIES``, or one of ``PARSERS``.
    seconds : float
        How long.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    Outcome
    """
    os.makedirs(CRASH_FOLDER, exist_ok=True)
    if name in PROPERTIES:
        command = ['tests.fuzz.properties', name, f'--seconds={seconds}', f'--seed={seed}']
    else:
        command = [
            'tests.fuzz.parsers',
            name,
            f'-max_total_time={max(1, round(seconds))}',
            f'-seed={seed + 1}',  # libFuzzer takes 0 for a random seed
            '-print_final_stats=1',
            f'-artifact_prefix={CRASH_FOLDER}/{name.replace(" ", "_")}-',
            *PARSER_LIMITS,
        ]
    process = subprocess.run(
        [sys.executable, '-m', *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'},
        check=False,
    )
    return read_outcome(name, process.returncode, process.stdout, seconds)


def read_outcome(name, status, printed, seconds):
    """Return what a fuzzer did, from its exit status and what it printed."""
    lines = [line for line in printed.splitlines() if not line.startswith('INFO: Instrumenting')]
    tail = '\n'.join(lines[-MAX_FAILURE_LINES:])
    if name in PROPERTIES:
        with contextlib.suppress(ValueError, IndexError, KeyError):
            result = json.loads(lines[-1])
            return Outcome(name, result['cases'], result['seconds'], result['failure'])
        return Outcome(name, 0, seconds, tail)
    count = re.search(r'stat::number_of_executed_units: (\d+)', printed)
    return Outcome(name, int(count[1]) if count else 0, seconds, tail if status else None)


def main():
    """Run the fuzzers that the command line names, and exit with status 1 if one found a fault."""
    parser = argparse.ArgumentParser(prog='python -m tests.fuzz', description=__doc__)
    parser.add_argument(
        '--seconds', type=float, default=300, help='time of all fuzzers (default: %(default)g)'
    )
    parser.add_argument(
        '--jobs', type=int, default=os.cpu_count() or 1, help='processes (default: %(default)s)'
    )
    parser.add_argument(
        '--seed', type=int, help='0 or more (default: a random one, which is printed)'
    )
    parser.add_argument(
        '--target', action='append', choices=(*PROPERTIES, *PARSERS), help='default: all'
    )
    args = parser.parse_args()
    if importlib.util.find_spec('atheris') is None:
        parser.error('the parsers need Atheris: pip install "chainer_ssd[dev]"')
    seed = np.random.SeedSequence().entropy % 2**31 if args.seed is None else args.seed
    names = args.target or (*PROPERTIES, *PARSERS)
    seconds = args.seconds * args.jobs / len(names)
    print(f'seed {seed}, {seconds:.0f} s for each of {len(names)} fuzzers', flush=True)
    failures = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for outcome in pool.map(lambda name: fuzz(name, seconds, seed), names):
            rate = outcome.n_case / outcome.seconds
            print(
                f'{outcome.name:28} {outcome.n_case:>9} cases {rate:>8.1f} cases/s  '
                f'{"FAILED" if outcome.failure else "ok"}',
                flush=True,
            )
            if outcome.failure or not outcome.n_case:
                failures.append(outcome)
    for outcome in failures:
        print(f'\n{outcome.name}:\n{outcome.failure or "no case ran"}')
    sys.exit(bool(failures))


if __name__ == '__main__':
    main()
