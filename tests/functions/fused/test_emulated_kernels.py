"""The CUDA kernels, emulated on the CPU. ``emulator.h`` tells what the emulator detects."""

import ctypes
import mmap
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from chainer_ssd.functions._fused import kernels
from chainer_ssd.functions._fused.lazy_kernel import LazyKernel
from chainer_ssd.ops import hard_negative_mining
from tests.functions.fused import emulator
from tests.functions.fused.test_kernels import assert_equals_definition, make
from tests.helpers import assert_close

#: Shared memory of a block in which all keys fit, and in which none does.
LARGE, SMALL = 227 << 10, 12 << 10
GARBAGE = list(emulator.GARBAGE.values())


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    if shutil.which('g++') is None:
        pytest.skip('g++ is missing: the kernels are not emulated')
    return emulator.compile_for_cpu(tmp_path_factory.mktemp('kernels'))


@pytest.fixture
def emulated(library, monkeypatch):
    """Return a function that replaces the kernels and sets how they are emulated."""

    def replace_kernels(shared_memory=LARGE, seed=1, garbage=emulator.GARBAGE['nan']):
        memory = emulator.Memory(garbage)
        library.set_garbage(garbage)
        library.set_order(ctypes.c_uint64(seed), 3 if seed else 1)
        monkeypatch.setitem(sys.modules, 'cupy', emulator.fake_cupy(shared_memory, memory))
        for name in emulator.KERNELS:
            kernel = emulator.EmulatedKernel(library, name, memory, shared_memory)
            monkeypatch.setattr(kernels, name, kernel)
        return memory

    return replace_kernels


def run(memory, *arrays, k=3.0, divide=True, scales=(1, 2)):
    """Return losses, count, mask and gradients, as NumPy arrays."""
    device = [memory.asarray(array) for array in arrays]
    losses, count, selected = kernels.forward(*device, k, divide=divide)
    scales = [None if s is None else memory.asarray(losses.dtype.type(s)) for s in scales]
    gradients = kernels.backward(*device, selected, count, *scales)
    for before, after in zip(arrays, device):
        np.testing.assert_array_equal(before, after)
    return losses, count, selected, gradients


def assert_right(memory, *arrays, k=3.0):
    losses, count, selected, gradients = run(memory, *arrays, k=k)
    assert count == (arrays[3] > 0).sum()
    assert_equals_definition((*arrays, k), selected, losses, gradients)


@pytest.mark.parametrize('shared_memory', [LARGE, SMALL], ids=['shared', 'global'])
@pytest.mark.parametrize('seed', range(12))
def test_shapes(emulated, seed, shared_memory):
    *arrays, k = make(np.random.default_rng(seed), 800, 40_000)
    memory = emulated(shared_memory, seed, GARBAGE[seed % 4])
    assert_right(memory, *arrays, k=k)
    launches = [getattr(kernels, name).launches for name in emulator.KERNELS]
    assert launches == [1, 1, 1]


def make_real(n_box, n_class, batch, dtype='f', losses='normal'):
    """Return predictions and targets as in a training: few positives, some ignored boxes."""
    rng = np.random.default_rng(n_box + n_class)
    shape = batch, n_box
    mb_confs = 2 * rng.normal(size=(*shape, n_class))
    n_positive = 0.01
    if losses == 'tied':
        mb_confs = np.round(mb_confs / 2)
    if losses == 'negative':
        mb_confs -= 3000
    if losses == 'zero':  # all negatives are right, and all positives are wrong
        mb_confs[:] = 0
        mb_confs[..., 0] = 200
        n_positive = 0.2
    label = np.where(rng.random(shape) < n_positive, rng.integers(1, n_class, shape), 0)
    label[rng.random(shape) < 0.1] = -1
    mb_locs, gt_mb_locs = (rng.normal(size=(*shape, 4)) * scale for scale in (2, 1))
    gt_dtype = 'd' if dtype == 'd' else 'f'
    return (
        mb_locs.astype(dtype),
        mb_confs.astype(dtype),
        gt_mb_locs.astype(gt_dtype),
        label.astype('i'),
    )


