import warnings

import chainer
import numpy as np
import pytest
from chainer import gradient_check
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_ssd import MultiBoxLoss
from tests.functions import reference_interfaces as reference
from tests.helpers import assert_close, to_numpy


def make(seed=0, lens=(3, 0, 2), n_box=20, n_class=4, dtype='d'):
    """Return predictions and targets. Boxes of integers make ties and exact thresholds."""
    rng = np.random.default_rng(seed)
    loc = rng.normal(scale=3, size=(len(lens), n_box, 4)).astype(dtype)
    conf = rng.normal(scale=2, size=(len(lens), n_box, n_class)).astype(dtype)
    priors = np.c_[rng.integers(0, 7, (n_box, 2)), 2 * rng.integers(1, 4, (n_box, 2))].astype(dtype)
    targets = []
    for n in lens:
        corner = rng.integers(0, 7, (n, 2))
        box = np.c_[corner, corner + rng.integers(1, 5, (n, 2))]
        targets.append(np.c_[box, rng.integers(0, n_class - 1, n)].astype(dtype))
    return (loc, conf, priors), targets


def criterion(n_class=4, overlap_thresh=0.5, neg_pos=3, **options):
    return MultiBoxLoss(n_class, overlap_thresh, True, 0, True, neg_pos, 0.5, False, **options)


def losses_and_gradients(xp, predictions, targets, **options):
    loc, conf = (chainer.Variable(xp.asarray(a)) for a in predictions[:2])
    losses = criterion(**options)(
        (loc, conf, xp.asarray(predictions[2])), [xp.asarray(target) for target in targets]
    )
    sum(losses).backward()
    return (*losses, loc.grad, conf.grad)


def expected(predictions, targets, overlap_thresh=0.5, neg_pos=3, variance=(0.1, 0.2)):
    return reference.multi_box_loss(
        *(a.tolist() for a in predictions),
        [target.tolist() for target in targets],
        overlap_thresh,
        neg_pos,
        variance,
    )


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lens=st.lists(st.integers(0, 5), max_size=3),
    n_box=st.integers(5, 14),
    n_class=st.integers(2, 5),
    overlap_thresh=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    neg_pos=st.sampled_from([0, 0.25, 1.5, 3, 1000]),
    variance=st.sampled_from([(0.1, 0.2), (1, 1), (0.3, 0.05)]),
)
def test_equals_the_reference(seed, lens, n_box, n_class, overlap_thresh, neg_pos, variance):
    predictions, targets = make(seed, lens, n_box, n_class)
    options = {'overlap_thresh': overlap_thresh, 'neg_pos': neg_pos, 'variance': variance}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # boxes beside all default boxes
        losses = criterion(n_class, **options)(predictions, targets)
    np.testing.assert_allclose(
        [float(loss.array) for loss in losses],
        expected(predictions, targets, **options),
        rtol=1e-11,
    )


def test_many_boxes(xp):
    predictions, targets = make(1, (12, 0, 30, 4), 300, 6)
    found = losses_and_gradients(xp, predictions, targets, n_class=6)
    for loss, value in zip(found, expected(predictions, targets)):
        assert_close(loss, np.array(value), 1e-12)


@pytest.mark.parametrize('neg_pos', [0, 1.5, 3])
def test_gradients(xp, neg_pos):
    (loc, conf, priors), targets = make(3, n_box=12)
    priors, targets = xp.asarray(priors), [xp.asarray(target) for target in targets]
    gradient_check.check_backward(
        lambda *x: criterion(neg_pos=neg_pos)((*x, priors), targets),
        (xp.asarray(loc), xp.asarray(conf)),
        tuple(map(xp.asarray, np.array([0.7, 1.3]))),
        eps=1e-5,
        atol=1e-6,
        rtol=1e-6,
        dtype='d',
    )


