"""The node computes what the definition computes."""

import threading
import tracemalloc
from typing import NamedTuple

import chainer
import numpy as np
import pytest
from chainer import gradient_check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainer_ssd import multibox_loss
from chainer_ssd.functions import FocalLoss, MultiboxObjective
from chainer_ssd.functions._fused import dispatch, memory
from chainer_ssd.functions._fused.dispatch import node_serves
from chainer_ssd.functions._fused.node import FusedMultiboxLoss
from tests.helpers import assert_close

#: Of a loss. float16 predictions have float32 losses.
RTOL = {'e': 1e-6, 'f': 1e-6, 'd': 1e-12}


def make(seed=0, batch=3, n_box=60, n_class=5, dtype='f', positive_fraction=0.1, scale=2.0):
    rng = np.random.default_rng(seed)
    kind = rng.random((batch, n_box))
    label = np.where(
        kind < positive_fraction, rng.integers(1, max(n_class, 2), kind.shape), 0
    ).astype('i')
    label[kind > 0.95] = -1
    return (
        (rng.normal(size=(batch, n_box, 4)) * 2).astype(dtype),
        (rng.normal(size=(batch, n_box, n_class)) * scale).astype(dtype),
        rng.normal(size=(batch, n_box, 4)).astype('d' if dtype == 'd' else 'f'),
        label if n_class > 1 else np.minimum(label, 0),
    )


def run(use, mb_locs, mb_confs, *rest):
    """Return losses and gradients of the node ('auto', 'always') or the definition ('never')."""
    mb_locs, mb_confs = chainer.Variable(mb_locs), chainer.Variable(mb_confs)
    with chainer.using_config('use_fused_multibox', use):
        loc_loss, conf_loss = multibox_loss(mb_locs, mb_confs, *rest)
    is_node = isinstance(loc_loss.creator, FusedMultiboxLoss)
    assert is_node == (use != 'never')
    (loc_loss + 3 * conf_loss).backward()
    return loc_loss.array, conf_loss.array, mb_locs.grad, mb_confs.grad


def assert_equals_definition(*args):
    node, definition = run('auto', *args), run('never', *args)
    for a, b in zip(node, definition):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        # float16 gradients may differ by one unit in the last place.
        rtol = 2e-3 if b.dtype == 'e' else RTOL[b.dtype.char]
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        a, b = (np.where(np.isfinite(x), x, 0) for x in (a, b))
        # softmax(x)_t − 1 of a positive has the rounding error of 1, even if it is near 0.
        min_scale = 3 / max((args[3] > 0).sum(), 1) if b.ndim == 3 and b.shape[2] != 4 else 0
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(abs(b).max(initial=0), min_scale))
    return node


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(0, 4),
    n_box=st.integers(1, 200),
    n_class=st.integers(1, 90),
    dtype=st.sampled_from('efd'),
    positive_fraction=st.sampled_from([0, 0.02, 0.4]),
    scale=st.sampled_from([0, 0.1, 2, 30]),
    k=st.sampled_from([0, 0.5, 3, 2.2, 1000]),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_equals_the_definition(seed, batch, n_box, n_class, dtype, positive_fraction, scale, k):
    arrays = make(seed, batch, n_box, n_class, dtype, positive_fraction, scale)
    assert_equals_definition(*arrays, k)


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize(
    'special', [np.nan, np.inf, -np.inf, 1e4, -1e4, 300, -300, 64, -64.5, -(2.0**17) - 64]
)
@pytest.mark.parametrize('column', [0, 2, slice(None)])
def test_rows_outside_the_range_of_approximate_odds(dtype, special, column):
    mb_locs, mb_confs, gt_mb_locs, label = make(batch=4, n_box=100, dtype=dtype)
    rng = np.random.default_rng(1)
    mb_confs[rng.random(label.shape) < 0.1, column] = special
    with np.errstate(all='ignore'):
        assert_equals_definition(mb_locs, mb_confs, gt_mb_locs, label, 3)


@pytest.mark.parametrize('dtype', 'fd')
def test_logits_of_ten_thousand(dtype):
    mb_locs, mb_confs, *targets = make(n_box=500, dtype=dtype, scale=1e4)
    loc_loss, conf_loss, *_ = assert_equals_definition(mb_locs, mb_confs, *targets, 3)
    assert np.isfinite(conf_loss) and conf_loss > 1e4


def test_nan_in_rows_that_are_not_selected_has_no_effect():
    mb_locs, mb_confs, gt_mb_locs, label = make()
    assert (label < 0).any()
    mb_confs[label < 0] = np.nan
    mb_locs[label <= 0] = np.nan
    gt_mb_locs[label <= 0] = np.nan
    for x in assert_equals_definition(mb_locs, mb_confs, gt_mb_locs, label, 3):
        assert np.isfinite(x).all()


@pytest.mark.parametrize('label_dtype', ['i1', 'u1', 'i2', 'i4', 'i8'])
def test_label_dtypes(label_dtype):
    *predictions, gt_mb_locs, label = make()
    if label_dtype == 'u1':
        label = np.maximum(label, 0)
    assert_equals_definition(*predictions, gt_mb_locs, label.astype(label_dtype), 3)