@pytest.mark.parametrize('shared_memory', [LARGE, SMALL], ids=['shared', 'global'])
@pytest.mark.parametrize('losses', ['tied', 'zero', 'negative'])
def test_several_boxes_for_each_thread(emulated, shared_memory, losses):
    assert_right(emulated(shared_memory), *make_real(2500, 4, 2, 'f', losses))


def test_several_rows_for_each_thread(emulated, monkeypatch):
    monkeypatch.setattr(kernels, 'MAX_BLOCKS', 2)
    assert_right(emulated(), *make_real(700, 9, 3, 'f', 'zero'))


def test_any_order_of_blocks_and_threads_gives_the_same_bits(emulated):
    arrays = make_real(700, 5, 6, 'f', 'tied')
    first = None
    for seed in range(5):
        losses, count, selected, gradients = run(emulated(SMALL, seed), *arrays)
        found = [array.tobytes() for array in (losses, count, selected, *gradients)]
        assert found == (first := first or found)


def test_more_images_than_threads_of_a_block(emulated):
    assert_right(emulated(), *make_real(20, 3, 75, 'f', 'zero'))


def test_without_division_and_with_one_gradient(emulated):
    arrays = make_real(200, 5, 2)
    memory = emulated()
    divided, count, _, both = run(memory, *arrays)
    sums, *_ = run(memory, *arrays, divide=False)
    assert count > 1
    assert_close(sums, divided * count, 1e-6)
    for which in (0, 1):
        scales = [scale if i == which else None for i, scale in enumerate((1, 2))]
        *_, alone = run(memory, *arrays, scales=scales)
        np.testing.assert_array_equal(alone[which], both[which])
        assert alone[1 - which] is None


def test_a_normalizer_of_0_is_1(emulated):
    arrays = make_real(200, 5, 2)
    memory = emulated()
    device = [memory.asarray(array) for array in arrays]
    *_, selected = kernels.forward(*device, 3.0, divide=True)
    one = memory.asarray(np.float32(1))
    by_normalizer = [
        kernels.backward(*device, selected, memory.asarray(np.float64(n)), one, one) for n in (0, 1)
    ]
    for of_0, of_1 in zip(*by_normalizer):
        assert of_1.any()
        np.testing.assert_array_equal(of_0, of_1)


def test_without_positives_all_is_0(emulated):
    *arrays, label = make_real(200, 5, 2)
    losses, count, selected, gradients = run(emulated(), *arrays, np.minimum(label, 0))
    assert count == 0 and not selected.any()
    for array in (losses, *gradients):
        assert not array.any()


@pytest.mark.parametrize('garbage', GARBAGE, ids=[*emulator.GARBAGE])
@pytest.mark.parametrize('special', [np.nan, np.inf, -np.inf])
def test_special_values_stay_in_their_rows(emulated, special, garbage):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 90, n)).astype('f') for n in (4, 5, 4)]
    label = (rng.random((2, 90)) < 0.1).astype('i')
    label[:, ::9] = -1
    arrays[1][label < 0] = special
    arrays[0][label <= 0] = special
    memory = emulated(garbage=garbage)
    losses, _, selected, gradients = run(memory, *arrays, label)
    assert not selected[label < 0].any()
    for array in (losses, *gradients):
        assert np.isfinite(array).all()


@pytest.mark.parametrize('nan', [np.nan, -np.nan])
def test_nan_is_the_largest_loss(emulated, nan):
    *arrays, label = make_real(90, 5, 2)
    row = np.flatnonzero(label[0] == 0)[7]
    arrays[1][0, row, 2] = nan
    label[0, np.flatnonzero(label[0] == 0)[20]] = 1
    losses, _, selected, gradients = run(emulated(), *arrays, label, k=1.0)
    assert selected[0, row] and np.isnan(losses[1]) and np.isfinite(losses[0])
    has_nan = np.isnan(gradients[1]).any(axis=2)
    assert has_nan[0, row] and has_nan.sum() == 1


@pytest.mark.parametrize('wrong_label', [5, 6, 1 << 30])  # 1 << 30 is 4 GiB away
def test_labels_beyond_the_classes_are_not_read(emulated, wrong_label):
    # Labels on a GPU are not checked.
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 90, n)).astype('f') for n in (4, 5, 4)]
    label = np.zeros((2, 90), 'i')
    label[:, 3] = 1
    label[-1, -1] = wrong_label
    losses, count, selected, _ = run(emulated(), *arrays, label)
    assert count == 3 and selected[-1, -1]
    assert np.isfinite(losses[0]) and np.isnan(losses[1])


