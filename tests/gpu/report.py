"""Runs the tests of the GPU and writes a report of one page: the GPU, results, and times.

python -m tests.gpu.report [arguments of pytest]
"""

import statistics
import sys
from pathlib import Path

import pytest

from chainer_ssd.cli._environment import describe_environment
from tests.benchmarks import bench_loss

OUTPUT = Path('build/gpu-report.txt')
N_WARM_UP, N_ROUND = 3, 20
ROWS = 'chainer_ssd', 'Python', 'platform', 'NumPy', 'Chainer', 'CuPy', 'GPU'
#: Ways to compute the loss, by their values of ``chainer.config.use_fused_multibox``.
WAYS = {'definition': 'never', 'CUDA kernels': 'always'}


class Outcomes:
    """Plugin of pytest that counts results."""

    def __init__(self):
        self.n_passed, self.skipped, self.failed = 0, [], []

    def pytest_runtest_logreport(self, report):
        """Count a test once: when it ran, was skipped, or failed in any phase."""
        if report.failed:
            self.failed.append(f'{report.nodeid} ({report.when})')
        elif report.skipped:
            self.skipped.append(f'{report.nodeid}: {report.longrepr[2]}')
        elif report.when == 'call':
            self.n_passed += 1

    def pytest_collectreport(self, report):
        """Count a file that cannot be collected."""
        if report.failed:
            self.failed.append(f'{report.nodeid} (collection)')


def measure(batch, n_box, n_class):
    """Return milliseconds of forward and backward for each way, measured in turn by events.

    A copy of the predictions reads and writes as much as the least possible work.
    """
    import cupy

    arrays = [cupy.asarray(array) for array in bench_loss.make(batch, n_box, n_class)]
    functions = {
        name: lambda use=use: bench_loss.with_config(use, *arrays) for name, use in WAYS.items()
    }
    functions['copy'] = lambda: [array.copy() for array in arrays[:2]]
    times = {name: [] for name in functions}
    for i in range(N_WARM_UP + N_ROUND):
        for name, function in functions.items():
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            function()
            end.record()
            end.synchronize()
            if i >= N_WARM_UP:
                times[name].append(cupy.cuda.get_elapsed_time(start, end))
    return times


def format_report(environment, outcomes, times):
    """Return the text.

    Parameters
    ----------
    environment : list of pairs of str
        Rows of ``chainer-ssd env``.
    outcomes : Outcomes
        Results of the tests.
    times : dict of str to (dict of str to list of float, or Exception)
        For each size: milliseconds of each way, or why they were not measured.
    """
    lines = [f'{name:12} {value}' for name, value in environment if name in ROWS]
    lines += [
        '',
        f'tests        {outcomes.n_passed} passed, {len(outcomes.failed)} failed, '
        f'{len(outcomes.skipped)} skipped',
        *(f'  failed     {name}' for name in outcomes.failed),
        *(f'  skipped    {name}' for name in outcomes.skipped),
        '',
        f'loss, forward and backward, ms: median (minimum to maximum) of {N_ROUND}, in turn',
    ]
    for size, ways in times.items():
        if isinstance(ways, Exception):
            lines.append(f'{size:12} not measured: {type(ways).__name__}: {ways}')
            continue
        for name, ms in ways.items():
            median, limits = statistics.median(ms), f'({min(ms):.3f} to {max(ms):.3f})'
            lines.append(f'{size:12} {name:12} {median:8.3f} {limits}')
    return '\n'.join(lines) + '\n'


def main(arguments):
    """Run the tests, print and write the report, and return pytest's status."""
    outcomes, times = Outcomes(), {}
    status = pytest.main(['-m', 'gpu', *arguments], plugins=[outcomes])
    for size, *shape, _ in bench_loss.SHAPES:
        try:
            times[size] = measure(*shape)
        except Exception as error:  # the report must tell what the tests showed
            times[size] = error
    text = format_report(describe_environment(), outcomes, times)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(text, encoding='utf-8')
    print(f'\n{text}\nThis report is in {OUTPUT}.')
    return status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
