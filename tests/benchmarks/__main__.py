"""``python -m tests.benchmarks [loss match ...] [--seconds 5] [--out FILE] [--plot FILE]``."""

import argparse
import os

threads_parser = argparse.ArgumentParser(add_help=False)
threads_parser.add_argument(
    '--threads',
    type=int,
    default=1,
    help='threads of BLAS and torch. With several, times are wall time, and the machine must be '
    'idle. With one, they are processor time',
)
N_THREAD = threads_parser.parse_known_args()[0].threads

# NumPy reads them at its import.
for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[name] = str(N_THREAD)

import importlib  # noqa: E402
import platform  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from tests.benchmarks import _report, _timing  # noqa: E402

warnings.simplefilter('ignore')
MODULES = sorted(path.stem[len('bench_') :] for path in Path(__file__).parent.glob('bench_*.py'))


def main():
    parser = argparse.ArgumentParser(prog='python -m tests.benchmarks', parents=[threads_parser])
    parser.add_argument('modules', nargs='*', metavar='module', help=f'all of {MODULES}')
    parser.add_argument('--seconds', type=float, default=5, help='duration of each comparison')
    parser.add_argument('--out', type=Path, help='also write the table to this file')
    parser.add_argument('--plot', type=Path, help='write a plot to this file (needs matplotlib)')
    args = parser.parse_args()
    for name in args.modules:
        if name not in MODULES:
            parser.error(f'no benchmark {name!r}: expected some of {MODULES}')

    for path in filter(None, (args.out, args.plot)):
        path.parent.mkdir(parents=True, exist_ok=True)
    count = 'one thread' if N_THREAD == 1 else f'{N_THREAD} threads'
    if N_THREAD > 1:
        _timing.clock = time.perf_counter
    text = [
        f'Python {platform.python_version()}, NumPy {np.__version__}, {count} of '
        f'{platform.machine()} {_report.processor()}'
    ]
    print(text[0], flush=True)
    results = []
    for name in args.modules or MODULES:
        for case in importlib.import_module(f'tests.benchmarks.bench_{name}').cases():
            results.append((case, _timing.compare(case, args.seconds)))
            text.append(_report.table(*results[-1]))
            print(text[-1], flush=True)
            results[-1] = (case._replace(functions={}), results[-1][1])  # frees the arrays
            del case
    if args.out:
        args.out.write_text('\n'.join(text) + '\n', encoding='utf-8')
    if args.plot:
        _report.plot(results, args.plot)


main()