def choose_rows(memory, loss, label, k, block, n_shared=True):
    """Run ``choose_rows`` for given losses, and return its mask and its sums."""
    batch, n_box = loss.shape
    dtype = np.dtype(loss.dtype)
    selected, sums = memory.empty(loss.shape, 'u1'), memory.empty((batch, 3))
    losses, count = memory.empty(2, dtype), memory.empty(())
    locs = memory.asarray(np.zeros((batch, n_box, 4), dtype))
    kernels.choose_rows(
        dtype,
        batch,
        block,
        (
            locs,
            locs,
            memory.asarray(label),
            memory.asarray(loss),
            np.int32(n_box),
            np.float64(k),
            np.int32(n_shared),
            np.int32(False),
            selected,
            sums,
            memory.asarray(np.uint32(0)),
            losses,
            count,
        ),
        shared_mem=-(-n_box * dtype.itemsize // 8) * 8 if n_shared else 0,
    )
    return selected.astype(bool), sums, losses


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('block', [32, 96, pytest.param(1024, marks=pytest.mark.cuda)])
@pytest.mark.parametrize('n_shared', [True, False], ids=['shared', 'global'])
def test_any_loss_has_its_rank(emulated, dtype, block, n_shared):
    # Losses of predictions are never negative. The selection does not depend on that.
    rng = np.random.default_rng(block)
    pool = np.array([0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1, -1, 1.5, -1e-40, 1e-40], dtype)
    step = np.spacing(dtype == 'f' and np.float32(1) or 1)
    pool = np.r_[pool, [1 + step, 1 - step, np.finfo(dtype).max, -np.finfo(dtype).max]].astype(
        dtype
    )
    for n_box in (1, 31, 150) if block < 1024 else (1200,):
        loss = rng.choice(pool, (2, n_box))
        rank = np.searchsorted(np.sort(pool[~np.isnan(pool)]), loss)  # -0 is equal to 0
        rank = np.where(np.isnan(loss), np.nan, rank)
        label = rng.choice([-1, 0, 1], (2, n_box), p=[0.1, 0.75, 0.15]).astype('i')
        for k in (0, *rng.uniform(0, 6, 4), 1e9):
            positive = label > 0
            n_negative = np.minimum(np.ceil(k * positive.sum(axis=1)), n_box).astype('i')
            expected = positive | hard_negative_mining(rank, positive, n_negative, label < 0)
            memory = emulated(seed=n_box)
            selected, sums, _ = choose_rows(memory, loss, label, k, block, n_shared)
            np.testing.assert_array_equal(selected, expected)
            np.testing.assert_array_equal(sums[:, 2], positive.sum(axis=1))


@pytest.mark.parametrize('dtype', 'fd')
def test_keys_fit_in_shared_memory_or_are_not_there(emulated, dtype):
    arrays = make_real(301, 3, 1, dtype)
    key_bytes = 301 * 4 + 4 if dtype == 'f' else 301 * 8
    spare = kernels.STATIC_SHARED_BYTES
    for n_byte in (spare - 1, spare, spare + 1, 8 << 10, 9 << 10, 64 << 10):
        assert_right(emulated(key_bytes + n_byte), *arrays)
    assert_right(emulated(spare), *arrays)


@pytest.mark.parametrize('offset', [0, 3000, -3000])
@pytest.mark.parametrize(('dtype', 'rtol'), [('e', 2e-6), ('f', 2e-6), ('d', 1e-12)])
def test_losses_of_boxes(emulated, dtype, rtol, offset):
    mb_locs, mb_confs, gt_mb_locs, label = make_real(300, 5, 2, dtype)
    mb_confs = (mb_confs + np.asarray(offset, dtype)).astype(dtype)
    losses = np.log(np.exp(mb_confs.astype('d') - offset).sum(axis=2)) + offset
    losses -= np.take_along_axis(mb_confs, np.maximum(label, 0)[..., None], axis=2)[..., 0]
    memory = emulated()
    loss = memory.empty(label.shape, gt_mb_locs.dtype)
    args = np.int32(label.size), np.int32(5), loss, memory.empty((), 'u4')
    args = memory.asarray(mb_confs), memory.asarray(label), *args
    kernels.box_losses(np.dtype(dtype), 3, 256, args)
    np.testing.assert_allclose(loss[label >= 0], losses[label >= 0], rtol=rtol, atol=rtol)
    assert np.isnan(loss[label < 0]).all()  # not written


def test_the_last_block_to_finish_sums_over_images(emulated):
    label = np.ones((8, 32), 'i')
    loss = np.ones((8, 32), 'f')
    for seed in range(1, 80):
        *_, losses = choose_rows(emulated(seed=seed), loss, label, 0, 32)
        assert losses.tolist() == [0, 256]


def test_the_ratio_is_multiplied_in_float64(emulated):
    label = np.array([[1] * 25 + [0] * 100], 'i')
    loss = np.linspace(0, 1, 125, dtype='f')[None]
    selected, *_ = choose_rows(emulated(), loss, label, 2.2, 128)
    assert selected.sum() == 25 + 56  # 2.2 · 25 is 55 in float32, and a little more in float64


def test_a_ratio_below_0_selects_no_negatives(emulated):
    label = np.array([[1] * 9 + [0] * 50 + [-1] * 5], 'i')
    loss = np.linspace(0, 1, 64, dtype='f')[None]
    selected, *_ = choose_rows(emulated(), loss, label, -1.0, 64)
    np.testing.assert_array_equal(selected, label > 0)


def test_a_number_of_negatives_beyond_an_int(emulated):
    label = np.array([[1] * 9 + [0] * 55], 'i')
    loss = np.linspace(0, 1, 64, dtype='f')[None]
    selected, *_ = choose_rows(emulated(), loss, label, 1e300, 64)
    assert selected.all()


def test_each_thread_has_a_row():
    rows = kernels.THREADS_PER_BLOCK
    for n_row, n_block in (1, 1), (rows, 1), (rows + 1, 2), (1 << 30, kernels.MAX_BLOCKS):
        assert kernels._count_blocks(n_row) == n_block


class TestArraysBeyond32Bits:
    """One block far from the beginning of arrays that have no memory but where it is used."""

    ROW = (1 << 29) + 40
    LAST_BLOCK = ROW // 256

    @staticmethod
    def reserve(shape, dtype):
        dtype = np.dtype(dtype)
        no_reserve = 0x4000  # mmap.MAP_NORESERVE since Python 3.13
        n_byte = int(np.prod(shape, dtype='u8')) * dtype.itemsize
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
        try:
            return np.ndarray(shape, dtype, mmap.mmap(-1, n_byte, flags=flags))
        except OSError as error:
            pytest.skip(f'no address space for {n_byte} bytes: {error}')

    @pytest.fixture(autouse=True)
    def only_block(self, library):
        yield library.set_only_block
        library.set_only_block(ctypes.c_int64(-1))

    def test_box_losses(self, emulated, only_block):
        memory = emulated()
        n_class, n_row = 5, self.ROW + 1
        confs = self.reserve((n_row, n_class), 'f')
        label = self.reserve(n_row, 'i')
        loss = self.reserve(n_row, 'f')
        confs[self.ROW] = 1, 2, 3, 4, 5
        label[self.ROW] = 2
        only_block(ctypes.c_int64(self.LAST_BLOCK))
        args = np.int32(n_row), np.int32(n_class), loss, memory.empty((), 'u4')
        kernels.box_losses(loss.dtype, self.LAST_BLOCK + 1, 256, (confs, label, *args))
        assert_close(loss[self.ROW], np.log(np.exp([-2.0, -1, 0, 1, 2]).sum()), 1e-6)
        assert_close(loss[self.ROW - 1], np.log(5), 1e-6)

    def test_gradients(self, emulated, only_block):
        memory = emulated()
        n_class, n_row = 5, self.ROW + 1
        locs, gt_locs, grad_locs = (self.reserve((n_row, 4), 'f') for _ in range(3))
        confs, grad_confs = (self.reserve((n_row, n_class), 'f') for _ in range(2))
        label = self.reserve(n_row, 'i')
        selected = self.reserve(n_row, 'u1')
        locs[self.ROW], gt_locs[self.ROW] = (1, 2, 3, 4), (1.5, 2.25, 0, 9)
        label[self.ROW] = selected[self.ROW] = 1
        grad_locs[self.ROW - 1] = grad_confs[self.ROW - 1] = 7
        confs[self.ROW, 1] = np.log(4)
        only_block(ctypes.c_int64(self.LAST_BLOCK))
        one = memory.asarray(np.float32(1))
        sizes = np.int32(n_row), np.int32(n_class)
        args = (locs, confs, gt_locs, label, selected, *sizes, one, one)
        args += memory.asarray(np.float64(2)), grad_locs, grad_confs
        kernels.gradients(one.dtype, self.LAST_BLOCK + 1, 256, args)
        assert_close(grad_locs[self.ROW], np.array([-0.25, -0.125, 0.5, -0.5]), 1e-6)
        assert_close(grad_confs[self.ROW], np.array([1, -4, 1, 1, 1]) / 16, 1e-6)
        assert not grad_locs[self.ROW - 1].any() and not grad_confs[self.ROW - 1].any()

    def test_choose_rows(self, emulated, only_block):
        memory = emulated()
        n_box, image = 1 << 17, 1 << 12
        locs, gt_locs = (self.reserve((image + 1, n_box, 4), 'f') for _ in range(2))
        label, loss = (self.reserve((image + 1, n_box), dtype) for dtype in 'if')
        selected = self.reserve((image + 1, n_box), 'u1')
        sums = self.reserve((image + 1, 3), 'd')
        label[image, -1] = 1
        loss[image, -1], loss[image, 7] = 8, 2
        locs[image, -1], gt_locs[image, -1] = (1, 2, 3, 4), (1.5, 2, 1, 4)
        only_block(ctypes.c_int64(image))
        args = np.int32(n_box), np.float64(1), np.int32(False), np.int32(False), selected, sums
        args += memory.asarray(np.uint32(0)), memory.empty(2, 'f'), memory.empty(())
        kernels.choose_rows(loss.dtype, image + 1, 1024, (locs, gt_locs, label, loss, *args))
        assert sums[image].tolist() == [0.125 + 1.5, 10, 1]
        assert np.flatnonzero(selected[image]).tolist() == [7, n_box - 1]


@pytest.mark.parametrize('dtype', 'fde')
def test_cupy_is_asked_for_c_names(library, monkeypatch, dtype):
    # With name expressions, CuPy 13.6 and 14.0 compile in every process.
    asked = []

    class RawModule:
        def __init__(self, code, options):
            asked.append(code.splitlines()[-1])

        def get_function(self, name):
            assert hasattr(library, f'launch_{name}')
            asked.append(name)

    monkeypatch.setitem(sys.modules, 'cupy', SimpleNamespace(RawModule=RawModule))
    LazyKernel('multibox_loss', 'gradients')._load(dtype)
    assert asked == [f'KERNELS({emulator.TYPES[dtype]}, {dtype})', f'gradients_{dtype}']


REAL_SIZES = [
    (8732, 21, 2, 'f', 'normal'),
    (8732, 81, 1, 'e', 'normal'),
    (8732, 21, 1, 'd', 'tied'),
    (12240, 4, 2, 'f', 'tied'),
    (12240, 21, 1, 'd', 'normal'),
    (24564, 21, 1, 'f', 'normal'),
    (24564, 2, 2, 'f', 'zero'),
    (24564, 3, 1, 'e', 'tied'),
]


@pytest.mark.cuda
@pytest.mark.parametrize('shared_memory', [LARGE, SMALL], ids=['shared', 'global'])
@pytest.mark.parametrize('which', range(8), ids=lambda i: '-'.join(map(str, REAL_SIZES[i])))
def test_real_sizes(emulated, which, shared_memory):
    garbage = GARBAGE[(which + (shared_memory == SMALL)) % 4]
    assert_right(emulated(shared_memory, which + 1, garbage), *make_real(*REAL_SIZES[which]))
