"""The convolution in blocks computes what Chainer's function computes."""

import threading
import tracemalloc

import chainer
import chainer.functions as F
import numpy as np
import pytest
from chainer import gradient_check
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from chainer_ssd.functions import convolution_2d
from chainer_ssd.functions._convolution import (
    algorithms,
    blocks,
    columns,
    pointwise,
    winograd,
    winograd_kernels,
)
from chainer_ssd.functions._convolution.geometry import Geometry
from chainer_ssd.functions._convolution.node import Convolution2DFunction
from tests.helpers import assert_close, to_numpy

#: Relative to the largest sum of a tensor, added up without signs.
RTOL = {'e': 1e-3, 'f': 1e-6, 'd': 1e-14}

#: Layers of the models and some others: x, W, options, and the algorithm that computes them.
LAYERS = [
    ((2, 3, 24, 24), (32, 3, 6, 6), {'stride': 4, 'pad': 1}, columns),
    ((2, 32, 12, 12), (64, 32, 2, 2), {'stride': 2}, columns),
    ((2, 64, 12, 12), (128, 64, 3, 3), {'pad': 1}, winograd),
    ((2, 64, 11, 13), (32, 64, 3, 3), {'pad': 1}, winograd),
    ((3, 20, 14, 9), (16, 20, 3, 3), {}, winograd),
    ((1, 16, 30, 30), (16, 16, 3, 3), {'pad': (2, 3)}, winograd),
    ((2, 32, 12, 12), (48, 16, 3, 3), {'pad': 1, 'groups': 2}, winograd),
    ((2, 16, 3, 3), (16, 16, 3, 3), {}, columns),
    ((2, 3, 30, 30), (16, 3, 3, 3), {'pad': 1}, columns),
    ((2, 16, 9, 9), (32, 16, 3, 3), {'pad': 6, 'dilate': 6}, columns),
    ((2, 16, 19, 19), (32, 16, 3, 3), {'pad': 6, 'dilate': 6}, columns),
    ((2, 16, 10, 10), (32, 16, 3, 3), {'stride': 2, 'pad': 1}, columns),
    ((2, 3, 9, 9), (2, 3, 2, 2), {'stride': 2, 'pad': 1, 'dilate': 3}, columns),
    ((2, 64, 12, 12), (32, 64, 1, 1), {}, pointwise),
    ((2, 16, 13, 12), (32, 16, 1, 1), {'stride': (2, 3)}, pointwise),
    ((2, 16, 6, 6), (32, 16, 1, 1), {'pad': 1}, columns),
]
each_layer = pytest.mark.parametrize(('x_shape', 'W_shape', 'options', 'algorithm'), LAYERS)


def make(x_shape, W_shape, dtype='f', seed=0, xp=np):
    """Return input, kernels and biases."""
    rng = np.random.default_rng(seed)
    return [
        xp.asarray(rng.normal(size=shape).astype(dtype))
        for shape in (x_shape, W_shape, W_shape[:1])
    ]


def make_gradient(y):
    gy = np.random.default_rng(1).normal(size=y.shape).astype('e')  # exact in each dtype
    return chainer.backend.get_array_module(y.array).asarray(gy.astype(y.dtype))


def make_positive_gradient(y):
    return abs(make_gradient(y))


def run(function, *arrays, gradient_of=make_gradient, **options):
    """Return the output and the gradients of x, W and b, as NumPy arrays."""
    inputs = [chainer.Variable(array) for array in arrays]
    y = function(*inputs, **options)
    assert isinstance(y.creator, Convolution2DFunction) == (function is convolution_2d)
    y.grad = gradient_of(y)
    y.backward()
    return [to_numpy(array) for array in (y.array, *(x.grad for x in inputs))]


def assert_equals_chainers(*arrays, **options):
    """Compare with Chainer's function in float64."""
    wide = [to_numpy(array).astype('d') for array in arrays]
    found = run(convolution_2d, *arrays, **options)
    dtype = arrays[0].dtype.char
    expected = run(F.convolution_2d, *wide, **options)
    # The same sums without signs. Rounding errors are relative to them, also where terms cancel.
    sizes = run(F.convolution_2d, *map(np.abs, wide), gradient_of=make_positive_gradient, **options)
    for a, b, size in zip(found, expected, sizes):
        assert a.dtype == dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=RTOL[dtype] * size.max(initial=0))
    return found


