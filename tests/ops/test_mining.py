import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainer_ssd import hard_example_mining, hard_negative_mining
from tests import reference
from tests.helpers import to_numpy

# Few values, so that ties are frequent.
values = st.sampled_from([0.0, 0.5, 1.0, 2.0, float('inf'), float('nan')])
kinds = st.sampled_from(['positive', 'negative', 'ignored'])


@given(
    rows=st.lists(st.tuples(values, kinds), min_size=1, max_size=20),
    n=st.integers(0, 25),
    dtype=st.sampled_from(['f2', 'f4', 'f8']),
)
def test_hard_negatives_equal_the_reference(rows, n, dtype):
    loss = [value for value, _ in rows]
    kind = np.array([[kind for _, kind in rows]])
    mask = hard_negative_mining(
        np.array([loss], dtype), kind == 'positive', np.array([n]), kind == 'ignored'
    )
    expected = reference.hardest(loss, np.flatnonzero(kind[0] == 'negative').tolist(), n)
    assert set(np.flatnonzero(mask[0]).tolist()) == expected


@given(loss=st.lists(values, min_size=1, max_size=20), n=st.integers(1, 25))
def test_hard_examples_equal_the_reference(loss, n):
    mask = hard_example_mining(np.array([loss]), n)
    assert set(np.flatnonzero(mask[0]).tolist()) == reference.hardest(loss, range(len(loss)), n)


def test_each_image_has_its_own_count(xp):
    rng = np.random.default_rng(0)
    loss = rng.exponential(size=(4, 50)).astype('f')
    positive = rng.random((4, 50)) < 0.2
    n = np.array([0, 3, 7, 100])
    mask = to_numpy(hard_negative_mining(xp.asarray(loss), xp.asarray(positive), xp.asarray(n)))
    for i in range(4):
        expected = reference.hardest(loss[i].tolist(), np.flatnonzero(~positive[i]).tolist(), n[i])
        assert set(np.flatnonzero(mask[i]).tolist()) == expected


def test_permuting_the_boxes_permutes_the_mask():
    rng = np.random.default_rng(1)
    loss, positive = rng.random((2, 40)), rng.random((2, 40)) < 0.2
    order = rng.permutation(40)
    n = np.array([5, 9])
    np.testing.assert_array_equal(
        hard_negative_mining(loss[:, order], positive[:, order], n),
        hard_negative_mining(loss, positive, n)[:, order],
    )


def test_an_empty_batch_is_legal(xp):
    empty = xp.asarray(np.zeros((0, 5), 'f'))
    mask = hard_negative_mining(empty, empty > 0, xp.asarray(np.zeros(0, 'l')))
    assert mask.shape == (0, 5)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'conf_loss': np.zeros(3)}, r'conf_loss has shape \(3,\): expected \(B, K\)'),
        ({'positive': np.zeros((2, 3), bool)}, r'positive has shape \(2, 3\)'),
        ({'positive': np.zeros((1, 3), 'l')}, 'positive has dtype int64'),
        ({'ignored': np.zeros((1, 3))}, 'ignored has dtype float64: expected bool'),
        ({'n_negative': np.array(3)}, r'n_negative has shape \(\): expected \(1,\)'),
    ],
)
def test_invalid_arguments(change, message):
    valid = {
        'conf_loss': np.zeros((1, 3)),
        'positive': np.zeros((1, 3), bool),
        'n_negative': np.array([1]),
        'ignored': None,
    }
    with pytest.raises((TypeError, ValueError), match=message):
        hard_negative_mining(**{**valid, **change})


def test_the_loss_of_hard_examples_needs_two_dimensions():
    with pytest.raises(ValueError, match=r'loss has shape \(3,\): expected \(B, K\)'):
        hard_example_mining(np.zeros(3), 1)


@pytest.mark.parametrize(
    ('sample_size', 'error'),
    [
        (0, ValueError),
        (-1, ValueError),
        (1.5, TypeError),
        (float('inf'), TypeError),
        (float('nan'), TypeError),
        (None, TypeError),
        ('3', TypeError),
    ],
)
def test_sample_size_must_be_a_positive_integer(sample_size, error):
    with pytest.raises(error, match=f'sample_size = {sample_size!r}'):
        hard_example_mining(np.zeros((1, 3)), sample_size)