def test_any_memory_layout():
    arrays = make(batch=4)
    expected = run('auto', *arrays, 3)
    strided = [np.asfortranarray(array) for array in arrays]
    sliced = [np.repeat(array, 2, axis=1)[:, ::2] for array in arrays]
    frozen = [array.copy() for array in arrays]
    for array in frozen:
        array.flags.writeable = False
    for layout in (strided, sliced, frozen):
        for a, b in zip(run('auto', *layout, 3), expected):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('shape', [(0, 60), (2, 0), (0, 0)])
@pytest.mark.parametrize('use', ['auto', 'never'])
def test_an_empty_batch_gives_connected_zeros(shape, use):
    arrays = (
        np.zeros((*shape, 4), 'f'),
        np.zeros((*shape, 5), 'f'),
        np.zeros((*shape, 4), 'f'),
        np.zeros(shape, 'i'),
    )
    loc_loss, conf_loss, g_locs, g_confs = run(use, *arrays, 3)
    assert loc_loss == conf_loss == 0
    assert g_locs.shape == (*shape, 4) and g_confs.shape == (*shape, 5)


@pytest.mark.parametrize('use', ['auto', 'never'])
def test_backward_of_one_loss(use):
    mb_locs, mb_confs, *targets = make()
    for which in (0, 1):
        inputs = chainer.Variable(mb_locs), chainer.Variable(mb_confs)
        with chainer.using_config('use_fused_multibox', use):
            multibox_loss(*inputs, *targets, 3)[which].backward()
        assert inputs[which].grad.any()
        other = inputs[1 - which].grad
        assert other is None or not other.any()
        fixed = multibox_loss(inputs[0].array, inputs[1], *targets, 3)
        sum(fixed).backward()  # an array has no gradient


class Communicator:
    """What PositiveCount uses of ChainerMN's communicator. The other rank has 7 positives."""

    rank, size = 0, 2

    def __init__(self):
        self.calls = 0

    def allreduce_obj(self, value):
        self.calls += 1
        total = 2 * value  # the other rank differs in the count only
        total[0] = value[0] + 7
        return total


@pytest.mark.parametrize('positive_fraction', [0, 0.1])
def test_one_collective_call_per_loss(positive_fraction):
    mb_locs, mb_confs, *targets = make(positive_fraction=positive_fraction)
    n = (targets[1] > 0).sum()
    alone = run('never', mb_locs, mb_confs, *targets, 3)
    comm = Communicator()
    for a, b in zip(run('auto', mb_locs, mb_confs, *targets, 3, comm), alone):
        assert_close(a, b * max(n, 1) / ((n + 7) / 2), 1e-6)
    assert comm.calls == 1
    run('auto', mb_locs[:0], mb_confs[:0], targets[0][:0], targets[1][:0], 3, comm)
    assert comm.calls == 2


@pytest.mark.parametrize('distributed', [False, True])
def test_double_backprop_equals_the_definition(distributed):
    comm = Communicator() if distributed else None
    mb_locs, mb_confs, *targets = make(dtype='d', n_box=20, positive_fraction=0.3)

    def twice(use):
        inputs = chainer.Variable(mb_locs), chainer.Variable(mb_confs)
        with chainer.using_config('use_fused_multibox', use):
            losses = multibox_loss(*inputs, *targets, 3, comm)
        grads = chainer.grad(losses, inputs, enable_double_backprop=True)
        total = sum(chainer.functions.sum(g**2) for g in grads)
        return [*grads, *chainer.grad([total], inputs)]

    for a, b in zip(twice('auto'), twice('never')):
        assert_close(a.array, b.array, 1e-12)
    assert comm is None or comm.calls == 2  # once for each forward pass


@pytest.mark.parametrize('k', [0, 3])
def test_gradients_equal_numerical_gradients(k):
    rng = np.random.default_rng(0)
    label = np.where(rng.random((2, 12)) < 0.3, rng.integers(1, 4, (2, 12)), 0).astype('i')
    targets = rng.uniform(-1, 1, (2, 12, 4))
    # away from the kinks of the Huber loss and from ties of the ranking
    mb_locs = targets + rng.choice([-2, -0.5, 0.5, 2], targets.shape)
    mb_confs = rng.permuted(np.linspace(-3, 3, 2 * 12 * 4)).reshape(2, 12, 4)
    gradient_check.check_backward(
        lambda *inputs: multibox_loss(*inputs, targets, label, k),
        (mb_locs, mb_confs),
        (np.ones(()), np.full((), 2.0)),
        dtype='d',
        atol=1e-6,
        rtol=1e-6,
    )


def test_backward_twice():
    mb_locs, mb_confs, *targets = make()
    inputs = chainer.Variable(mb_locs), chainer.Variable(mb_confs)
    losses = multibox_loss(*inputs, *targets, 3)
    first, second = (chainer.grad(losses, inputs) for _ in range(2))
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a.array, b.array)
        assert not np.shares_memory(a.array, b.array)