@pytest.fixture(params=['usual blocks', 'small blocks'])
def block_size(request, monkeypatch):
    if request.param == 'small blocks':
        monkeypatch.setattr(blocks, 'BLOCK_BYTES', 1)
        monkeypatch.setattr(winograd, 'BLOCK_BYTES', 1)
        monkeypatch.setattr(winograd, 'MIN_TILES', 6)
        monkeypatch.setattr(winograd_kernels, 'MAX_WEIGHTS_IN_CACHE', 100)
        monkeypatch.setattr(columns, 'MIN_PIXELS_OF_BLOCK', 1)


@each_layer
@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.usefixtures('block_size')
def test_the_layers_of_the_models(xp, x_shape, W_shape, options, algorithm, dtype):
    assert_equals_chainers(*make(x_shape, W_shape, dtype, xp=xp), **options)


@each_layer
def test_each_algorithm_has_its_layers(x_shape, W_shape, options, algorithm):
    x, W, _ = make(x_shape, W_shape)
    y = convolution_2d(x, W, **options)
    assert algorithms.choose_algorithm(x, W, y.creator.geometry) is algorithm


@given(
    batch=st.integers(0, 3),
    channels=st.tuples(st.sampled_from([1, 3, 8, 16]), st.sampled_from([1, 2, 8, 17])),
    groups=st.sampled_from([1, 1, 2, 3]),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    kernel=st.sampled_from([(3, 3), (3, 3), (1, 1), (2, 2), (6, 6), (1, 3), (5, 2), (4, 3)]),
    stride=st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (4, 4)]),
    pad=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dilate=st.sampled_from([(1, 1), (1, 1), (2, 1), (3, 3)]),
    dtype=st.sampled_from('efd'),
    block_bytes=st.sampled_from([1, 3000, 1 << 20]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=300)
@example(  # the gradient of W almost cancels
    batch=3,
    channels=(1, 2),
    groups=1,
    size=(3, 1),
    kernel=(1, 1),
    stride=(1, 1),
    pad=(3, 1),
    dilate=(1, 1),
    dtype='f',
    block_bytes=1,
    seed=3,
)
def test_equals_chainers_function(
    batch, channels, groups, size, kernel, stride, pad, dilate, dtype, block_bytes, seed
):
    n_in, n_out = channels
    for i in range(2):
        assume(size[i] + 2 * pad[i] > (kernel[i] - 1) * dilate[i])
    groups = groups if min(channels) >= 8 else 1
    arrays = make((batch, n_in * groups, *size), (n_out * groups, n_in, *kernel), dtype, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, 'BLOCK_BYTES', block_bytes)
        patch.setattr(winograd, 'BLOCK_BYTES', block_bytes)
        patch.setattr(winograd, 'MIN_TILES', 1)
        patch.setattr(winograd_kernels, 'MAX_WEIGHTS_IN_CACHE', 50)
        patch.setattr(columns, 'MIN_PIXELS_OF_BLOCK', 1)
        patch.setattr(algorithms, 'MIN_WINOGRAD_TILES', 1)
        patch.setattr(algorithms, 'MIN_WINOGRAD_CHANNELS', 3)
        assert_equals_chainers(*arrays, stride=stride, pad=pad, dilate=dilate, groups=groups)


@pytest.mark.parametrize('size', [(3, 3), (4, 7), (5, 5), (6, 9), (16, 33)])
@pytest.mark.parametrize('pad', [0, 1, 2, 5])
@pytest.mark.usefixtures('block_size')
def test_winograds_algorithm_for_all_sizes(size, pad):
    x, W, _ = make((3, 2, *size), (4, 2, 3, 3), 'd')
    out_size = size[0] + 2 * pad - 2, size[1] + 2 * pad - 2
    gy = np.random.default_rng(1).normal(size=(3, 4, *out_size))
    geometry = Geometry(1, 1, pad, pad, 1, 1, 1, out_size)
    found = []
    for algorithm in columns, winograd:
        y, gx, gW = np.empty(gy.shape), np.zeros(x.shape), np.empty(W.shape)
        algorithm.forward(x, W, None, y, geometry, np.dtype('d'))
        algorithm.gradients(x, W, gy, gx, gW, geometry, np.dtype('d'))
        found.append((y, gx, gW))
    for a, b in zip(*found):
        assert_close(a, b, 1e-13)


