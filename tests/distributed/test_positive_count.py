import copy
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import chainer
import chainer.links as L
import numpy as np
import pytest

from chainer_ssd import MultiboxTrainChain, multibox_loss
from chainer_ssd.distributed import PositiveCount, RanksOutOfStepError, rank_sum


class Communicator:
    """Two ranks without ``mpi_comm``, as a user's class may be. The other rank always counts 4.

    The other rank is in the state of this one, or in training after ``step`` updates.
    """

    rank, size = 1, 2

    def __init__(self, step=None):
        self.counts, self.step = [], step

    def allreduce_obj(self, value):
        if isinstance(value, list):
            return value + [(0, (f'in training after {self.step} updates', None))]
        self.counts.append(value[0])
        state = value[1 : 1 + len(value) // 2]
        if self.step is not None:
            digits = [self.step >> shift & 0xFFFF for shift in (0, 16, 32)]
            state = np.array([1, *digits, 0, 0])
        return value + np.concatenate([[4], state, state**2])


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


@pytest.fixture
def without_mpi(monkeypatch):
    """MPI must not start in the process of the tests."""
    monkeypatch.setattr(rank_sum, '_attribute_key', lambda: 0)


class MPICommunicator:
    """``comm.mpi_comm`` of one rank that counts the sums of each duplicate."""

    def __init__(self):
        self.n_call, self.duplicates, self.attribute = 0, [], None

    def Get_attr(self, key):
        return self.attribute

    def Set_attr(self, key, value):
        self.attribute = value

    def Dup(self):
        self.duplicates.append(MPICommunicator())
        return self.duplicates[-1]

    def Iallreduce(self, local, total):
        self.n_call += 1
        total[:] = local
        return SimpleNamespace(Wait=lambda: None, Test=lambda: True)


def test_all_counts_of_a_communicator_have_one_private_duplicate(without_mpi):
    # A collective call on the user's communicator could pair with the user's own one.
    comm = SimpleNamespace(rank=0, size=1, mpi_comm=MPICommunicator())
    assert [PositiveCount(comm).mean(n) for n in range(5)] == [0, 1, 2, 3, 4]
    (duplicate,) = comm.mpi_comm.duplicates
    assert duplicate.n_call == 5
    assert comm.mpi_comm.n_call == 0


def test_counts_that_nobody_asks_for_are_completed(without_mpi):
    comm = SimpleNamespace(rank=0, size=1, mpi_comm=MPICommunicator())
    requests = [PositiveCount(comm).request(n) for n in range(20)]
    assert len(comm.mpi_comm.attribute.pending) == 8
    assert [request() for request in requests] == list(range(20))
    assert not comm.mpi_comm.attribute.pending


def test_a_count_is_returned_as_it_is():
    count = PositiveCount(Communicator())
    assert PositiveCount.of(count) is count


@pytest.mark.parametrize('step', [0, 7, 65_536, 3_000_000, 2**48 - 1])
def test_ranks_at_the_same_step_raise_no_error(step):
    assert PositiveCount(Communicator(step), lambda: step).mean(2) == 3


@pytest.mark.parametrize(
    ('other', 'step', 'train'),
    [
        (7, 6, True),
        (7, 8, True),
        (7, 7, False),
        (7, 7 + 2**16, True),
        (7, 7 + 2**19, True),
        (0, 2**32, True),
        (2**32 + 1, 2**16, True),
    ],
)
def test_the_error_for_ranks_out_of_step_names_their_steps(other, step, train):
    mode = 'training' if train else 'evaluation'
    found = f'ranks .0. in training after {other} updates; ranks .1. in {mode} after {step} updates'
    with chainer.using_config('train', train):
        with pytest.raises(RanksOutOfStepError, match=found):
            PositiveCount(Communicator(other), lambda: step).mean(2)


class ManyRanks:
    """``size`` ranks, of which all but this one are ``ahead`` updates ahead."""

    rank = 0

    def __init__(self, size, step, ahead):
        self.size, self.step, self.ahead = size, step, ahead

    def allreduce_obj(self, value):
        if isinstance(value, list):
            return value + [(rank, ('elsewhere', None)) for rank in range(1, 3)]
        step = self.step + self.ahead
        digits = np.array([1, *(step >> shift & 0xFFFF for shift in (0, 16, 32)), 0, 0], float)
        return value + (self.size - 1) * np.concatenate([[0], digits, digits**2])


@pytest.mark.parametrize('size', [8193, 2**21])
@pytest.mark.parametrize('step', [370_001, 2**20 - 1, 2**40 - 1])
def test_the_comparison_is_exact_for_many_ranks_and_updates(size, step):
    assert PositiveCount(ManyRanks(size, step, 0), lambda: step).mean(size) == 1
    for ahead in (1, 2**19, -1):
        with pytest.raises(RanksOutOfStepError):
            PositiveCount(ManyRanks(size, step, ahead), lambda: step).mean(size)


@pytest.mark.parametrize('step', [-1, 2**48])
def test_a_step_out_of_range_raises(step):
    with pytest.raises(ValueError, match=re.escape(f'step() = {step}: expected')):
        PositiveCount(Communicator(), lambda: step).mean(2)


def test_a_copied_chain_counts_on_the_same_communicator_and_has_its_own_step():
    comm = Communicator(1)
    chain = MultiboxTrainChain(L.Linear(2, 2), comm=comm)
    chainer.optimizers.SGD().setup(chain)
    copied = copy.deepcopy(chain)
    chainer.optimizers.SGD().setup(copied)
    for param in copied.params():
        param.update_rule.t = 1
    assert copied.comm.mean(2) == 3
    with pytest.raises(RanksOutOfStepError, match='after 0 updates'):
        chain.comm.mean(2)


def test_a_count_cannot_be_pickled():
    with pytest.raises(TypeError, match='cannot be pickled'):
        pickle.dumps(PositiveCount(Communicator()))


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


@pytest.mark.mpi
@pytest.mark.parametrize('n', [2, 3])
def test_thousands_of_counts_and_a_copied_chain_over_mpi(mpiexec, n):
    assert 'counted and copied' in mpiexec(n, Path(__file__).with_name('count_often.py'))