def test_gradients_in_use_are_not_overwritten():
    arrays = make(n_box=500)
    kept = [run('auto', *arrays, 3)[3] for _ in range(5)]
    views = [run('auto', *arrays, 3)[3][1:2, ::7].T for _ in range(5)]  # keeps a view only
    copies = [x.copy() for x in kept + views]
    for seed in range(20):
        run('auto', *make(seed, n_box=500), 3)
    for x, copy in zip(kept + views, copies):
        np.testing.assert_array_equal(x, copy)
    assert len({x.ctypes.data for x in kept}) == len(kept)


def test_threads_do_not_share_memory():
    batches = [make(seed, batch=2, n_box=400) for seed in range(4)]
    expected = [run('auto', *arrays, 3) for arrays in batches]
    wrong = []

    def work(arrays, reference):
        for _ in range(30):
            for a, b in zip(run('auto', *arrays, 3), reference):
                if not np.array_equal(a, b):
                    wrong.append(1)

    threads = [threading.Thread(target=work, args=args) for args in zip(batches, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(('n_class', 'max_ratio'), [(21, 1.25), (81, 1.12)])
def test_peak_memory(n_class, max_ratio):
    arrays = make(batch=8, n_box=8732, n_class=n_class, positive_fraction=0.003)
    run('auto', *arrays, 3)
    memory.clear()  # so that memory in the pool counts, too
    tracemalloc.start()
    try:
        result = run('auto', *arrays, 3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result[3].nbytes < peak < max_ratio * arrays[1].nbytes


def test_use_fused_multibox():
    *arrays, label = make()
    assert chainer.config.use_fused_multibox == 'auto'
    for use in ('auto', 'never'):
        run(use, *arrays, label, 3)
    run('always', *arrays, label, 3)
    with chainer.using_config('use_fused_multibox', 'fast'):
        with pytest.raises(ValueError, match="use_fused_multibox = 'fast': expected one of"):
            multibox_loss(*arrays, label, 3)
    assert chainer.config.use_fused_multibox == 'auto'


def test_always_raises_where_the_node_cannot_serve():
    mb_locs, mb_confs, gt_mb_locs, label = make()
    wide = [array.astype('g') for array in (mb_locs, mb_confs)]
    with chainer.using_config('use_fused_multibox', 'always'):
        losses = multibox_loss(mb_locs, mb_confs, gt_mb_locs, label, 3)
        assert isinstance(losses[0].creator, FusedMultiboxLoss)
        with pytest.raises(ValueError, match=f"'always', but .* predictions are {wide[0].dtype}"):
            multibox_loss(*wide, gt_mb_locs, label, 3)
        objective = MultiboxObjective(confidence=FocalLoss())
        with pytest.raises(ValueError, match="'always', but .* parts .* Expected 'auto'"):
            objective(mb_locs, mb_confs, gt_mb_locs, label)
        objective(mb_locs[:0], mb_confs[:0], gt_mb_locs[:0], label[:0])  # nothing to compute
    with chainer.using_config('use_fused_multibox', 'fast'), pytest.raises(ValueError):
        objective(mb_locs, mb_confs, gt_mb_locs, label)


def test_which_arrays_the_node_serves(monkeypatch):
    class CuPyArray:
        dtype, size = np.dtype('f'), 4 * 8732

        def __init__(self, device=0, capability='75'):
            self.device = Device(device, capability)

        def __len__(self):
            return 1

    class Device(NamedTuple):
        id: int
        compute_capability: str

    array = np.zeros(3, 'f')
    assert node_serves(array, array)
    assert not node_serves(array.astype('g'), array)
    assert not node_serves(array.astype(array.dtype.newbyteorder()), array)
    assert not node_serves(CuPyArray(), CuPyArray())
    monkeypatch.setattr(chainer.backends.cuda, 'ndarray', CuPyArray)
    assert not node_serves(CuPyArray(), CuPyArray())  # the kernels are not tested on a GPU yet
    monkeypatch.setattr(dispatch, 'KERNELS_TESTED_ON_GPU', True)
    assert node_serves(CuPyArray(), CuPyArray())
    monkeypatch.setattr(dispatch, 'KERNELS_TESTED_ON_GPU', False)
    with chainer.using_config('use_fused_multibox', 'always'):
        assert node_serves(CuPyArray(), CuPyArray())
    large = CuPyArray()
    large.size = 4 << 31
    for *arrays, words in (
        (CuPyArray(), array, 'neither all of NumPy nor all of CuPy'),
        (CuPyArray(), CuPyArray(device=1), 'several devices'),
        (CuPyArray(capability='61'), CuPyArray(capability='61'), 'capability 61'),
        (large, large, f'{2 << 30} boxes'),
    ):
        assert not node_serves(*arrays)
        with chainer.using_config('use_fused_multibox', 'always'):
            with pytest.raises(ValueError, match=words):
                node_serves(*arrays)
    with chainer.using_config('use_fused_multibox', 'always'):
        with pytest.raises(ValueError, match='no class weights'):
            node_serves(CuPyArray(), CuPyArray(), is_plain=False)
