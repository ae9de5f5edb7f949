"""Approximate and exact odds rank boxes as the definition's loss does, within the stated errors."""

import numpy as np
import pytest

from chainer_ssd.functions import background_loss
from chainer_ssd.functions._fused import foreground_odds
from chainer_ssd.functions._fused.foreground_odds import approximate_odds, exact_odds


@pytest.fixture(autouse=True)
def without_floating_point_warnings():
    """The node computes odds in such a block, too."""
    with np.errstate(all='ignore'):
        yield


def definition(logits):
    return background_loss(logits[None])[0]


def make_logits(scale, shift, n_class, dtype, n=9000):
    return (np.random.default_rng(0).normal(size=(n, n_class)) * scale + shift).astype(dtype)


def approximate_exponential(x):
    bits = (x + foreground_odds.EXPONENTIAL_OFFSET).view('u4') * foreground_odds.EXPONENTIAL_SLOPE
    return bits.view('f')


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('scale', [1e-3, 1, 20, 60, 1e4])
@pytest.mark.parametrize('shift', [-50, -3, 0, 40])
@pytest.mark.parametrize('n_class', [1, 2, 21, 81])
def test_exact_odds_equal_the_definition(dtype, scale, shift, n_class):
    logits = make_logits(scale, shift, n_class, dtype)
    odds, error = exact_odds(logits)
    loss = definition(logits)
    known = odds < np.inf
    assert (odds[known] >= 0).all()
    assert known.mean() > 0.95 or n_class == 1 or scale + abs(shift) >= 40
    # Twice the error must be below the difference that `error` allows between two losses.
    lowest, expected = error.lower_bound(odds[known]), np.expm1(loss[known].astype('g'))
    allowed = np.log1p(odds[known].astype('g')) - np.log1p(lowest)
    found_error = abs(np.log1p(odds[known].astype('g')) - np.log1p(expected))
    assert (2 * found_error <= allowed).all()
    assert (allowed <= 3e4 * np.finfo(dtype).eps * (1 + loss[known])).all()

    which = np.random.default_rng(1).permutation(len(logits))[:100]
    np.testing.assert_array_equal(exact_odds(logits, which)[0], odds[which])


@pytest.mark.parametrize('dtype', 'efd')
@pytest.mark.parametrize('scale', [0, 1e-3, 0.1, 1, 4, 14])
@pytest.mark.parametrize('shift', [-3, 0, 8])
@pytest.mark.parametrize('background', [0, 3, 12])
@pytest.mark.parametrize('n_class', [1, 2, 21, 81])
def test_the_bound_of_approximate_odds_holds_for_the_definitions_order(
    dtype, scale, shift, background, n_class
):
    logits = make_logits(scale, shift, n_class, dtype)
    logits[:, 0] += background
    logits = logits.clip(-63.9, 63.9)
    odds, error = approximate_odds(logits)
    assert odds.dtype == 'f' and (odds >= 0).all()
    # By falling loss, each row must be at or above the lower bound of every later row.
    order = np.argsort(-definition(logits), kind='stable')
    bound = error.lower_bound(
        np.where(odds < np.inf, odds, -1)[order]
    )  # unknown odds bound nothing
    assert (odds[order] >= np.maximum.accumulate(bound[::-1])[::-1]).all()
    # The bound must also exclude most rows.
    if scale >= 1 and n_class > 1 and background < 12:
        assert (odds >= error.lower_bound(np.quantile(odds, 0.99))).mean() < 0.05


def test_every_approximate_exponential_is_within_the_error():
    x = np.arange(-64, 64, 2.0**-6)
    found = approximate_exponential(x.astype('f')).astype('d')
    assert (found > 0).all() and np.isfinite(found).all()
    # All numbers within half a step of x have the same approximation.
    highest, lowest = (found / np.exp(x - 2.0**-7)).max(), (found / np.exp(x + 2.0**-7)).min()
    assert 1.07 < highest / lowest
    assert (highest / lowest) ** 2 < foreground_odds.ODDS_RATIO_ERROR


@pytest.mark.parametrize(
    'x',
    [
        64,
        -64.01,
        65,
        -65,
        200,
        -200,
        355,
        -355,
        1e4,
        -1e4,
        2e5,
        -131100,
        -131135,
        -131133.5,
        1e30,
        -1e30,
        np.inf,
        -np.inf,
        np.nan,
        -np.nan,
    ],
)
@pytest.mark.parametrize('column', [0, 1, 4])
def test_one_logit_out_of_range_is_detected(x, column):
    logits = make_logits(1, 0, 5, 'f', n=100)
    assert approximate_odds(logits) is not None
    logits[37, column] = x
    assert approximate_odds(logits) is None


def test_logits_that_are_not_detected_have_an_exponential_of_zero():
    x = np.random.default_rng(0).integers(0, 1 << 32, 1 << 22, dtype='u4').view('f')
    x = np.concatenate([x, np.arange(-150000, -100000, 2.0**-5).astype('f')])
    bits = (x + foreground_odds.EXPONENTIAL_OFFSET).view('u4')
    undetected = bits & np.uint32(~foreground_odds.IN_RANGE_BITS & 0xFFFFFFFF) == 0
    outside = x[undetected & ~((-64.01 < x) & (x < 64))]
    assert set(outside) == {-131136, -131134}
    assert not approximate_exponential(outside).any()


def test_a_row_of_undetected_logits_is_detected():
    logits = np.zeros((10, 3), 'f')
    logits[4, 1] = -131136  # exp(x) = 0, so the odds are those of one class
    odds, _ = approximate_odds(logits)
    np.testing.assert_allclose(odds, [2, 2, 2, 2, 1, 2, 2, 2, 2, 2], rtol=0.08)
    logits[4] = -131136  # 0 / 0
    assert approximate_odds(logits) is None
    logits[4, 2] = 3  # 1 / 0
    assert approximate_odds(logits)[0][4] == np.inf