@pytest.mark.parametrize(('dtype', 'rtol'), [('f2', 5e-3), ('f4', 1e-6), ('f8', 1e-13)])
def test_dtypes(xp, dtype, rtol):
    (loc, conf, priors), targets = make()
    loc, conf = loc.astype(dtype), conf.astype(dtype)
    expect = losses_and_gradients(np, (loc.astype('d'), conf.astype('d'), priors), targets)
    found = losses_and_gradients(xp, (loc, conf, priors), targets)
    for loss in found[:2]:
        assert loss.dtype == np.promote_types(dtype, 'f4') and loss.shape == ()
    for grad in found[2:]:
        assert grad.dtype == np.dtype(dtype)
    for a, b in zip(found, expect):
        assert_close(a, to_numpy(b), rtol)


def test_the_call_of_ssd_pytorchs_train_script():
    # VOC: 21 classes, boxes in [0, 1], float32 throughout
    (loc, conf, priors), targets = make(n_class=21, dtype='f')
    targets = [np.concatenate([t[:, :4] / 16, t[:, 4:]], 1) for t in targets]
    loss_l, loss_c = MultiBoxLoss(21, 0.5, True, 0, True, 3, 0.5, False)(
        (loc, conf, priors / 16), targets
    )
    expect = expected((loc, conf, priors / 16), targets)
    assert_close(loss_l, np.array(expect[0]), 1e-6)
    assert_close(loss_c, np.array(expect[1]), 1e-6)


@pytest.mark.parametrize('position', [2, 4, 6, 7, 8])
def test_arguments_without_effect(position):
    predictions, targets = make()
    arguments = [4, 0.5, True, 0, True, 3, 0.5, False, True]
    expect = [loss.array for loss in MultiBoxLoss(*arguments)(predictions, targets)]
    for value in (True, False, None, 0, 0.7, 'whatever'):
        arguments[position] = value
        found = [loss.array for loss in MultiBoxLoss(*arguments)(predictions, targets)]
        np.testing.assert_array_equal(found, expect)


@pytest.mark.parametrize('form', ['lists', 'array', 'variables', 'more priors', 'integers'])
def test_equivalent_forms_of_the_arguments(xp, form):
    (loc, conf, priors), targets = make(lens=(2, 2))
    expect = [to_numpy(loss) for loss in criterion()((loc, conf, priors), targets)]
    if form == 'lists':
        targets = [target.tolist() for target in targets]
    if form == 'array':
        targets = np.stack(targets)
    if form == 'variables':
        targets = [chainer.Variable(xp.asarray(target)) for target in targets]
        priors = chainer.Variable(xp.asarray(priors))
    if form == 'more priors':  # ssd.pytorch's data parallel replicas return as many
        priors = np.concatenate([priors, 2 * priors])
    if form == 'integers':
        targets = [target.astype(int) for target in targets]
    found = criterion()((xp.asarray(loc), xp.asarray(conf), priors), targets)
    for a, b in zip(found, expect):
        assert_close(a, b, 1e-14)


@pytest.mark.filterwarnings('ignore:no ground truth fits')
def test_later_truths_overwrite_and_a_truth_without_overlap_is_matched():
    priors = np.array([(1, 1, 2, 2), (9, 9, 2, 2), (5, 9, 2, 2)], 'd')
    targets = [np.array([(0, 0, 2, 2, 0), (0, 0, 2, 1.8, 1), (30, 30, 31, 31, 2)], 'd')]
    matched = criterion()._make_targets(chainer.get_device('@numpy'), 1, 3, priors, targets)
    assert matched.index.tolist() == [[2, -1, -1]]
    assert matched.mb_labels.tolist() == [[3, 0, 0]]


@pytest.mark.parametrize('lens', [(0, 0), ()])
def test_without_positives_both_losses_are_connected_zeros(xp, lens):
    predictions, targets = make(lens=lens)
    loss_l, loss_c, loc_grad, conf_grad = losses_and_gradients(xp, predictions, targets)
    assert float(loss_l.array) == 0 and float(loss_c.array) == 0
    assert loc_grad.shape == (len(lens), 20, 4) and not to_numpy(loc_grad).any()
    assert conf_grad.shape == (len(lens), 20, 4) and not to_numpy(conf_grad).any()