@each_layer
def test_float16(xp, x_shape, W_shape, options, algorithm):
    arrays = make(x_shape, W_shape, 'e', xp=xp)
    arrays[1] = xp.asarray((arrays[1] / W_shape[1]).astype('e'))
    assert_equals_chainers(*arrays, **options)


def test_sums_of_float16_are_float32():
    """A sum of 8,192 ones in float16 ends at 2,048."""
    x, W, b = np.ones((2, 1, 64, 64), 'e'), np.ones((1, 1, 1, 1), 'e'), np.zeros(1, 'e')
    inputs = [chainer.Variable(array) for array in (x, W, b)]
    F.sum(convolution_2d(*inputs)).backward()
    assert [variable.grad.item(0) for variable in inputs] == [1, 8192, 8192]


def test_float16_input_with_float32_kernels():
    x, W, b = make((2, 16, 12, 12), (16, 16, 3, 3))
    y, gx, gW, gb = run(convolution_2d, x.astype('e'), W, b.astype('e'), pad=1)
    assert [a.dtype.char for a in (y, gx, gW, gb)] == ['e', 'e', 'f', 'e']


@each_layer
def test_arrays_that_are_not_contiguous(x_shape, W_shape, options, algorithm):
    x, W, b = make(x_shape, W_shape)
    expected = run(convolution_2d, x, W, b, **options)
    gaps = np.zeros((x_shape[0], 2 * x_shape[1], *x_shape[2:]), 'f')
    gaps[:, ::2] = x
    turned = np.ascontiguousarray(W.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0)
    for other in gaps[:, ::2], np.asfortranarray(x), x[:, :, ::-1][:, :, ::-1]:
        for a, b_ in zip(run(convolution_2d, other, turned, b[::-1][::-1], **options), expected):
            assert_close(a, b_, RTOL['f'])


def test_gradient_that_is_broadcast():
    """The gradient of a sum has the strides 0."""
    x, W, _ = make((2, 16, 12, 12), (16, 16, 3, 3))
    for kernels in W, np.ascontiguousarray(W[..., :1, :1]), np.ascontiguousarray(W[..., :2]):
        grads = []
        for function in convolution_2d, F.convolution_2d:
            inputs = chainer.Variable(x), chainer.Variable(kernels)
            F.sum(function(*inputs)).backward()
            grads.append([v.grad for v in inputs])
        for a, b in zip(*grads):
            assert_close(a, b, RTOL['f'])


@each_layer
def test_no_images(xp, x_shape, W_shape, options, algorithm):
    x, W, b = make((0, *x_shape[1:]), W_shape, xp=xp)
    y, gx, gW, gb = assert_equals_chainers(x, W, b, **options)
    assert len(y) == len(gx) == 0 and not gW.any() and not gb.any()


@each_layer
def test_the_same_bits_each_time(x_shape, W_shape, options, algorithm):
    arrays = make(x_shape, W_shape)
    first = run(convolution_2d, *arrays, **options)
    blocks.clear_scratch()
    for _ in range(2):
        for a, b in zip(first, run(convolution_2d, *arrays, **options)):
            np.testing.assert_array_equal(a, b)


def test_results_do_not_share_memory_with_later_ones():
    arrays = make((2, 16, 12, 12), (16, 16, 3, 3))
    first = run(convolution_2d, *arrays, pad=1)
    copies = [array.copy() for array in first]
    run(convolution_2d, *make((2, 16, 12, 12), (16, 16, 3, 3), seed=5), pad=1)
    for a, b in zip(first, copies):
        np.testing.assert_array_equal(a, b)


def test_threads_do_not_share_scratch_memory():
    layers = [(make(x, W, seed=i), options) for i, (x, W, options, _) in enumerate(LAYERS)]
    expected = [run(convolution_2d, *arrays, **options) for arrays, options in layers]
    wrong = []

    def work():
        for _ in range(5):
            for (arrays, options), results in zip(layers, expected):
                for a, b in zip(run(convolution_2d, *arrays, **options), results):
                    if not np.array_equal(a, b):
                        wrong.append(options)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize('needed', [(0,), (1,), (2,), (0, 2), (1, 2)])
