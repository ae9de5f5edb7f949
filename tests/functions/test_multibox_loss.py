import math

import chainer
import numpy as np
import pytest
from chainer import gradient_check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainer_ssd import encode, match, multibox_loss
from chainer_ssd.ops import corner_to_center, swap_xy
from tests import reference
from tests.conftest import GOLDEN
from tests.helpers import assert_close, to_numpy

CHAINERCV_CASES = [
    'empty_image',
    'many_gts',
    'no_overlap_gt',
    'plain_a',
    'plain_b',
    'plain_c',
    'ratio_1_5',
    'ratio_50',
    'shared_best',
    'ssd300',
]


@pytest.fixture(params=['auto', 'never'], autouse=True)
def use_fused_multibox(request):
    """Run every test with the node and with the definition."""
    with chainer.using_config('use_fused_multibox', request.param):
        yield


def make(seed=0, batch=3, n_box=40, n_class=5, dtype='f', positive_fraction=0.1):
    """Return predictions and targets with positives, background and ignored boxes."""
    rng = np.random.default_rng(seed)
    mb_locs = rng.normal(size=(batch, n_box, 4)).astype(dtype)
    mb_confs = rng.normal(scale=2, size=(batch, n_box, n_class)).astype(dtype)
    gt_mb_locs = rng.normal(size=(batch, n_box, 4)).astype(dtype)
    kind = rng.random((batch, n_box))
    gt_mb_labels = np.where(
        kind < positive_fraction, rng.integers(1, n_class, (batch, n_box)), 0
    ).astype('i')
    gt_mb_labels[kind > 0.95] = -1
    return mb_locs, mb_confs, gt_mb_locs, gt_mb_labels


def loss_and_gradients(mb_locs, mb_confs, *rest):
    mb_locs, mb_confs = chainer.Variable(mb_locs), chainer.Variable(mb_confs)
    loc_loss, conf_loss = multibox_loss(mb_locs, mb_confs, *rest)
    (loc_loss + conf_loss).backward()
    return loc_loss, conf_loss, mb_locs.grad, mb_confs.grad


@pytest.mark.parametrize('case', CHAINERCV_CASES)
def test_equals_chainercv(case, xp):
    golden = np.load(GOLDEN / f'{case}.npz')
    default_bbox = corner_to_center(swap_xy(golden['in.prior']))
    variance = swap_xy(golden['in.prior_var'])
    split = np.cumsum(golden['in.gt_lens'])[:-1]
    targets = []
    for bbox, label in zip(
        np.split(swap_xy(golden['in.gt_box']), split), np.split(golden['in.gt_label'], split)
    ):
        targets.append(encode(default_bbox, bbox, label - 1, match(default_bbox, bbox), variance))
    gt_mb_locs, gt_mb_labels = map(np.stack, zip(*targets))
    positive = gt_mb_labels > 0

    np.testing.assert_array_equal(gt_mb_labels, golden['chainercv.mb_label'])
    if case != 'ssd300':  # the file of the largest case has norms only
        assert_close(gt_mb_locs[positive], swap_xy(golden['chainercv.mb_loc'])[positive], 2e-5)

    k = float(golden['in.neg_pos_ratio']) if 'in.neg_pos_ratio' in golden else 3
    loc_loss, conf_loss, loc_grad, conf_grad = loss_and_gradients(
        xp.asarray(swap_xy(golden['in.loc'])),
        xp.asarray(golden['in.conf']),
        xp.asarray(gt_mb_locs),
        xp.asarray(gt_mb_labels),
        k,
    )
    assert_close(conf_loss, golden['chainercv.conf_loss'], 2e-5)
    if case == 'no_overlap_gt':
        # ChainerCV encodes every unmatched box with the last ground truth. Here one of them has
        # no height: log(h / 0) = inf, and inf · 0 of the mask is NaN. Its gradients are finite.
        assert np.isnan(golden['chainercv.loc_loss'])
        assert np.isfinite(to_numpy(loc_loss))
    else:
        assert_close(loc_loss, golden['chainercv.loc_loss'], 2e-5)

    loc_grad, conf_grad = swap_xy(to_numpy(loc_grad)), to_numpy(conf_grad)
    if case != 'ssd300':
        assert_close(loc_grad, golden['chainercv.gloc'], 2e-5)
        assert_close(conf_grad, golden['chainercv.gconf'], 2e-5)
    else:
        for name, grad in (('gloc', loc_grad), ('gconf', conf_grad)):
            norm = np.linalg.norm(grad.reshape(len(grad), -1), axis=1)
            assert_close(norm, golden[f'chainercv.{name}_l2'], 2e-5)