def test_rows_that_are_not_selected_have_no_effect(xp):
    predictions, targets = make()
    clean = losses_and_gradients(xp, predictions, targets)
    predictions[0][to_numpy(clean[2]).any(axis=2) == 0] = np.nan
    for a, b in zip(losses_and_gradients(xp, predictions, targets), clean):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'bkg_label': 1}, ValueError, 'bkg_label = 1: expected 0'),
        ({'num_classes': 0}, ValueError, 'num_classes = 0'),
        ({'num_classes': 2.5}, TypeError, 'num_classes = 2.5'),
        ({'overlap_thresh': -0.1}, ValueError, 'overlap_thresh = -0.1'),
        ({'neg_pos': -1}, ValueError, 'neg_pos = -1'),
        ({'variance': (0.1,)}, ValueError, r'variance = \(0.1,\)'),
        ({'variance': (0.1, 0)}, ValueError, r'variance\[1\] = 0'),
    ],
)
def test_invalid_options(arguments, error, message):
    valid = dict(
        num_classes=4,
        overlap_thresh=0.5,
        prior_for_matching=True,
        bkg_label=0,
        neg_mining=True,
        neg_pos=3,
        neg_overlap=0.5,
        encode_target=False,
    )
    with pytest.raises(error, match=message):
        MultiBoxLoss(**{**valid, **arguments})


def changed(index, value):
    targets = make()[1]
    targets[index[0]][index[1:]] = value
    return targets


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'loc': np.zeros((3, 20, 3))}, ValueError, r'loc \(3, 20, 3\)'),
        ({'conf': np.zeros((3, 20, 4), 'f')}, TypeError, 'loc .* float64, conf .* float32'),
        ({'conf': np.zeros((3, 20, 5))}, ValueError, r'conf has shape \(3, 20, 5\): expected 4'),
        (
            {'priors': np.ones((19, 4))},
            ValueError,
            r'priors has shape \(19, 4\): expected \(20, 4\)',
        ),
        ({'priors': np.full((20, 4), -1.0)}, ValueError, r'priors\[0\] = .*expected finite \(cx'),
        ({'targets': make()[1][:2]}, ValueError, 'targets holds 2 images and the predictions 3'),
        ({'targets': [np.ones((1, 4))] * 3}, ValueError, r'targets\[0\] has shape \(1, 4\)'),
        (
            {'targets': changed((0, 1, 2), 0)},
            ValueError,
            r'targets\[0\]\[1\] = .*expected finite \(x_min',
        ),
        ({'targets': changed((2, 1, 3), np.nan)}, ValueError, r'targets\[2\]\[1\] = .*nan'),
        (
            {'targets': changed((2, 1, 4), 3)},
            ValueError,
            r'targets\[2\]\[1\] = 3.0: .* from 0 to 2',
        ),
        ({'targets': changed((2, 1, 4), -1)}, ValueError, r'targets\[2\]\[1\] = -1.0'),
        ({'targets': changed((2, 1, 4), 0.5)}, ValueError, r'targets\[2\]\[1\] = 0.5'),
    ],
)
def test_invalid_arguments(arguments, error, message):
    (loc, conf, priors), targets = make()
    valid = {'loc': loc, 'conf': conf, 'priors': priors, 'targets': targets, **arguments}
    targets = valid.pop('targets')
    with pytest.raises(error, match=message):
        criterion()(tuple(valid.values()), targets)


def test_a_truth_that_is_matched_to_a_prior_without_area_raises():
    (loc, conf, priors), targets = make(lens=(0, 1))
    priors[0, 2:] = 0
    targets[1][0] = 30, 30, 31, 31, 0  # no overlap, so the first box is the best
    with (
        pytest.warns(UserWarning, match='no ground truth fits the default boxes'),
        pytest.raises(ValueError, match=r'image 1: default_bbox\[0\] = .* has no area'),
    ):
        criterion()((loc, conf, priors), targets)
