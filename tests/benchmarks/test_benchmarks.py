"""That the benchmarks compare what they say; their figures come from ``make bench``."""

import time

import pytest

from tests.benchmarks import _report, _timing, bench_loss


def test_compare_tells_slow_from_fast():
    def spin(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    case = _timing.Case(
        'a title',
        {'slow': lambda: spin(0.008), 'fast': lambda: spin(0.001)},
        'slow',
        asked='a wish',
        floor='fast',
        per_call=4,
    )
    timings = _timing.compare(case, seconds=0)
    fast = timings['fast']
    assert fast.minimum <= fast.median <= fast.maximum
    assert 3 < fast.times_faster < 9 and timings['slow'].times_faster == 1
    assert fast.times_floor == 1 and 3 < timings['slow'].times_floor < 9
    table = _report.table(case, timings)
    assert 'a title' in table and 'a wish' in table and 'slow' in table


def test_peak_memory_counts_what_is_returned_and_what_was_let_go():
    assert 3e6 <= _timing.peak_memory(lambda: (bytes(10**6), bytes(2 * 10**6))) < 3.1e6
    assert 2e6 <= _timing.peak_memory(lambda: len(bytes(2 * 10**6))) < 2.1e6


def test_the_losses_agree(monkeypatch):
    monkeypatch.setattr(bench_loss, 'SHAPES', [('small', 2, 300, 5, '')])
    (case,) = bench_loss.cases()  # checks its ways
    wrong = dict(case.ways, wrong=lambda: [2 * x for x in case.ways['our node']()])
    with pytest.raises(AssertionError, match='wrong'):
        bench_loss.check(wrong)


def test_the_plot_is_drawn(tmp_path):
    pytest.importorskip('matplotlib', reason='the plot extra is not installed')
    case = _timing.Case('a title', {'slow': lambda: sum(range(9999)), 'fast': int}, 'slow')
    _report.plot([(case, _timing.compare(case, 0))], tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 1000
