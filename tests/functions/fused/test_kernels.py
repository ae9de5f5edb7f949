"""The CUDA kernels: compiled, and run on a GPU if there is one."""

import ctypes
import shutil
import subprocess
import sys

import chainer
import numpy as np
import pytest

from chainer_ssd import multibox_loss
from chainer_ssd.functions import background_loss, n_hard_negative
from chainer_ssd.functions._fused import kernels
from chainer_ssd.functions._fused.node import FusedMultiboxLoss
from chainer_ssd.ops import hard_negative_mining
from tests.functions.fused import emulator
from tests.helpers import assert_close, to_numpy


def make(rng, max_boxes, max_elements=1 << 24):
    """Return predictions and targets of any shape, dtype and number of ties, and a ratio."""
    n_box = int(10 ** rng.uniform(0, np.log10(max_boxes)))
    n_class = int(rng.integers(1, 100))
    batch = int(rng.integers(1, 1 + min(4, max(1, max_elements // (n_box * n_class)))))
    dtype = rng.choice(['e', 'f', 'd'])
    mb_confs = rng.normal(size=(batch, n_box, n_class)) * rng.choice([0.1, 2, 2000])
    if rng.random() < 0.3:  # equal losses
        mb_confs = np.round(mb_confs[:, :1] + np.round(rng.normal(size=mb_confs.shape)))
    label = np.zeros((batch, n_box), 'i')
    if n_class > 1:
        positive = rng.random(label.shape) < rng.choice([0, 0.003, 0.05, 0.5])
        label[positive] = rng.integers(1, n_class, positive.sum())
    label[rng.random(label.shape) < rng.choice([0, 0.1])] = -1
    mb_locs = 2 * rng.normal(size=(batch, n_box, 4))
    gt_mb_locs = rng.normal(size=mb_locs.shape).astype('d' if dtype == 'd' else 'f')
    return (
        mb_locs.astype(dtype),
        np.clip(mb_confs, -6e4, 6e4).astype(dtype),
        gt_mb_locs,
        label,
        float(rng.choice([0, 0.7, 1, 3, 1e6])),
    )


def definition(mb_locs, mb_confs, *rest):
    mb_locs, mb_confs = chainer.Variable(mb_locs), chainer.Variable(mb_confs)
    with chainer.using_config('use_fused_multibox', 'never'):
        losses = multibox_loss(mb_locs, mb_confs, *rest)
    (losses[0] + 2 * losses[1]).backward()
    return losses[0].array, losses[1].array, mb_locs.grad, mb_confs.grad


def assert_equals_definition(arrays, selected, losses, gradients):
    """Masks may differ where losses lie within 2 ulp. All else must be equal up to rounding."""
    mb_locs, mb_confs, gt_mb_locs, label, k = arrays
    loss = background_loss(mb_confs)
    expected = (label > 0) | hard_negative_mining(
        loss, label > 0, n_hard_negative(label, k), label < 0
    )
    selected = to_numpy(selected).astype(bool)
    for image in np.flatnonzero((selected != expected).any(axis=1)):
        differ = loss[image][selected[image] != expected[image]]
        assert np.ptp(differ) <= 2 * np.spacing(abs(differ).max())
        assert selected[image].sum() == expected[image].sum()
    reference = definition(*arrays)
    for a, b in zip((*losses, *gradients), reference):
        assert a.dtype == b.dtype
        if b is reference[3]:
            agree = np.equal(selected, expected)
            a, b = to_numpy(a)[agree], b[agree]
        assert_close(a, b, {'e': 2e-3, 'f': 2e-6, 'd': 1e-12}[b.dtype.char])


@pytest.mark.parametrize('architecture', ['sm_75', 'sm_90'])
def test_compiles(architecture, tmp_path):
    if shutil.which('nvcc') is None:
        pytest.skip('nvcc is missing: the CUDA sources are not compiled')
    instances = '\n'.join(f'KERNELS({name}, {letter})' for letter, name in emulator.TYPES.items())
    source = tmp_path / 'kernels.cu'
    source.write_text(emulator.SOURCE.read_text(encoding='utf-8') + instances, encoding='utf-8')
    done = subprocess.run(
        [
            'nvcc',
            '-std=c++14',
            f'-arch={architecture}',
            '-cubin',
            '-Werror',
            'all-warnings',
            '-o',
            str(tmp_path / 'kernels.cubin'),
            str(source),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    binary = (tmp_path / 'kernels.cubin').read_bytes()
    for name in emulator.KERNELS:
        for letter in emulator.TYPES:
            assert f'.text.{name}_{letter}'.encode() in binary


def test_nothing_is_compiled_or_imported_before_the_first_launch():
    code = (
        'import chainer_ssd, sys; from chainer_ssd.functions._fused import kernels; '
        'assert not kernels.box_losses._kernels; '
        'assert (sys.modules.get("cupy") is not None) == chainer.backends.cuda.available'
    )
    subprocess.run([sys.executable, '-c', 'import chainer; ' + code], check=True)


@pytest.mark.gpu
@pytest.mark.parametrize('shard', range(50))
def test_on_a_gpu_thousands_of_shapes(shard):
    import cupy

    rng = np.random.default_rng([0, shard])
    for _ in range(60):  # 9 s: the host computes the definition
        arrays = make(rng, 100_000)
        on_device = [cupy.asarray(array) for array in arrays[:4]]
        losses, count, selected = kernels.forward(*on_device, arrays[4], divide=True)
        assert int(count) == (arrays[3] > 0).sum()
        scales = cupy.asarray([1, 2], losses.dtype)
        gradients = kernels.backward(*on_device, selected, count, scales[:1], scales[1:])
        assert_equals_definition(arrays, selected, losses, gradients)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', 'efd')
def test_on_a_gpu_the_node_equals_the_definition(dtype):
    import cupy

    rng = np.random.default_rng(0)
    label = np.where(rng.random((3, 500)) < 0.05, rng.integers(1, 9, (3, 500)), 0).astype('i8')
    arrays = [rng.normal(size=(3, 500, n)).astype(dtype) for n in (4, 9, 4)] + [label]
    for layout in (np.ascontiguousarray, np.asfortranarray):
        inputs = [chainer.Variable(cupy.asarray(layout(array))) for array in arrays[:2]]
        with chainer.using_config('use_fused_multibox', 'always'):
            losses = multibox_loss(*inputs, *map(cupy.asarray, arrays[2:]), 3)
        assert isinstance(losses[0].creator, FusedMultiboxLoss)
        (losses[0] + 2 * losses[1]).backward()
        reference = definition(*arrays, 3)
        rtol = {'e': 2e-3, 'f': 2e-6, 'd': 1e-12}[dtype]
        for a, b in zip((*losses, *(x.grad for x in inputs)), reference):
            assert_close(a, b, rtol)


@pytest.mark.gpu
@pytest.mark.parametrize(
    'dtype, n_box',
    [*(('f', n) for n in (33, 10140, 10141, 12240, 12288, 12289)), ('e', 12240)]
    + [('d', n) for n in (5070, 5071, 6144, 6145)],
)
def test_on_a_gpu_shared_memory_around_the_default_limit(dtype, n_box):
    import cupy

    rng = np.random.default_rng(n_box)
    label = np.where(rng.random((1, n_box)) < 0.01, rng.integers(1, 3, (1, n_box)), 0).astype('i')
    predictions = [rng.normal(size=(1, n_box, n)).astype(dtype) for n in (4, 3)]
    gt_mb_locs = rng.normal(size=(1, n_box, 4)).astype('d' if dtype == 'd' else 'f')
    arrays = (*predictions, gt_mb_locs, label, 3.0)
    on_device = [cupy.asarray(array) for array in arrays[:4]]
    losses, count, selected = kernels.forward(*on_device, 3.0, divide=True)
    scales = cupy.asarray([1, 2], losses.dtype)
    gradients = kernels.backward(*on_device, selected, count, scales[:1], scales[1:])
    assert_equals_definition(arrays, selected, losses, gradients)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', 'efd')
@pytest.mark.parametrize('grad_dtype', 'efd')
def test_on_a_gpu_gradients_of_losses_have_any_dtype(dtype, grad_dtype):
    import cupy

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 50, n)).astype(dtype) for n in (4, 5, 4)]
    label = np.where(rng.random((2, 50)) < 0.1, 2, 0).astype('i')
    on_device = [cupy.asarray(array) for array in (*arrays, label)]
    found = []
    for use in 'always', 'never':
        inputs = [chainer.Variable(array) for array in on_device[:2]]
        with chainer.using_config('use_fused_multibox', use):
            losses = multibox_loss(*inputs, *on_device[2:], 3)
        # The definition takes the dtype of the losses only. The numbers are exact in each.
        used = grad_dtype if use == 'always' else losses[0].dtype
        scales = [chainer.Variable(cupy.asarray(x, used)) for x in (0.5, 3)]
        found.append(chainer.grad(losses, inputs, scales))
    for by_node, by_definition in zip(*found):
        assert by_node.dtype == dtype
        assert_close(by_node, by_definition.array.astype(dtype), 2e-3 if 'e' in dtype else 2e-6)


@pytest.mark.gpu
@pytest.mark.parametrize('divisor', [np.float32(8), 8, 8.0], ids=lambda value: type(value).__name__)
def test_on_a_gpu_a_divisor_has_any_dtype(divisor):
    import cupy

    rng = np.random.default_rng(0)
    arrays = [cupy.asarray(rng.normal(size=(2, 50, n)).astype('f')) for n in (4, 5, 4)]
    label = cupy.asarray(np.where(rng.random((2, 50)) < 0.1, 2, 0).astype('i'))
    found = []
    for use, normalizer in ('always', lambda: divisor), ('never', 8.0):
        inputs = [chainer.Variable(array) for array in arrays[:2]]
        with chainer.using_config('use_fused_multibox', use):
            losses = multibox_loss(*inputs, arrays[2], label, 3, normalizer=normalizer)
        (losses[0] + losses[1]).backward()
        found.append([*losses, *(x.grad for x in inputs)])
    for by_node, by_definition in zip(*found):
        assert_close(by_node, by_definition, 2e-6)


@pytest.mark.gpu
def test_on_a_gpu_no_synchronization_and_few_kernels():
    # Stream capture raises on synchronization, and records the launched kernels.
    import cupy

    rng = np.random.default_rng(0)
    arrays = [cupy.asarray(rng.normal(size=(4, 8732, n)).astype('f')) for n in (4, 21, 4)]
    label = cupy.asarray((rng.random((4, 8732)) < 0.01).astype('i'))

    def step():
        inputs = [chainer.Variable(array) for array in arrays[:2]]
        with chainer.using_config('use_fused_multibox', 'always'):
            losses = multibox_loss(*inputs, arrays[2], label, 3)
        return chainer.grad(losses, inputs)

    with cupy.cuda.Stream(non_blocking=True) as stream:
        kept = [step() for _ in range(3)]  # compile, and fill the stream's memory pool
        stream.synchronize()
        del kept
        driver = ctypes.CDLL('libcuda.so.1')
        # Not by CuPy's class of graphs, whose attributes depend on the version.
        graph, number = ctypes.c_void_p(), ctypes.c_size_t()
        assert not driver.cuStreamBeginCapture_v2(ctypes.c_void_p(stream.ptr), 0)
        step()
        assert not driver.cuStreamEndCapture(ctypes.c_void_p(stream.ptr), ctypes.byref(graph))
    assert not driver.cuGraphGetNodes(graph, None, ctypes.byref(number))
    nodes = (ctypes.c_void_p * number.value)()
    assert not driver.cuGraphGetNodes(graph, nodes, ctypes.byref(number))
    kinds = []
    for graph_node in nodes:
        kind = ctypes.c_int()
        assert not driver.cuGraphNodeGetType(ctypes.c_void_p(graph_node), ctypes.byref(kind))
        kinds.append(kind.value)
    assert not driver.cuGraphDestroy(graph)
    assert 3 <= kinds.count(0) <= 6  # CU_GRAPH_NODE_TYPE_KERNEL
