"""The node's mining against the definition's, where they are most likely to part."""

import numpy as np
import pytest

from chainer_ssd import hard_negative_mining
from chainer_ssd.functions._fused import foreground_odds as _odds
from chainer_ssd.functions._fused import mining as _fast_mining
from chainer_ssd.functions.objective import background_loss, n_hard_negative


@pytest.fixture(params=['roughly first', 'rough odds are never few', 'well at once'], autouse=True)
def way(request, monkeypatch):
    """The ways that the mining may go, whatever the logits."""
    if request.param == 'rough odds are never few':
        monkeypatch.setattr(_fast_mining, 'MANY', 1 << 40)
    elif request.param == 'well at once':
        monkeypatch.setattr(_fast_mining, 'rough_odds', lambda x: None)


def mined(mb_confs, label, k):
    """Masks by the node's mining and by the definition's."""
    not_background = np.flatnonzero(label != 0)
    positive = not_background[label.take(not_background) > 0]
    mask = np.zeros(label.shape, bool)
    with np.errstate(all='ignore'):
        indices = _fast_mining.mine(mb_confs, positive, not_background, k)
        expected = hard_negative_mining(
            background_loss(mb_confs), label > 0, n_hard_negative(label, k), label < 0
        )
    mask.ravel()[indices] = True
    assert len(indices) == mask.sum()
    return mask, expected


def normal(rng, shape):
    return rng.normal(size=shape) * rng.choice([0, 1e-6, 1e-3, 0.1, 1, 4, 14, 30])


def few_digits(rng, shape):
    return np.round(normal(rng, shape), rng.integers(-1, 4))


def one_row(rng, shape):
    return np.broadcast_to(rng.normal(size=shape[-1]) * rng.choice([0.1, 1, 10]), shape)


def a_few_ulp_apart(rng, shape):
    x = (one_row(rng, shape) + rng.choice([0, -60, 55])).astype('f')
    ulp = int(rng.choice([1, 2, 16, 200, 3000]))
    return x + np.spacing(abs(x)) * rng.integers(-ulp, ulp + 1, shape)


def the_same_in_another_order(rng, shape):
    x = one_row(rng, shape).copy()
    x[..., 1:] = rng.permuted(x[..., 1:], axis=2)
    return x


def of_little_loss(rng, shape):
    return rng.normal(size=shape) + (np.arange(shape[-1]) == 0) * rng.uniform(
        5, rng.choice([12, 25, 60, 110]), (*shape[:2], 1)
    )


def shifted_rows(rng, shape):
    return one_row(rng, shape) + rng.uniform(-60, 60, (*shape[:2], 1))


def of_any_size(rng, shape):
    return rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, (*shape[:2], 1))


def with_a_few(values):
    def make(rng, shape):
        x, chosen = normal(rng, shape), rng.random(shape) < rng.choice([1e-3, 0.02, 0.3, 0.9])
        x[chosen] = rng.choice(values, chosen.sum())
        return x

    return make


KINDS = {
    make.__name__: make
    for make in (
        normal,
        few_digits,
        a_few_ulp_apart,
        the_same_in_another_order,
        of_little_loss,
        shifted_rows,
        of_any_size,
    )
}
KINDS['with a few beyond reason'] = with_a_few([1e4, -1e4, 1e30, -1e30, 300, -300, 6e4])
KINDS['with a few at the edge'] = with_a_few([64, 63.99, 63.997, -64, -64.003, 88, 89, -87, -103])
KINDS['with a few that are no numbers'] = with_a_few(
    [np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-40]
)
KINDS['with a few that are not seen'] = with_a_few([-131136, -131134])


def compare(kind, seed, most):
    """One batch; of images some may have no positive, or nothing but ignored boxes."""
    rng = np.random.default_rng(seed)
    n_image, n_class = rng.integers(1, 5), rng.choice([1, 2, 3, 9, 21, 81])
    n_box = rng.choice([1, 2, 31, 33, 500, rng.integers(1, most)])
    shape = n_image, n_box, n_class
    with np.errstate(all='ignore'):
        mb_confs = np.asarray(KINDS[kind](rng, shape)).astype(rng.choice(list('efd')))
    if rng.random() < 0.3:
        mb_confs = np.asfortranarray(mb_confs)
    elif rng.random() < 0.2:
        mb_confs = np.repeat(mb_confs, 2, axis=1)[:, ::2]
    positive = rng.random(shape[:2]) < rng.choice([0, 0.002, 0.02, 0.3, 0.95])
    label = np.where(positive, rng.integers(1, max(n_class, 2), shape[:2]), 0)
    label[rng.random(shape[:2]) < rng.choice([0, 0.01, 0.5])] = -1
    label[rng.integers(n_image)] *= rng.integers(0, 2)
    k = rng.choice([0, 0.1, 1, 3, 2.2, 50, 1000])
    np.testing.assert_array_equal(*mined(mb_confs, label, k), err_msg=f'{kind}, seed {seed}')


@pytest.mark.parametrize('kind', KINDS)
def test_masks_are_the_definitions(kind):
    for seed in range(25):
        compare(kind, seed, 1500)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_masks_are_the_definitions_thousands_of_times(kind):
    for seed in range(1000, 2500):
        compare(kind, seed, 9000)


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    mb_confs, label = rng.normal(size=(2, 300, 5)).astype('f'), rng.integers(-30, 5, (2, 300))
    label = np.where(label < -1, 0, label)
    expected = mined(mb_confs, label, 3)[1]
    for size in (1, 100, 4096, 1 << 20):
        monkeypatch.setattr(_odds, 'BLOCK', size)
        np.testing.assert_array_equal(mined(mb_confs, label, 3)[0], expected)
