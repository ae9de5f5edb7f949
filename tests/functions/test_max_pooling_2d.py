"""Max pooling: values, gradients and errors are those of Chainer's function."""

import importlib
import itertools

import chainer
import chainer.functions as F
import numpy as np
import pytest

from chainer_ssd.functions import max_pooling_2d

# The function hides its module of the same name.
module = importlib.import_module('chainer_ssd.functions.max_pooling_2d')

OPTIONS = [
    (ksize, stride, pad, cover_all)
    for ksize, stride, pad, cover_all in itertools.product(
        [1, 2, 3, (2, 3)], [None, 1, 2, (2, 1)], [0, 1, (0, 1)], [True, False]
    )
]


def run(function, array, options, gy=None):
    """Return output, gradient, and the gradient of the gradient."""
    x = chainer.Variable(array)
    y = function(x, *options)
    gy = chainer.Variable(y.xp.asarray(np.resize(np.arange(-3, 4), y.shape), y.dtype))
    (gx,) = chainer.grad([y], [x], [gy], enable_double_backprop=True)
    (ggy,) = chainer.grad([gx], [gy], [chainer.Variable(y.xp.cos(array))])
    return y.array, gx.array, ggy.array


# Small integers have many ties, and their sums are exact in any order.
@pytest.mark.parametrize('dtype', ['e', 'f', 'd'])
@pytest.mark.parametrize('size', [(7, 8), (5, 5), (9, 4), (1, 3)])
def test_equals_chainers(xp, dtype, size):
    array = xp.asarray(np.random.randint(-3, 3, (2, 3, *size)), dtype)
    n_valid = 0
    for options in OPTIONS:
        try:
            expected = run(F.max_pooling_2d, array, options)
        except (AssertionError, ValueError) as error:
            with pytest.raises(type(error)) as raised:
                max_pooling_2d(array, *options)
            assert str(raised.value) == str(error)
            continue
        n_valid += 1
        if np.isinf(chainer.backends.cuda.to_cpu(expected[0])).any() and xp.__name__ == 'cupy':
            continue  # Chainer's kernels read outside of the image if a window is all padding
        for a, b in zip(run(max_pooling_2d, array, options), expected):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(
                chainer.backends.cuda.to_cpu(a), chainer.backends.cuda.to_cpu(b), str(options)
            )
    assert n_valid > 20


def test_memory_order_does_not_matter():
    array = np.random.standard_normal((2, 3, 9, 8)).astype('f')
    for other in (np.asfortranarray(array), np.repeat(array, 2, 3)[..., ::2]):
        for a, b in zip(run(max_pooling_2d, other, (2,)), run(max_pooling_2d, array, (2,))):
            np.testing.assert_array_equal(a, b)


def test_infinity_and_nan():
    array = np.array([[-np.inf, -np.inf, 1, np.nan], [-np.inf, -np.inf, 2, 3]], 'f')[None, None]
    found, expected = (f(array, 2).array for f in (max_pooling_2d, F.max_pooling_2d))
    np.testing.assert_array_equal(found, expected)


def test_a_large_window_is_chainers():
    array = np.random.standard_normal((1, 1, 20, 20)).astype('f')
    for a, b in zip(run(max_pooling_2d, array, (17, 1)), run(F.max_pooling_2d, array, (17, 1))):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_blocks_of_planes_are_put_together(monkeypatch):
    array = np.random.standard_normal((2, 3, 9, 8)).astype('f')
    expected = run(max_pooling_2d, array, (3, 2, 1))
    for n_plane in 1, 4, 6:  # the last block has fewer
        monkeypatch.setattr(module, 'BLOCK_BYTES', n_plane * 9 * 8 * 4)
        for a, b in zip(run(max_pooling_2d, array, (3, 2, 1)), expected):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ('array', 'error'),
    [
        (np.zeros((1, 1, 4, 4), 'i'), chainer.utils.type_check.InvalidType),
        (np.zeros((0, 1, 4, 4), 'f'), chainer.utils.type_check.InvalidType),
        (np.zeros((1, 4, 4), 'f'), ValueError),
    ],
)
def test_wrong_inputs(array, error):
    with pytest.raises(error):
        max_pooling_2d(array, 2)


def test_never_uses_chainers_node():
    x = np.zeros((1, 1, 4, 4), 'f')
    ours = type(max_pooling_2d(x, 2).creator)
    with chainer.using_config('use_blocked_convolution', 'never'):
        assert type(max_pooling_2d(x, 2).creator) is not ours
    assert type(F.max_pooling_2d(x, 2).creator) is not ours
    with chainer.using_config('use_blocked_convolution', 'always'):
        with pytest.raises(ValueError, match='use_blocked_convolution'):
            max_pooling_2d(x, 2)