@pytest.mark.parametrize(('x_shape', 'W_shape'), [layer[:2] for layer in LAYERS[1:3]])
def test_only_the_needed_gradients_are_computed(needed, x_shape, W_shape, monkeypatch):
    calls = []
    original = algorithms.compute_gradients

    def count(x, W, gy, geometry, needs_gx, needs_gW):
        calls.append((needs_gx, needs_gW))
        gx, gW = original(x, W, gy, geometry, needs_gx, needs_gW)
        assert (gx is not None, gW is not None) == (needs_gx, needs_gW)
        return gx, gW

    monkeypatch.setattr('chainer_ssd.functions._convolution.node.compute_gradients', count)
    arrays = make(x_shape, W_shape)
    full = run(convolution_2d, *arrays)[1:]
    inputs = [chainer.Variable(a, requires_grad=i in needed) for i, a in enumerate(arrays)]
    y = convolution_2d(*inputs)
    y.grad = make_gradient(y)
    y.backward()
    assert calls[-1] == (0 in needed, 1 in needed)
    for i, (variable, expected) in enumerate(zip(inputs, full)):
        if i in needed:
            np.testing.assert_array_equal(variable.grad, expected)
        else:
            assert variable.grad is None


@pytest.mark.parametrize(
    ('x_shape', 'W_shape', 'options'),
    [
        ((2, 16, 8, 7), (16, 16, 3, 3), {'pad': 1}),
        ((2, 3, 7, 8), (2, 3, 3, 2), {'stride': 2, 'pad': 1, 'dilate': (1, 2)}),
        ((2, 16, 5, 6), (16, 8, 2, 2), {'groups': 2}),
        ((2, 3, 5, 4), (4, 3, 1, 1), {'stride': 2}),
    ],
)
def test_gradients_and_double_backprop(x_shape, W_shape, options):
    inputs = make(x_shape, W_shape, 'd')

    def convolve(x, W, b):
        y = convolution_2d(x, W, b, **options)
        assert isinstance(y.creator, Convolution2DFunction)
        return y

    y = convolve(*inputs).array
    rng = np.random.default_rng(2)
    gy = rng.normal(size=y.shape)
    ggs = [rng.normal(size=a.shape) for a in inputs]
    tolerances = {'dtype': 'd', 'atol': 1e-5, 'rtol': 1e-5}
    gradient_check.check_backward(convolve, tuple(inputs), gy, **tolerances)
    gradient_check.check_double_backward(convolve, tuple(inputs), gy, tuple(ggs), **tolerances)


def test_double_backprop_equals_chainers():
    """A gradient penalty, with respect to the kernels."""
    grads = []
    for function in convolution_2d, F.convolution_2d:
        x, W, b = map(chainer.Variable, make((2, 16, 8, 8), (16, 16, 3, 3), 'd'))
        y = F.tanh(function(x, W, b, pad=1))
        gx, gb = chainer.grad([y], [x, b], enable_double_backprop=True)
        (F.sum(gx**2) + F.sum(gb**3)).backward()
        grads.append([v.grad for v in (x, W, b)])
    for a, b in zip(*grads):
        assert_close(a, b, 1e-12)


