import numpy as np
import pytest

from chainer_ssd.functions._fused import foreground_odds as _odds
from chainer_ssd.functions.objective import background_loss


@pytest.fixture(autouse=True)
def as_the_node_does():
    with np.errstate(all='ignore'):
        yield


def definition(x):
    return background_loss(x[None])[0]


def logits(scale, shift, n_class, dtype, n=9000):
    return (np.random.default_rng(0).normal(size=(n, n_class)) * scale + shift).astype(dtype)


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('scale', [1e-3, 1, 20, 60, 1e4])
@pytest.mark.parametrize('shift', [-50, -3, 0, 40])
@pytest.mark.parametrize('n_class', [1, 2, 21, 81])
def test_odds_are_the_definitions(dtype, scale, shift, n_class):
    x = logits(scale, shift, n_class, dtype)
    odds, reach = _odds.foreground_odds(x)
    loss = definition(x)
    known = odds < np.inf
    assert (odds[known] >= 0).all()
    assert known.mean() > 0.95 or n_class == 1 or scale + abs(shift) >= 40
    # Both errors together stay below half of what `reach` allows between two losses.
    least, most = reach(odds[known]), np.expm1(loss[known].astype('g'))
    allowed = np.log1p(odds[known].astype('g')) - np.log1p(least)
    assert (2 * abs(np.log1p(odds[known].astype('g')) - np.log1p(most)) <= allowed).all()
    assert (allowed <= 3e4 * np.finfo(dtype).eps * (1 + loss[known])).all()

    which = np.random.default_rng(1).permutation(len(x))[:100]
    np.testing.assert_array_equal(_odds.foreground_odds(x, which)[0], odds[which])


@pytest.mark.parametrize('dtype', 'efd')
@pytest.mark.parametrize('scale', [0, 1e-3, 0.1, 1, 4, 14])
@pytest.mark.parametrize('shift', [-3, 0, 8])
@pytest.mark.parametrize('background', [0, 3, 12])
@pytest.mark.parametrize('n_class', [1, 2, 21, 81])
def test_rough_odds_reach_whatever_the_definition_ranks_before(
    dtype, scale, shift, background, n_class
):
    x = logits(scale, shift, n_class, dtype)
    x[:, 0] += background
    x = x.clip(-63.9, 63.9)
    odds, reach = _odds.rough_odds(x)
    assert odds.dtype == 'f' and (odds >= 0).all()
    # From the largest loss down: each must be at or above what every later one reaches.
    order = np.argsort(-definition(x), kind='stable')
    reached = reach(np.where(odds < np.inf, odds, -1)[order])  # what is not known reaches nothing
    assert (odds[order] >= np.maximum.accumulate(reached[::-1])[::-1]).all()
    # and a threshold in the middle must leave fewer
    if scale >= 1 and n_class > 1 and background < 12:
        assert (odds >= reach(np.quantile(odds, 0.99))).mean() < 0.05


def test_every_rough_exponential():
    low, high = (np.arange(-64, 64, 2.0**-6) + i * 2.0**-7 for i in (-1, 1))
    e = (np.arange(-64, 64, 2.0**-6).astype('f') + _odds.M).view('u4') * _odds.SCALE
    e = e.view('f').astype('d')
    assert (e > 0).all() and np.isfinite(e).all()
    known_within = (e / np.exp(low)).max() / (e / np.exp(high)).min()
    assert 1.07 < known_within and known_within**2 < _odds.ROUGH


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
def test_what_is_out_of_range_is_seen(x, column):
    confs = logits(1, 0, 5, 'f', n=100)
    assert _odds.rough_odds(confs) is not None
    confs[37, column] = x
    assert _odds.rough_odds(confs) is None


def test_any_bits_are_in_range_or_seen_or_as_good_as_zero():
    x = np.random.default_rng(0).integers(0, 1 << 32, 1 << 22, dtype='u4').view('f')
    x = np.concatenate([x, np.arange(-150000, -100000, 2.0**-5).astype('f')])
    bits = (x + _odds.M).view('u4')
    unseen = bits & np.uint32(~_odds.ALLOWED & 0xFFFFFFFF) == 0
    outside = x[unseen & ~((-64.01 < x) & (x < 64))]
    assert set(outside) == {-131136, -131134}
    assert not ((outside + _odds.M).view('u4') * _odds.SCALE).any()


def test_a_row_of_nothing_but_the_two_that_are_not_seen():
    x = np.zeros((10, 3), 'f')
    x[4, 1] = -131136  # exp(x) = 0: one of the two others is left
    odds, _ = _odds.rough_odds(x)
    np.testing.assert_allclose(odds, [2, 2, 2, 2, 1, 2, 2, 2, 2, 2], rtol=0.08)
    x[4] = -131136
    assert _odds.rough_odds(x) is None
    x[4, 2] = 3
    assert _odds.rough_odds(x)[0][4] == np.inf
