"""The node's mining selects what the definition selects, on inputs that make it hard."""

import numpy as np
import pytest

from chainer_ssd import hard_negative_mining
from chainer_ssd.functions import background_loss, n_hard_negative
from chainer_ssd.functions._fused import foreground_odds, mining


@pytest.fixture(
    params=['approximate, then exact', 'always too many candidates', 'exact only'], autouse=True
)
def path(request, monkeypatch):
    """Every test takes all paths through the mining, whatever the logits."""
    if request.param == 'always too many candidates':
        monkeypatch.setattr(mining, 'MIN_BOXES_PER_CANDIDATE', 1 << 40)
    elif request.param == 'exact only':
        monkeypatch.setattr(mining, 'approximate_odds', lambda logits: None)


def select(mb_confs, label, k):
    """Return masks by the node's mining and by the definition's."""
    not_background = np.flatnonzero(label != 0)
    positive = not_background[label.take(not_background) > 0]
    mask = np.zeros(label.shape, bool)
    with np.errstate(all='ignore'):
        indices = mining.select_hard_negatives(mb_confs, positive, not_background, k)
        expected = hard_negative_mining(
            background_loss(mb_confs), label > 0, n_hard_negative(label, k), label < 0
        )
    mask.ravel()[indices] = True
    assert len(indices) == mask.sum()
    return mask, expected


def normal(rng, shape):
    return rng.normal(size=shape) * rng.choice([0, 1e-6, 1e-3, 0.1, 1, 4, 14, 30])


def rounded(rng, shape):
    return np.round(normal(rng, shape), rng.integers(-1, 4))


def equal_rows(rng, shape):
    return np.broadcast_to(rng.normal(size=shape[-1]) * rng.choice([0.1, 1, 10]), shape)


def rows_a_few_ulp_apart(rng, shape):
    x = (equal_rows(rng, shape) + rng.choice([0, -60, 55])).astype('f')
    ulp = int(rng.choice([1, 2, 16, 200, 3000]))
    return x + np.spacing(abs(x)) * rng.integers(-ulp, ulp + 1, shape)


def permuted_rows(rng, shape):
    x = equal_rows(rng, shape).copy()
    x[..., 1:] = rng.permuted(x[..., 1:], axis=2)
    return x


def small_losses(rng, shape):
    return rng.normal(size=shape) + (np.arange(shape[-1]) == 0) * rng.uniform(
        5, rng.choice([12, 25, 60, 110]), (*shape[:2], 1)
    )


def shifted_rows(rng, shape):
    return equal_rows(rng, shape) + rng.uniform(-60, 60, (*shape[:2], 1))


def many_magnitudes(rng, shape):
    return rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, (*shape[:2], 1))


def with_special_values(values):
    def make(rng, shape):
        x, special = normal(rng, shape), rng.random(shape) < rng.choice([1e-3, 0.02, 0.3, 0.9])
        x[special] = rng.choice(values, special.sum())
        return x

    return make


KINDS = {
    make.__name__: make
    for make in (
        normal,
        rounded,
        rows_a_few_ulp_apart,
        permuted_rows,
        small_losses,
        shifted_rows,
        many_magnitudes,
    )
}
KINDS['with huge values'] = with_special_values([1e4, -1e4, 1e30, -1e30, 300, -300, 6e4])
KINDS['with values at the edge of the range'] = with_special_values(
    [64, 63.99, 63.997, -64, -64.003, 88, 89, -87, -103]
)
KINDS['with NaN, infinity and zero'] = with_special_values(
    [np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-40]
)
KINDS['with undetected values'] = with_special_values([-131136, -131134])


def compare(kind, seed, max_box):
    """Compare one batch. Images may have no positive, or ignored boxes only."""
    rng = np.random.default_rng(seed)
    n_image, n_class = rng.integers(1, 5), rng.choice([1, 2, 3, 9, 21, 81])
    n_box = rng.choice([1, 2, 31, 33, 500, rng.integers(1, max_box)])
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
    np.testing.assert_array_equal(*select(mb_confs, label, k), err_msg=f'{kind}, seed {seed}')


@pytest.mark.parametrize('kind', KINDS)
def test_masks_equal_the_definition(kind):
    for seed in range(25):
        compare(kind, seed, 1500)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_masks_equal_the_definition_thousands_of_times(kind):
    for seed in range(1000, 2500):
        compare(kind, seed, 9000)


def test_the_block_size_does_not_change_the_selection(monkeypatch):
    rng = np.random.default_rng(0)
    mb_confs, label = rng.normal(size=(2, 300, 5)).astype('f'), rng.integers(-30, 5, (2, 300))
    label = np.where(label < -1, 0, label)
    expected = select(mb_confs, label, 3)[1]
    for size in (1, 100, 4096, 1 << 20):
        monkeypatch.setattr(foreground_odds, 'BLOCK_BYTES', size)
        np.testing.assert_array_equal(select(mb_confs, label, 3)[0], expected)