# The fixture does not depend on the example.
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(0, 3),
    n_box=st.integers(1, 30),
    n_class=st.integers(2, 6),
    positive_fraction=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    k=st.sampled_from([0, 0.3, 1.5, 3, 1000]),
)
def test_equals_the_reference(seed, batch, n_box, n_class, positive_fraction, k):
    arrays = make(seed, batch, n_box, n_class, 'd', positive_fraction)
    loc_loss, conf_loss = multibox_loss(*arrays, k)
    expected = reference.multibox_loss(*(a.tolist() for a in arrays), k)
    np.testing.assert_allclose(
        (float(loc_loss.array), float(conf_loss.array)), expected, rtol=1e-12
    )


@pytest.mark.parametrize(('dtype', 'rtol'), [('f2', 5e-3), ('f4', 1e-6), ('f8', 1e-13)])
def test_dtypes(xp, dtype, rtol):
    arrays = make(dtype=dtype)
    exact = loss_and_gradients(*(a.astype('d') if a.dtype.kind == 'f' else a for a in arrays), 3)
    found = loss_and_gradients(*map(xp.asarray, arrays), 3)
    for loss in found[:2]:
        assert loss.dtype == np.promote_types(dtype, 'f4')
        assert loss.shape == ()
    for grad in found[2:]:
        assert grad.dtype == np.dtype(dtype)
    for a, b in zip(found, exact):
        assert_close(a, to_numpy(b).astype('d'), rtol)


def test_float16_sums_do_not_overflow(xp):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = make(
        batch=8, n_box=4000, dtype='f2', positive_fraction=0.5
    )
    loc_loss, conf_loss = multibox_loss(
        xp.asarray(mb_locs * 100),
        xp.asarray(mb_confs * 30),
        xp.asarray(gt_mb_locs),
        xp.asarray(gt_mb_labels),
        3,
    )
    assert np.isfinite(float(loc_loss.array)) and np.isfinite(float(conf_loss.array))


def away_from_kinks(seed):
    """Return float64 inputs that are far from kinks of the Huber loss and from ties."""
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = make(seed, 2, 12, 4, 'd', 0.25)
    distance = np.abs(mb_locs - gt_mb_locs)
    mb_locs[np.abs(distance - 1) < 0.1] += 0.3
    return mb_locs, mb_confs, gt_mb_locs, gt_mb_labels


@pytest.mark.parametrize('k', [0, 1, 3])
def test_gradients(xp, k):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = map(xp.asarray, away_from_kinks(5))

    def loss(mb_locs, mb_confs):
        return multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k)

    gradient_check.check_backward(
        loss,
        (mb_locs, mb_confs),
        tuple(map(xp.asarray, np.array([0.7, 1.3]))),
        eps=1e-5,
        atol=1e-6,
        rtol=1e-6,
        dtype='d',
    )


def test_double_backprop(xp):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = map(xp.asarray, away_from_kinks(6))
    rng = np.random.default_rng(0)

    def loss(mb_locs, mb_confs):
        return multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, 3)

    gradient_check.check_double_backward(
        loss,
        (mb_locs, mb_confs),
        tuple(map(xp.asarray, np.array([0.7, 1.3]))),
        (xp.asarray(rng.normal(size=mb_locs.shape)), xp.asarray(rng.normal(size=mb_confs.shape))),
        eps=1e-5,
        atol=1e-5,
        rtol=1e-5,
        dtype='d',
    )


@pytest.mark.parametrize('ignored_fraction', [0, 0.5])
def test_without_positives_both_losses_are_connected_zeros(xp, ignored_fraction):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = make(positive_fraction=0)
    gt_mb_labels[np.random.default_rng(0).random(gt_mb_labels.shape) < ignored_fraction] = -1
    loc_loss, conf_loss, loc_grad, conf_grad = loss_and_gradients(
        *map(xp.asarray, (mb_locs, mb_confs, gt_mb_locs, gt_mb_labels)), 3
    )
    assert float(loc_loss.array) == 0 and float(conf_loss.array) == 0
    assert loc_grad.shape == mb_locs.shape and not to_numpy(loc_grad).any()
    assert conf_grad.shape == mb_confs.shape and not to_numpy(conf_grad).any()


