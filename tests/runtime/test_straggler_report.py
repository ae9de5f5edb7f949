from pathlib import Path
from types import SimpleNamespace

import pytest

from chainer_ssd.runtime import StragglerReport
from chainer_ssd.runtime.straggler_report import find_straggler

JOB = Path(__file__).parents[1] / 'distributed/job.py'
#: data, forward, backward, update, extensions: at work and blocked
SLOW_IN_DATA = [(60, 0), (20, 0), (20, 0), (0, 0), (0, 0)]
OTHER = [(10, 0), (20, 0), (20, 0), (0, 50), (0, 0)]


def test_the_rank_that_is_blocked_least_is_the_slowest():
    slow = find_straggler({0: OTHER, 1: SLOW_IN_DATA, 2: OTHER}, {})
    assert slow.rank == 1 and slow.part == 'data'
    assert slow.waiting == pytest.approx(0.5)


def test_only_the_interval_counts():
    before = {0: OTHER, 1: SLOW_IN_DATA}
    after = {
        rank: [(a + 20, b + 20 * (rank == 1)) for a, b in parts] for rank, parts in before.items()
    }
    slow = find_straggler(after, before)
    assert slow.rank == 0 and slow.waiting == pytest.approx(0.5)


def test_blocked_time_in_a_part_is_not_its_work():
    """As in a model with batch normalization over ranks."""
    waits_in_forward = [(10, 0), (10, 70), (10, 0), (0, 0), (0, 0)]
    slow_in_backward = [(10, 0), (10, 0), (80, 0), (0, 0), (0, 0)]
    assert find_straggler({0: waits_in_forward, 1: slow_in_backward}, {}).part == 'backward'


@pytest.mark.parametrize(
    'samples',
    [
        {0: OTHER, 1: OTHER},
        {0: OTHER, 1: [(10, 0), (20, 0), (22, 0), (0, 48), (0, 0)]},  # within the noise
        {0: [(0, 1)] * 5, 1: [(1, 0)] * 2 + [(0, 1)] * 3},  # few samples
    ],
)
def test_a_small_difference_names_no_rank(samples):
    assert find_straggler(samples, {}).part == ''


@pytest.mark.parametrize('samples', [{}, {0: OTHER}, {0: OTHER, 1: [(0, 0)] * 5}])
def test_one_rank_is_not_compared(samples):
    assert find_straggler(samples, {}) is None


def test_the_report(capsys):
    samples = {0: OTHER, 1: OTHER, 2: SLOW_IN_DATA}
    watchdog = SimpleNamespace(rank=0, size=3, read_samples=lambda: samples)
    trainer = SimpleNamespace(observation={})
    report = StragglerReport(watchdog)
    report(trainer)
    assert trainer.observation == {'straggler/waiting': pytest.approx(0.5), 'straggler/rank': 2}
    text = 'slowest: rank 2, in data (the other ranks wait 50 % of the time)'
    assert report.text == text and capsys.readouterr().out == text + '\n'
    report(trainer)  # no new samples
    assert report.text is None and capsys.readouterr().out == ''


def test_other_ranks_report_nothing():
    trainer = SimpleNamespace(observation={})
    StragglerReport(SimpleNamespace(rank=1, size=3))(trainer)
    assert trainer.observation == {}


@pytest.mark.mpi
@pytest.mark.parametrize(('part', 'rank'), [('data', 1), ('forward', 0), ('backward', 1)])
def test_a_slow_rank_and_its_part_are_named(mpiexec, tmp_path, part, rank):
    options = '--iterations', 61, '--watchdog', 20, '--slow-part', f'{part}@{rank}'
    printed = mpiexec(2, JOB, tmp_path, *options)
    assert f'slowest: rank {rank}, in {part} (the other ranks wait ' in printed, printed
