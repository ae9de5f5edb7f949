import copy
import pickle

import chainer
import chainer.functions as F
import chainer.gradient_check
import numpy as np
import pytest

from chainer_ssd import SSDMini
from chainer_ssd.functions import batch_normalization_over_ranks
from chainer_ssd.links import MultiNodeBatchNormalization
from tests.distributed.threads import run_ranks
from tests.helpers import assert_close

N_CHANNEL = 3
SPLITS = [(5, 3), (8, 0), (0, 8), (4, 0, 4), (1, 6, 1), (8,)]
RESULTS = ['y', 'gx', 'ggamma', 'gbeta', 'avg_mean', 'avg_var']


class OneRank:
    """A communicator of one process."""

    rank, size = 0, 1

    @staticmethod
    def allreduce_obj(value):
        return value


class NoCommunication(OneRank):
    @staticmethod
    def allreduce_obj(value):
        raise AssertionError('a collective call')


def make_batch(dtype, n=8, mean=0.0, trailing=(4, 5)):
    rng = np.random.default_rng(n)
    x = rng.normal(mean, 1, size=(n, N_CHANNEL, *trailing)).astype(dtype)
    return x, rng.normal(size=x.shape).astype(dtype)


def set_parameters(link):
    link.gamma.array[:] = (
        np.array([0.5, -2, 3])[:, None].repeat(link.gamma.size // 3, 1).reshape(link.gamma.shape)
    )
    link.beta.array[:] = link.gamma.array - 1


def train(link, x, gy, factor=1):
    """Return RESULTS of two forward and backward passes, the second at 3 - x."""
    set_parameters(link)
    for each in (x, (3 - x).astype(x.dtype)):
        link.cleargrads()
        variable = chainer.Variable(each)
        y = link(variable)
        y.grad = gy * np.asarray(factor, gy.dtype)
        y.backward()
    grads = [variable.grad, link.gamma.grad, link.beta.grad]
    return [y.array, *(grad / factor for grad in grads), link.avg_mean, link.avg_var]


def train_over_ranks(split, x, gy, size=N_CHANNEL):
    """Return RESULTS of the whole batch. ChainerMN's convention divides by the mean count."""
    ends = np.cumsum(split)
    parts = [slice(end - n, end) for n, end in zip(split, ends)]

    def run(comm):
        part = parts[comm.rank]
        link = MultiNodeBatchNormalization(size, comm, dtype=x.dtype)
        return train(link, x[part], gy[part], len(split))

    by_rank = run_ranks(len(split), run)
    for result in by_rank:
        if isinstance(result, Exception):
            raise result
    y, gx, ggamma, gbeta, avg_mean, avg_var = zip(*by_rank)
    for average in (avg_mean, avg_var):
        for other in average[1:]:
            np.testing.assert_array_equal(other, average[0])
    return [np.concatenate(y), np.concatenate(gx), sum(ggamma), sum(gbeta), avg_mean[0], avg_var[0]]


def assert_all_close(found, expected, rtol):
    for name, a, b in zip(RESULTS, found, expected):
        assert a.dtype == b.dtype, name
        assert_close(a, b, rtol)


@pytest.mark.parametrize('split', SPLITS)
@pytest.mark.parametrize(('dtype', 'rtol'), [('d', 1e-12), ('f', 1e-5)])
def test_ranks_equal_one_process_with_the_whole_batch(split, dtype, rtol):
    x, gy = make_batch(dtype)
    expected = train(chainer.links.BatchNormalization(N_CHANNEL, dtype=np.dtype(dtype)), x, gy)
    assert_all_close(train_over_ranks(split, x, gy), expected, rtol)


@pytest.mark.parametrize(
    ('dtype', 'mean', 'rtol'),
    [('d', 1e3, 1e-9), ('f', 1e3, 1e-4), ('f', 0, 1e-6), ('e', 300, 2e-3)],
)
def test_accuracy_against_float64(dtype, mean, rtol):
    x, gy = make_batch(dtype, mean=mean)
    link = chainer.links.BatchNormalization(N_CHANNEL, dtype=np.float64)
    expected = train(link, x.astype('d'), gy.astype('d'))
    for found, value in zip(train_over_ranks((5, 3), x, gy), expected):
        assert found.dtype == dtype
        assert_close(found, value, rtol)


@pytest.mark.parametrize('value', [0, 7.7, 7777777.7])
def test_a_channel_of_equal_values_has_no_variance(value):
    x = np.full((4, N_CHANNEL, 7, 11), value, 'f')
    found = train_over_ranks((3, 1), x, np.ones_like(x))
    assert all(np.isfinite(each).all() for each in found)
    assert not found[RESULTS.index('ggamma')].any()


@pytest.mark.parametrize(
    ('trailing', 'size'), [((), N_CHANNEL), ((6,), N_CHANNEL), ((4, 5), (N_CHANNEL, 4, 5))]
)
def test_inputs_of_other_dimensions(trailing, size):
    x, gy = make_batch('d', trailing=trailing)
    expected = train(chainer.links.BatchNormalization(size, dtype=np.float64), x, gy)
    assert_all_close(train_over_ranks((5, 3), x, gy, size), expected, 1e-10)


def test_the_memory_order_does_not_matter():
    x, gy = make_batch('d')
    last = [
        np.ascontiguousarray(each.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for each in (x, gy)
    ]
    assert_all_close(train_over_ranks((5, 3), *last), train_over_ranks((5, 3), x, gy), 1e-12)


def test_a_large_batch_is_summed_in_parts():
    x, gy = make_batch('d', n=7, trailing=(200, 250))  # 150,000 values per image
    expected = train(chainer.links.BatchNormalization(N_CHANNEL, dtype=np.float64), x, gy)
    assert_all_close(train_over_ranks((4, 3), x, gy), expected, 1e-10)


def test_no_image_on_any_rank():
    x, gy = make_batch('f', n=0)
    y, gx, ggamma, gbeta, avg_mean, avg_var = train_over_ranks((0, 0), x, gy)
    assert y.shape == gx.shape == x.shape
    assert not ggamma.any() and not gbeta.any() and not avg_mean.any()
    np.testing.assert_array_equal(avg_var, 1)


def test_the_gradients_by_finite_differences():
    x, gy = make_batch('d', n=4)
    x, gamma, beta = x, np.array([0.5, -2, 3]), np.array([1.0, 2, 3])
    chainer.gradient_check.check_backward(
        lambda *inputs: batch_normalization_over_ranks(*inputs, OneRank()),
        (x, gamma, beta),
        gy,
        dtype='d',
        atol=1e-6,
        rtol=1e-6,
    )


def test_parameters_that_are_left_out():
    x, gy = make_batch('d')
    results = []
    for link in (
        chainer.links.BatchNormalization(3, dtype='d', use_gamma=False, use_beta=False),
        MultiNodeBatchNormalization(3, OneRank(), dtype='d', use_gamma=False, use_beta=False),
    ):
        assert not list(link.params())
        variable = chainer.Variable(x)
        y = link(variable)
        y.grad = gy
        y.backward()
        results.append((y.array, variable.grad))
    for found, expected in zip(*results):
        assert_close(found, expected, 1e-12)


def test_options_are_those_of_chainers_link():
    options = {'decay': 0.7, 'eps': 0.1, 'initial_gamma': 2, 'initial_beta': 3}
    x, gy = make_batch('f')
    ours = MultiNodeBatchNormalization(N_CHANNEL, OneRank(), **options)
    theirs = chainer.links.BatchNormalization(N_CHANNEL, **options)
    assert_close(ours(x), theirs(x), 1e-6)
    assert_close(ours.avg_var, theirs.avg_var, 1e-6)
    with chainer.using_config('dtype', chainer.mixed16):
        assert MultiNodeBatchNormalization(N_CHANNEL, OneRank()).gamma.dtype == np.float32


@pytest.mark.parametrize('n', [0, 8])
def test_test_mode_does_not_communicate(n):
    ours = MultiNodeBatchNormalization(N_CHANNEL, NoCommunication())
    theirs = chainer.links.BatchNormalization(N_CHANNEL)
    for link in (ours, theirs):
        set_parameters(link)
        link.avg_mean[:], link.avg_var[:] = [1, 2, 3], [4, 5, 6]
    x = make_batch('f', n)[0]
    with chainer.using_config('train', False):
        np.testing.assert_array_equal(ours(x).array, theirs(x).array)
        np.testing.assert_array_equal(ours(x, finetune=True).array, theirs(x).array)
    assert ours.N == 0


def test_finetuning_averages_over_all_batches():
    ours = MultiNodeBatchNormalization(N_CHANNEL, OneRank(), dtype='d')
    theirs = chainer.links.BatchNormalization(N_CHANNEL, dtype='d')
    for link in (ours, theirs):
        link(make_batch('d')[0])
        link.start_finetuning()
        for n in (8, 2, 5):
            link(make_batch('d', n)[0], finetune=True)
    assert ours.N == theirs.N == 3
    assert_close(ours.avg_mean, theirs.avg_mean, 1e-12)
    assert_close(ours.avg_var, theirs.avg_var, 1e-12)


def test_recomputation_does_not_count_a_batch_twice():
    x = chainer.Variable(make_batch('d')[0])
    links = [MultiNodeBatchNormalization(N_CHANNEL, OneRank(), dtype='d') for _ in range(2)]
    F.sum(F.forget(links[0], x) ** 2).backward()
    F.sum(links[1](x) ** 2).backward()
    np.testing.assert_array_equal(links[0].avg_var, links[1].avg_var)
    assert_close(links[0].gamma.grad, links[1].gamma.grad, 1e-12)


WEIGHTS = """
import sys
import chainer
import chainermn
from chainer_ssd.links import MultiNodeBatchNormalization

comm = chainermn.create_communicator('naive')
links = {
    'ours': MultiNodeBatchNormalization(4, comm),
    'chainer': chainer.links.BatchNormalization(4),
    'chainermn': chainermn.links.MultiNodeBatchNormalization(4, comm),
}
for source in links.values():
    source.gamma.array[:], source.beta.array[:] = 2, 3
    source.avg_mean[:], source.avg_var[:], source.N = 5, 6, 7
    chainer.serializers.save_npz(sys.argv[1], source)
    for link in links.values():
        link.gamma.array[:] = link.beta.array[:] = link.avg_mean[:] = link.avg_var[:] = 0
        link.N = 0
        chainer.serializers.load_npz(sys.argv[1], link)
        assert link.N == 7 and (link.avg_mean == 5).all() and (link.avg_var == 6).all()
        assert (link.gamma.array == 2).all() and (link.beta.array == 3).all()
print('loaded')
"""


@pytest.mark.mpi
def test_weights_load_into_each_link(mpiexec, tmp_path):
    script = tmp_path / 'weights.py'
    script.write_text(WEIGHTS)
    assert 'loaded' in mpiexec(1, script, tmp_path / 'link.npz')


def test_copies_share_the_communicator_only():
    class NotCopied(OneRank):
        def __deepcopy__(self, memo):
            raise AssertionError('a copy of the communicator')

    comm = NotCopied()
    model = chainer.Sequential(MultiNodeBatchNormalization(N_CHANNEL, comm))
    for copied in (copy.deepcopy(model), model.copy('init'), model.copy('copy'), model.repeat(2)):
        link = next(each for each in copied.links() if hasattr(each, 'comm'))
        assert link.comm is comm
        link(make_batch('f')[0])
        assert link.avg_mean.any() and not model[0].avg_mean.any()


def test_pickling_names_the_link():
    with pytest.raises(TypeError, match='MultiNodeBatchNormalization holds a communicator'):
        pickle.dumps(MultiNodeBatchNormalization(N_CHANNEL, OneRank()))


def test_double_backprop_names_the_link():
    link = MultiNodeBatchNormalization(N_CHANNEL, OneRank())
    x = chainer.Variable(make_batch('f')[0])
    (gx,) = chainer.grad([F.sum(link(x) ** 2)], [x], enable_double_backprop=True)
    with pytest.raises(NotImplementedError, match='MultiNodeBatchNormalization'):
        F.sum(gx).backward()


@pytest.mark.parametrize(
    'x', [np.zeros((2, 4, 5, 5), 'f'), np.zeros((2, 3, 5, 5), 'i'), np.zeros(2, 'f')]
)
def test_inputs_that_do_not_fit(x):
    with pytest.raises(chainer.utils.type_check.InvalidType):
        MultiNodeBatchNormalization(N_CHANNEL, OneRank())(x)


def test_ranks_may_run_backward_from_different_graphs():
    # Two branches of equal depth, which the ranks add in another order.
    x, _ = make_batch('d')

    def run(comm):
        links = [MultiNodeBatchNormalization(N_CHANNEL, comm, dtype='d') for _ in range(2)]
        variable = chainer.Variable(x[:5] if comm.rank else x[5:])
        first, second = (link(variable * (2 + i)) ** (2 + i) for i, link in enumerate(links))
        F.sum(first + second if comm.rank else second + first).backward()
        return variable.grad

    link = chainer.links.BatchNormalization(N_CHANNEL, dtype='d')
    variable = chainer.Variable(x)
    F.sum(link(variable * 2) ** 2 + link(variable * 3) ** 3).backward()
    found = run_ranks(2, run)
    assert_close(np.concatenate([found[1], found[0]]), variable.grad, 1e-10)


def test_an_empty_batch_runs_through_ssd_mini():
    np.random.seed(0)
    model = SSDMini(2, 64, norm=lambda n: MultiNodeBatchNormalization(n, OneRank()))
    mb_locs, mb_confs = model(np.zeros((0, 3, 64, 64), 'f'))
    assert mb_locs.shape == (0, len(model.coder.default_bbox), 4)
    model.cleargrads()
    (F.sum(mb_locs) + F.sum(mb_confs)).backward()
    assert all(param.grad is not None and not param.grad.any() for param in model.params())