def test_a_batch_without_images_is_legal(xp):
    arrays = (
        np.zeros((0, 7, 4), 'f'),
        np.zeros((0, 7, 3), 'f'),
        np.zeros((0, 7, 4), 'f'),
        np.zeros((0, 7), 'i'),
    )
    loc_loss, conf_loss, loc_grad, _ = loss_and_gradients(*map(xp.asarray, arrays), 3)
    assert float(loc_loss.array) == 0 and float(conf_loss.array) == 0
    assert loc_grad.shape == (0, 7, 4)


@pytest.mark.parametrize('special', [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_selected_have_no_effect(xp, special):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = make()
    clean = loss_and_gradients(*map(xp.asarray, (mb_locs, mb_confs, gt_mb_locs, gt_mb_labels)), 3)
    mb_locs[gt_mb_labels <= 0] = special
    gt_mb_locs[gt_mb_labels <= 0] = special
    mb_confs[gt_mb_labels < 0] = special
    with np.errstate(invalid='ignore'):
        found = loss_and_gradients(
            *map(xp.asarray, (mb_locs, mb_confs, gt_mb_locs, gt_mb_labels)), 3
        )
    for a, b in zip(found, clean):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_nan_of_a_selected_row_is_in_the_loss(xp):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = make()
    mb_confs[0, np.flatnonzero(gt_mb_labels[0] == 0)[3], 1] = np.nan  # the hardest negative
    with np.errstate(invalid='ignore'):
        loc_loss, conf_loss = multibox_loss(
            *map(xp.asarray, (mb_locs, mb_confs, gt_mb_locs, gt_mb_labels)), 3
        )
    assert np.isfinite(float(loc_loss.array)) and np.isnan(float(conf_loss.array))


@pytest.mark.parametrize('dtype', ['f4', 'f8'])
@pytest.mark.parametrize('scale', [1e3, 1e4])
def test_large_logits(xp, dtype, scale):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = make(dtype='d')
    mb_confs = np.round(mb_confs * scale)  # integers are exact in float32
    expected = reference.multibox_loss(
        *(a.tolist() for a in (mb_locs, mb_confs, gt_mb_locs, gt_mb_labels)), 3
    )
    loc_loss, conf_loss, _, grad = loss_and_gradients(
        *map(
            xp.asarray,
            (mb_locs.astype(dtype), mb_confs.astype(dtype), gt_mb_locs.astype(dtype), gt_mb_labels),
        ),
        3,
    )
    assert_close(conf_loss, np.array(expected[1]), 1e-6)
    assert np.isfinite(to_numpy(grad)).all()


def test_a_small_loss_of_large_logits_is_accurate(xp):
    mb_confs = np.zeros((1, 1, 2), 'f')
    mb_confs[0, 0] = 9990, 10000
    arrays = np.zeros((1, 1, 4), 'f'), mb_confs, np.zeros((1, 1, 4), 'f'), np.array([[1]], 'i')
    _, conf_loss = multibox_loss(*map(xp.asarray, arrays), 3)
    np.testing.assert_allclose(float(conf_loss.array), math.log1p(math.exp(-10)), rtol=1e-3)


def test_float16_logits_of_12_and_more(xp):
    mb_confs = np.zeros((1, 2, 2), 'f2')
    mb_confs[0, 0] = 14, 0
    arrays = np.zeros((1, 2, 4), 'f2'), mb_confs, np.zeros((1, 2, 4), 'f2'), np.array([[1, 0]], 'i')
    _, conf_loss, _, grad = loss_and_gradients(*map(xp.asarray, arrays), 1)
    np.testing.assert_allclose(float(conf_loss.array), 14 + math.log(2), rtol=1e-6)
    np.testing.assert_allclose(to_numpy(grad)[0], [(1, -1), (-0.5, 0.5)], atol=1e-3)


def test_arguments_are_not_modified(xp):
    arrays = tuple(map(xp.asarray, make()))
    before = [to_numpy(a).copy() for a in arrays]
    as_variables = multibox_loss(*map(chainer.Variable, arrays), 3)
    as_arrays = multibox_loss(*arrays, 3)
    for a, b in zip(as_variables, as_arrays):
        assert float(a.array) == float(b.array)
    for a, b in zip(arrays, before):
        np.testing.assert_array_equal(to_numpy(a), b)


def change(array, index, value):
    array = array.copy()
    array[index] = value
    return array


MB_LOCS, MB_CONFS, GT_MB_LOCS, GT_MB_LABELS = make()
POSITIVE = tuple(int(axis[0]) for axis in np.nonzero(GT_MB_LABELS > 0))


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'k': -1}, ValueError, 'k = -1'),
        ({'k': float('nan')}, ValueError, 'k = nan'),
        ({'k': float('inf')}, ValueError, 'k = inf'),
        ({'k': 'three'}, ValueError, "k = 'three'"),
        ({'mb_locs': MB_LOCS[:, :-1]}, ValueError, r'\(3, 39, 4\).*\(3, 40, 5\)'),
        ({'mb_locs': MB_LOCS[..., :3]}, ValueError, r'expected \(B, K, 4\) and \(B, K, C\)'),
        ({'mb_confs': MB_CONFS[..., 0]}, ValueError, r'expected \(B, K, 4\) and \(B, K, C\)'),
        ({'mb_confs': MB_CONFS.astype('d')}, TypeError, 'float32.*float64.*expected floats of one'),
        ({'gt_mb_labels': GT_MB_LABELS[:2]}, ValueError, r'\(3, 40, 4\).*\(2, 40\)'),
        ({'gt_mb_locs': GT_MB_LOCS[:2]}, ValueError, r'gt_mb_locs has shape \(2, 40, 4\)'),
        ({'gt_mb_labels': GT_MB_LABELS.astype('f')}, TypeError, 'gt_mb_labels float32'),
        ({'gt_mb_locs': GT_MB_LOCS.astype('i')}, TypeError, 'gt_mb_locs has dtype int32'),
        (
            {'gt_mb_labels': change(GT_MB_LABELS, (1, 2), -2)},
            ValueError,
            r'gt_mb_labels\[1, 2\] = -2: expected -1',
        ),
        (
            {'gt_mb_labels': change(GT_MB_LABELS, (2, 3), 5)},
            ValueError,
            r'gt_mb_labels\[2, 3\] = 5: .*below 5',
        ),
        (
            {'gt_mb_locs': change(GT_MB_LOCS, POSITIVE, np.nan)},
            ValueError,
            rf'gt_mb_locs\[{POSITIVE[0]}, {POSITIVE[1]}\] = \(nan',
        ),
    ],
)
def test_invalid_arguments(arguments, error, message):
    valid = {
        'mb_locs': MB_LOCS,
        'mb_confs': MB_CONFS,
        'gt_mb_locs': GT_MB_LOCS,
        'gt_mb_labels': GT_MB_LABELS,
        'k': 3,
    }
    with pytest.raises(error, match=message):
        multibox_loss(**{**valid, **arguments})


@pytest.mark.parametrize('name', ['mb_locs', 'mb_confs'])
def test_predictions_that_are_not_finite_raise_under_debug(xp, name):
    arrays = dict(zip(('mb_locs', 'mb_confs', 'gt_mb_locs', 'gt_mb_labels'), make()))
    arrays[name][1, 2:4, 0] = np.nan
    arrays = {key: xp.asarray(array) for key, array in arrays.items()}
    with chainer.using_config('debug', True):
        with pytest.raises(ValueError, match=f'{name}, image 1: 2 values are NaN or inf'):
            multibox_loss(**arrays, k=3)


def test_the_number_of_negatives_is_rounded_as_in_chainercv():
    # 0.28 · 25 is 7.000000000000001 in float64, and its ceiling is 8.
    labels = np.zeros((1, 40), 'i')
    labels[0, :25] = 1
    mb_confs = np.random.default_rng(0).normal(size=(1, 40, 2)).astype('f')
    zeros = np.zeros((1, 40, 4), 'f')
    _, _, _, grad = loss_and_gradients(zeros, mb_confs, zeros, labels, 0.28)
    assert np.count_nonzero(grad[0, 25:, 0]) == 8
