import copy
import pickle
from types import SimpleNamespace

import chainer
import numpy as np
import pytest

from chainer_ssd import MultiboxTrainChain, multibox_loss
from chainer_ssd.distributed import PositiveCount, RanksOutOfStepError


class Communicator:
    """Two ranks without ``mpi_comm``, as a user's class may be. The other rank always counts 4.

    The other rank is at the same step as this one, or at ``step`` if it is given.
    """

    rank, size = 1, 2

    def __init__(self, step=None):
        self.counts, self.step = [], step

    def allreduce_obj(self, value):
        if isinstance(value, list):
            return value + [(0, f'in training after {self.step} updates')]
        self.counts.append(value[0])
        s = value[1] if self.step is None else 2 * self.step + 1
        return value + np.array([4, s, s * s])


def arrays(n_positive):
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 10), 'i')
    labels[0, :n_positive] = 1
    return (
        rng.normal(size=(2, 10, 4)).astype('f'),
        rng.normal(size=(2, 10, 3)).astype('f'),
        rng.normal(size=(2, 10, 4)).astype('f'),
        labels,
    )


@pytest.mark.parametrize(('local', 'mean'), [(6, 5.0), (0, 2.0), (1, 2.5)])
def test_without_mpi_the_count_is_summed_as_an_object(local, mean):
    comm = Communicator()
    assert PositiveCount(comm).mean(np.array(local)) == mean
    assert comm.counts == [local]


class MPICommunicator:
    """``comm.mpi_comm`` of one rank that counts the collective calls of each duplicate."""

    def __init__(self):
        self.n_call, self.duplicates = 0, []

    def Dup(self):
        self.duplicates.append(MPICommunicator())
        return self.duplicates[-1]

    def Allreduce(self, local, total):
        self.n_call += 1
        total[:] = local


def test_the_count_has_a_private_communicator():
    # A collective call on the user's communicator could pair with the user's own one.
    comm = SimpleNamespace(rank=0, size=1, mpi_comm=MPICommunicator())
    assert PositiveCount(comm).mean(3) == 3
    (duplicate,) = comm.mpi_comm.duplicates
    assert duplicate.n_call == 1
    assert comm.mpi_comm.n_call == 0


def test_a_communicator_has_one_count():
    comm = Communicator()
    count = PositiveCount.of(comm)
    assert PositiveCount.of(comm) is count
    assert PositiveCount.of(count) is count
    assert PositiveCount.of(Communicator()) is not count


@pytest.mark.parametrize('step', [0, 7, 100_000, 3_000_000])
def test_ranks_at_the_same_step_raise_no_error(step):
    count = PositiveCount(Communicator(step % 2**19))
    count.step = step
    assert count.mean(2) == 3


@pytest.mark.parametrize(('step', 'train'), [(6, True), (8, True), (7, False), (3_000_000, True)])
def test_the_error_for_ranks_out_of_step_names_their_steps(step, train):
    count = PositiveCount(Communicator(7))
    count.step = step
    found = f'ranks .0. in training after 7 updates; ranks .1. in {"training" if train else "eval"}'
    with chainer.using_config('train', train):
        with pytest.raises(RanksOutOfStepError, match=found):
            count.mean(2)


def test_a_copied_model_has_the_same_count_and_pickle_refuses_it():
    count = PositiveCount(Communicator())
    chain = MultiboxTrainChain(chainer.Chain(), comm=count)
    assert copy.deepcopy(chain).comm is count
    with pytest.raises(TypeError, match='cannot be pickled'):
        pickle.dumps(count)


@pytest.mark.parametrize('use', ['auto', 'never'])
@pytest.mark.parametrize('wrap', [lambda comm: comm, PositiveCount])
def test_the_loss_is_divided_by_the_mean(wrap, use):
    comm = Communicator()
    with chainer.using_config('use_fused_multibox', use):
        with_comm = multibox_loss(*arrays(6), 3, wrap(comm))
        alone = multibox_loss(*arrays(6), 3)
    for a, b in zip(with_comm, alone):
        np.testing.assert_allclose(a.array * 5, b.array * 6, rtol=1e-6)
    assert comm.counts == [6]


def test_a_rank_without_positives_takes_part():
    comm = Communicator()
    loc_loss, conf_loss = multibox_loss(*arrays(0), 3, comm)
    assert comm.counts == [0]
    assert loc_loss.array == 0 and conf_loss.array == 0


def test_a_rank_without_images_takes_part():
    comm = Communicator()
    empty = tuple(array[:0] for array in arrays(0))
    chain = MultiboxTrainChain(None, comm=comm)
    loss = chain(np.zeros((0, 3, 8, 8), 'f'), *empty[2:])
    assert comm.counts == [0]
    assert loss.array == 0


def test_errors_name_the_rank():
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = arrays(3)
    gt_mb_labels[1, 4] = 3
    with pytest.raises(ValueError, match=r'^rank 1: gt_mb_labels\[1, 4\] = 3'):
        multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, 3, Communicator())