@pytest.mark.parametrize(
    ('x_shape', 'W_shape', 'limit'),
    [((16, 32, 64, 64), (32, 32, 3, 3), 9), ((16, 32, 64, 64), (32, 32, 5, 5), 9)],
)
def test_the_memory_is_bounded(x_shape, W_shape, limit):
    """Columns of the whole batch take 9 or 25 times the memory of the input."""
    x, W, b = make(x_shape, W_shape)
    gy = make((x_shape[0], W_shape[0], *x_shape[2:]), W_shape)[0]
    blocks.clear_scratch()
    tracemalloc.start()
    try:
        inputs = [chainer.Variable(array) for array in (x, W, b)]
        y = convolution_2d(*inputs, pad=W_shape[2] // 2)
        y.grad = gy
        y.backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    scratch = sum(buffer.nbytes for buffer in blocks._memory.buffers.values())
    assert scratch < limit << 20, scratch
    assert peak < scratch + y.array.nbytes + 2 * x.nbytes + (1 << 20)


def test_batches_of_any_size_need_the_same_scratch_memory():
    found = []
    for batch in 4, 32:
        blocks.clear_scratch()
        run(convolution_2d, *make((batch, 16, 32, 32), (16, 16, 3, 3)), pad=1)
        run(convolution_2d, *make((batch, 16, 32, 32), (16, 16, 5, 5)), pad=2)
        found.append(sum(buffer.nbytes for buffer in blocks._memory.buffers.values()))
    assert found[1] <= 1.3 * found[0]


def test_use_blocked_convolution():
    arrays = make((2, 16, 12, 12), (16, 16, 3, 3))
    assert chainer.config.use_blocked_convolution == 'auto'
    assert isinstance(convolution_2d(*arrays).creator, Convolution2DFunction)
    with chainer.using_config('use_blocked_convolution', 'never'):
        y = convolution_2d(*arrays)
        assert not isinstance(y.creator, Convolution2DFunction)
        np.testing.assert_array_equal(y.array, F.convolution_2d(*arrays).array)
    with chainer.using_config('use_blocked_convolution', 'always'):
        with pytest.raises(ValueError, match="use_blocked_convolution = 'always': expected one of"):
            convolution_2d(*arrays)


@pytest.mark.parametrize(
    ('shapes', 'options'),
    [
        (((2, 16, 12, 12), (16, 16, 3, 3)), {'cover_all': True}),
        (((2, 16, 12, 12), (16, 1, 3, 3)), {'groups': 16}),
    ],
)
def test_what_chainers_function_computes(shapes, options):
    arrays = make(*shapes)
    y = convolution_2d(*arrays, stride=2, **options)
    assert not isinstance(y.creator, Convolution2DFunction)
    expected = F.convolution_2d(*arrays, stride=2, **options)
    np.testing.assert_array_equal(y.array, expected.array)


@pytest.mark.parametrize(
    ('shapes', 'options'),
    [
        (((2, 3, 8, 8), (4, 2, 3, 3)), {}),
        (((2, 3, 8), (4, 3, 3, 3)), {}),
        (((2, 3, 8, 8), (4, 3, 3)), {}),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {'dilate': 0}),
        (((2, 32, 8, 8), (33, 16, 3, 3)), {'groups': 2}),
        (((2, 32, 8, 8), (32, 16, 3, 3)), {'groups': 0}),
    ],
)
def test_errors_are_chainers(shapes, options):
    arrays = make(*shapes)
    with pytest.raises(Exception) as expected:  # noqa: B017
        F.convolution_2d(*arrays, **options)
    with pytest.raises(type(expected.value)):
        convolution_2d(*arrays, **options)


def test_an_output_without_pixels_is_refused():
    """Chainer raises this error on a GPU, and an AssertionError on a CPU."""
    x, W, _ = make((2, 3, 2, 4), (4, 3, 3, 3))
    with pytest.raises(RuntimeError, match='Height in the output should be positive'):
        convolution_2d(x, W)


def test_integers_are_refused():
    x, W, _ = make((2, 3, 8, 8), (4, 3, 3, 3))
    with pytest.raises(chainer.utils.type_check.InvalidType):
        convolution_2d(x.astype('i'), W)


def test_the_name_and_the_attributes_of_the_function_are_chainers():
    x, W, b = make((2, 16, 12, 12), (16, 16, 3, 3))
    options = {'stride': (1, 2), 'pad': (3, 1), 'dilate': (2, 1)}
    own = convolution_2d(x, W, b, **options).creator
    chainers = F.convolution_2d(x, W, b, **options).creator
    assert type(own) is not type(chainers)
    assert own.label == chainers.label
    for name in 'sy', 'sx', 'ph', 'pw', 'dy', 'dx', 'groups', 'cover_all':
        assert getattr(own, name) == getattr(chainers, name)


def test_the_gradient_of_float16_biases_is_a_sum_of_float32():
    rng = np.random.default_rng(0)
    gy = rng.random((4, 16, 40, 40)).astype('f2')
    x, W, b = np.zeros((4, 3, 40, 40), 'f2'), np.zeros((16, 3, 1, 1), 'f2'), np.zeros(16, 'f2')
    biases = chainer.Variable(b)
    y = convolution_2d(x, W, biases)
    y.grad = gy
    y.backward()
    expected = gy.astype('f').sum(axis=(0, 2, 3)).astype('f2')
    np.testing.assert_array_equal(biases.grad, expected)


def test_large_scratch_arrays_are_not_kept():
    blocks.clear_scratch()
    small = blocks.scratch(np, 'a name', (1000,), 'f')
    assert np.shares_memory(small, blocks.scratch(np, 'a name', (10,), 'd'))
    large = blocks.scratch(np, 'a name', (blocks.MAX_WARM_BYTES + 1,), 'u1')
    assert not np.shares_memory(
        large, blocks.scratch(np, 'a name', (blocks.MAX_WARM_BYTES + 1,), 'u1')
    )
    assert np.shares_memory(small, blocks.scratch(np, 'a name', (10,), 'd'))
