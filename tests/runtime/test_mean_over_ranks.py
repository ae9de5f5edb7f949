from types import SimpleNamespace

import pytest

from chainer_ssd.runtime import MeanOverRanks
from tests.distributed.threads import run_ranks


def observe(comm, *observations):
    """Return what the extension makes of the observations of a rank's iterations."""
    extension = MeanOverRanks(comm, (len(observations), 'iteration'))
    for i, observation in enumerate(observations, 1):
        trainer = SimpleNamespace(
            observation=dict(observation), updater=SimpleNamespace(iteration=i)
        )
        trainer.updater.get_iterator = None
        extension(trainer)
    return trainer.observation


@pytest.mark.parametrize('size', [1, 2, 3])
def test_the_mean_over_iterations_and_ranks(size):
    def work(comm):
        return observe(comm, {'main/loss': comm.rank, 'lr': 5}, {'main/loss': 2 + comm.rank})

    assert run_ranks(size, work) == [{'main/loss': 1 + (size - 1) / 2}] * size


def test_other_values_stay():
    assert run_ranks(2, lambda comm: observe(comm, {'lr': comm.rank})) == [{'lr': 0}, {'lr': 1}]


@pytest.mark.parametrize('lacking', [0, 1, 2])
def test_a_value_that_one_rank_lacks_is_the_mean_of_the_others(lacking):
    def work(comm):
        own = {} if comm.rank == lacking else {'main/n_skipped': 1 + comm.rank}
        return observe(comm, {'main/loss': 4.0, **own})

    mean = sum(1 + rank for rank in range(3) if rank != lacking) / 2
    assert run_ranks(3, work) == [{'main/loss': 4.0, 'main/n_skipped': mean}] * 3
