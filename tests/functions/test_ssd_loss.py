import warnings
from types import SimpleNamespace

import chainer
import chainer.functions as F
import numpy as np
import pytest
from chainer import gradient_check
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_ssd import encode, match, multibox_loss, ssd_loss
from chainer_ssd.functions import (
    Batch,
    HardExample,
    HardNegative,
    SmoothL1,
    SoftmaxCrossEntropy,
)
from chainer_ssd.functions._paddle_steps import make_targets
from chainer_ssd.ops import corner_to_center, swap_xy
from tests.functions import reference_interfaces as reference
from tests.helpers import assert_close, to_numpy

DEFAULTS = dict(
    background_label=0,
    overlap_threshold=0.5,
    neg_pos_ratio=3.0,
    neg_overlap=0.5,
    loc_loss_weight=1.0,
    conf_loss_weight=1.0,
    match_type='per_prediction',
    mining_type='max_negative',
    normalize=True,
    sample_size=None,
    neg_overlap_mode='paddle',
    mine_with_loc_loss=False,
)


def random_boxes(rng, n, empty=False):
    """Return boxes (x_min, y_min, x_max, y_max) of small integers.

    Ties and exact thresholds are frequent, and rounding does not change them.
    """
    corner = rng.integers(0, 7, (n, 2))
    return np.concatenate([corner, corner + rng.integers(0 if empty else 1, 5, (n, 2))], 1)


def make(
    seed=0,
    lens=(3, 0, 2),
    n_box=20,
    n_class=4,
    background_label=0,
    dtype='d',
    scale=1,
    empty_priors=True,
):
    """Return the positional arguments of ssd_loss."""
    rng = np.random.default_rng(seed)
    foreground = [c for c in range(n_class) if c != background_label]
    location = rng.normal(scale=3, size=(len(lens), n_box, 4)).astype(dtype)
    confidence = rng.normal(scale=2, size=(len(lens), n_box, n_class)).astype(dtype)
    prior = random_boxes(rng, n_box, empty_priors).astype(dtype) * scale
    gt_box = [random_boxes(rng, n).astype(dtype) * scale for n in lens]
    gt_label = [rng.choice(foreground, n) for n in lens]
    prior_var = rng.uniform(0.1, 1, (n_box, 4)).astype(dtype)
    return location, confidence, gt_box, gt_label, prior, prior_var


def on(xp, arguments):
    return [
        [xp.asarray(a) for a in argument] if isinstance(argument, list) else xp.asarray(argument)
        for argument in arguments
    ]


def without_warnings(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter(
            'ignore', UserWarning
        )  # neg_overlap has no effect, or many ground truths
        return ssd_loss(*arguments, **options)


def expected(arguments, **options):
    return reference.ssd_loss(
        *(
            [a.tolist() for a in argument] if isinstance(argument, list) else argument.tolist()
            for argument in arguments
        ),
        **{**DEFAULTS, **options},
    )


def gradients(arguments, **options):
    location, confidence, *rest = arguments
    location, confidence = chainer.Variable(location), chainer.Variable(confidence)
    loss = without_warnings(location, confidence, *rest, **options)
    F.sum(loss).backward()
    return loss, location.grad, confidence.grad


OPTIONS = st.fixed_dictionaries(
    {
        'background_label': st.integers(0, 2),
        'overlap_threshold': st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        'neg_pos_ratio': st.sampled_from([0, 0.25, 1.5, 3, 1000, 1e300]),
        'neg_overlap': st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        'loc_loss_weight': st.sampled_from([0, 1.0, 2.5]),
        'conf_loss_weight': st.sampled_from([0, 1.0, 0.4]),
        'match_type': st.sampled_from(['per_prediction', 'bipartite']),
        'mining_type': st.sampled_from(['max_negative', 'hard_example']),
        'normalize': st.booleans(),
        'sample_size': st.sampled_from([1, 3, 8, 100]),
        'neg_overlap_mode': st.sampled_from(['paddle', 'caffe']),
        'mine_with_loc_loss': st.booleans(),
    }
)


@settings(max_examples=250, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lens=st.lists(st.integers(0, 5), max_size=3),
    n_box=st.integers(1, 14),
    n_class=st.integers(3, 5),
    options=OPTIONS,
)
def test_equals_the_reference(seed, lens, n_box, n_class, options):
    arguments = make(seed, lens, n_box, n_class, options['background_label'])
    losses, matches, positives, negatives = expected(arguments, **options)

    per_box = without_warnings(*arguments, reduce='no', **options)
    assert per_box.shape == (len(lens) * n_box, 1)
    np.testing.assert_allclose(per_box.array[:, 0], np.ravel(losses), rtol=1e-11, atol=1e-12)
    per_image = without_warnings(*arguments, reduce='image', **options)
    assert per_image.shape == (len(lens), 1)
    np.testing.assert_allclose(
        per_image.array[:, 0], list(map(sum, losses)), rtol=1e-11, atol=1e-12
    )
    total = without_warnings(*arguments, reduce='sum', **options)
    assert total.shape == ()
    np.testing.assert_allclose(float(total.array), sum(map(sum, losses)), rtol=1e-11, atol=1e-12)

    location, confidence, gt_box, gt_label, prior, prior_var = arguments
    band = (
        options['neg_overlap']
        if options['neg_overlap_mode'] == 'caffe' and options['mining_type'] == 'max_negative'
        else None
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # more ground truths than default boxes
        targets = make_targets(
            chainer.get_device('@numpy'),
            len(lens),
            n_box,
            n_class,
            gt_box,
            gt_label,
            None,
            prior,
            prior_var,
            options['background_label'],
            options['overlap_threshold'],
            options['match_type'],
            band,
            None,
        )
    assert targets.index.tolist() == matches
    mining = HardNegative(options['neg_pos_ratio'], 'floor', by='own class')
    if options['mining_type'] == 'hard_example':
        mining = HardExample(options['sample_size'], options['mine_with_loc_loss'])
    logits = np.roll(confidence, -options['background_label'], axis=2)
    boxes = mining(
        Batch(
            chainer.Variable(location),
            chainer.Variable(logits),
            targets.mb_locs,
            targets.mb_labels,
            SmoothL1(),
            SoftmaxCrossEntropy(),
        )
    )
    for masks, sets in zip(boxes, (positives, negatives)):
        assert [set(np.flatnonzero(mask)) for mask in masks] == sets


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'background_label': 3},
        {'match_type': 'bipartite', 'neg_overlap': 0.25, 'neg_overlap_mode': 'caffe'},
        {'mining_type': 'hard_example', 'sample_size': 6, 'mine_with_loc_loss': True},
        {'normalize': False, 'loc_loss_weight': 2.5, 'conf_loss_weight': 0.4},
    ],
    ids=lambda options: ','.join(options) or 'defaults',
)
def test_many_boxes(xp, options):
    arguments = make(1, (12, 0, 30, 4), 300, 6, options.get('background_label', 0))
    losses = expected(arguments, **options)[0]
    loss = without_warnings(*on(xp, arguments), reduce='no', **options)
    assert_close(loss, np.reshape(losses, (-1, 1)), 1e-12)


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'reduce': 'image'},
        {'reduce': 'sum'},
        {'background_label': 2},
        {'match_type': 'bipartite'},
        {'normalize': False},
        {'mining_type': 'hard_example', 'sample_size': 5},
        {'mining_type': 'hard_example', 'sample_size': 5, 'mine_with_loc_loss': True},
        {'neg_overlap_mode': 'caffe', 'neg_overlap': 0.2},
        {'loc_loss_weight': 2.5, 'conf_loss_weight': 0.4, 'neg_pos_ratio': 1.5},
    ],
    ids=lambda options: ','.join(options) or 'defaults',
)
def test_gradients(xp, options):
    # Losses differ by far more than eps, and no offset is at a kink of the Huber loss.
    location, confidence, *rest = make(3, (3, 0, 2), 12, 4, options.get('background_label', 0))
    rest = on(xp, rest)
    shape = {'image': (3, 1), 'sum': ()}.get(options.get('reduce'), (36, 1))
    grad = xp.asarray(np.random.default_rng(0).normal(size=shape))
    gradient_check.check_backward(
        lambda *x: without_warnings(*x, *rest, **options),
        (xp.asarray(location), xp.asarray(confidence)),
        grad,
        eps=1e-5,
        atol=1e-6,
        rtol=1e-6,
        dtype='d',
    )


def test_double_backprop(xp):
    location, confidence, *rest = make(3, (3, 0, 2), 12, 4)
    rest = on(xp, rest)
    rng = np.random.default_rng(0)
    directions = (rng.normal(size=location.shape), rng.normal(size=confidence.shape))
    gradient_check.check_double_backward(
        lambda *x: without_warnings(*x, *rest),
        (xp.asarray(location), xp.asarray(confidence)),
        xp.asarray(rng.normal(size=(36, 1))),
        tuple(map(xp.asarray, directions)),
        eps=1e-5,
        atol=1e-5,
        rtol=1e-5,
        dtype='d',
    )


def test_the_example_of_paddles_document(xp):
    # It has location and confidence with 2 dimensions, with which Paddle itself raises.
    rng = np.random.default_rng(0)
    pb = random_boxes(rng, 10).astype('f')
    pbv = np.full((10, 4), 0.1, 'f')
    loc = rng.normal(size=(10, 4)).astype('f')
    scores = rng.normal(size=(10, 21)).astype('f')
    gt_box = random_boxes(rng, 3).astype('f')
    gt_label = np.array([[3], [20], [1]], 'f')
    loss = ssd_loss(*map(xp.asarray, (loc, scores, gt_box, gt_label, pb, pbv)))
    assert loss.shape == (10, 1)
    losses = expected((loc[None], scores[None], [gt_box], [gt_label[:, 0].astype(int)], pb, pbv))[0]
    assert_close(loss, np.reshape(losses, (-1, 1)), 1e-6)


@pytest.mark.parametrize('form', ['lists', 'lens', 'columns', 'floats', 'variables', 'pixels'])
def test_equivalent_forms_of_ground_truth(xp, form):
    location, confidence, gt_box, gt_label, prior, prior_var = arguments = make(lens=(3, 0, 2))
    expect = to_numpy(ssd_loss(*arguments))
    options = {}
    if form == 'lists':
        gt_box, gt_label = ([a.tolist() for a in gt] for gt in (gt_box, gt_label))
    if form == 'lens':
        options['gt_lens'] = [3, 0, 2]
        gt_box, gt_label = xp.asarray(np.concatenate(gt_box)), xp.asarray(np.concatenate(gt_label))
    if form == 'columns':
        gt_label = [label[:, None] for label in gt_label]
    if form == 'floats':
        gt_label = [label.astype('f') for label in gt_label]
    if form == 'variables':
        gt_box, gt_label = (
            [chainer.Variable(xp.asarray(a, dtype='f')) for a in gt] for gt in (gt_box, gt_label)
        )
    if form == 'pixels':
        gt_box, prior = [64 * box for box in gt_box], 64 * prior
    loss = ssd_loss(
        *map(xp.asarray, (location, confidence)),
        gt_box,
        gt_label,
        xp.asarray(prior),
        xp.asarray(prior_var),
        **options,
    )
    assert_close(loss, expect, 1e-14)


def test_an_array_of_images_equals_a_list():
    location, confidence, gt_box, gt_label, *rest = make(lens=(2, 2))
    expect = ssd_loss(location, confidence, gt_box, gt_label, *rest)
    found = ssd_loss(location, confidence, np.stack(gt_box), np.stack(gt_label), *rest)
    np.testing.assert_array_equal(found.array, expect.array)


def test_variances_are_one_by_default(xp):
    arguments = on(xp, make())
    ones = ssd_loss(*arguments[:5], xp.asarray(np.ones((20, 4))))
    np.testing.assert_array_equal(to_numpy(ssd_loss(*arguments[:5])), to_numpy(ones))
    np.testing.assert_array_equal(
        to_numpy(ssd_loss(*arguments[:5], xp.asarray(np.ones(4)))), to_numpy(ones)
    )


@pytest.mark.parametrize(('dtype', 'rtol'), [('f2', 5e-3), ('f4', 1e-6), ('f8', 1e-13)])
def test_dtypes(xp, dtype, rtol):
    arguments = make(scale=1 / 8)
    rounded = [a.astype(dtype) for a in arguments[:2]]
    expect = gradients([a.astype('d') for a in rounded] + list(arguments[2:]))
    found = gradients(on(xp, rounded + list(arguments[2:])))
    assert found[0].dtype == np.promote_types(dtype, 'f4')
    for a, b in zip(found, expect):
        assert_close(a, to_numpy(b), rtol)
    for grad in found[1:]:
        assert grad.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'mining_type': 'hard_example', 'sample_size': 4},
        {'mining_type': 'hard_example', 'sample_size': 4, 'mine_with_loc_loss': True},
        {'neg_overlap_mode': 'caffe'},
        {'reduce': 'sum'},
        {'reduce': 'image'},
    ],
    ids=lambda options: ','.join(map(str, options.values())) or 'defaults',
)
def test_without_ground_truth_the_loss_is_a_connected_zero(xp, options):
    loss, loc_grad, conf_grad = gradients(on(xp, make(lens=(0, 0))), **options)
    assert not to_numpy(loss).any()
    assert loc_grad.shape == (2, 20, 4) and not to_numpy(loc_grad).any()
    assert conf_grad.shape == (2, 20, 4) and not to_numpy(conf_grad).any()


def test_hard_examples_without_matches_give_a_connected_zero(xp):
    arguments = make(lens=(1, 1))
    for image, label in enumerate(arguments[3]):
        arguments[1][image, :, label] = 100  # every matched box is easy
        arguments[1][image, :5, 0] = -100  # five boxes are the hardest, all unmatched
        arguments[4][:5] = 0
    loss, loc_grad, conf_grad = gradients(
        on(xp, arguments), mining_type='hard_example', sample_size=3
    )
    assert not any(to_numpy(a).any() for a in (loss, loc_grad, conf_grad))
    loss = without_warnings(*arguments, mining_type='hard_example', sample_size=3, normalize=False)
    assert np.count_nonzero(loss.array) == 6


def test_a_batch_without_images_is_legal(xp):
    arguments = on(xp, make(lens=()))
    assert ssd_loss(*arguments).shape == (0, 1)
    assert ssd_loss(*arguments, reduce='image').shape == (0, 1)
    loss, loc_grad, _ = gradients(arguments, reduce='sum')
    assert float(loss.array) == 0 and loc_grad.shape == (0, 20, 4)


def test_an_image_without_ground_truth_adds_nothing(xp):
    arguments = make(lens=(3, 2))
    one = to_numpy(ssd_loss(*on(xp, arguments), reduce='image'))
    wider = make(seed=1, lens=(0,))
    arguments = (
        [np.concatenate([a, b]) for a, b in zip(arguments[:2], wider[:2])]
        + [a + b for a, b in zip(arguments[2:4], wider[2:4])]
        + list(arguments[4:])
    )
    np.testing.assert_array_equal(
        to_numpy(ssd_loss(*on(xp, arguments), reduce='image')), [*one, [0]]
    )


@pytest.mark.parametrize('special', [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_selected_have_no_effect(xp, special):
    arguments = make()
    clean = gradients(on(xp, arguments))
    unselected = to_numpy(clean[1]).any(axis=2) == 0
    arguments[0][unselected] = special
    found = gradients(on(xp, arguments))
    for a, b in zip(found, clean):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_matches_that_are_not_selected_have_no_effect(xp):
    options = {'mining_type': 'hard_example', 'sample_size': 2}
    arguments = make(lens=(6, 6))
    clean = gradients(on(xp, arguments), **options)
    arguments[0][to_numpy(clean[1]).any(axis=2) == 0] = np.nan
    for a, b in zip(gradients(on(xp, arguments), **options), clean):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_large_logits(xp):
    arguments = make(lens=(3, 2))
    arguments[1][:] = np.round(1e4 * arguments[1])
    losses = expected(arguments)[0]
    loss, _, grad = gradients(
        on(xp, [arguments[0].astype('f'), arguments[1].astype('f'), *arguments[2:]])
    )
    assert_close(loss, np.reshape(losses, (-1, 1)), 1e-5)
    assert np.isfinite(to_numpy(grad)).all()


def test_the_ratio_is_multiplied_in_float32():
    # 0.7 · 10 is 7 in float64 and in float32. 2.3 · 10 is 23 in float32, 22.999999 before rounding.
    # 0.29 · 100 is 28.999999999999996 in float64 and 29 in float32.
    n_box = 200
    prior = np.zeros((n_box, 4), 'f')
    prior[:, 0] = np.arange(n_box)
    prior[:, 2] = prior[:, 0] + 1
    prior[:, 3] = 1
    rng = np.random.default_rng(0)
    arguments = (
        np.zeros((1, n_box, 4), 'f'),
        rng.normal(size=(1, n_box, 2)).astype('f'),
        [prior[:100]],
        [np.ones(100, int)],
        prior,
    )
    grad = gradients(arguments, neg_pos_ratio=0.29)[2]
    assert np.count_nonzero(grad[0, 100:, 0]) == 29


def test_a_threshold_of_zero_does_not_match_boxes_without_overlap():
    prior = np.array([(0, 0, 2, 2), (5, 5, 6, 6), (0, 0, 0, 0)], 'f')
    gt_box = [np.array([(0, 0, 1, 1)], 'f')]
    arguments = np.zeros((1, 3, 4), 'f'), np.zeros((1, 3, 2), 'f'), gt_box, [np.array([1])], prior
    loss = ssd_loss(*arguments, overlap_threshold=0.0, neg_pos_ratio=0.0)
    np.testing.assert_array_equal(loss.array[:, 0] > 0, [True, False, False])


def test_corners_are_matched_as_they_are():
    # Pixels of 640 x 480 as fractions in float32, on a grid. Near ties are frequent, and a rounding
    # of the default boxes to center and size and back would change some matches.
    rng = np.random.default_rng(0)
    v, u, size = np.meshgrid(np.arange(19), np.arange(19), [0.1, 0.2], indexing='ij')
    center = np.stack([(u + 0.5) / 19, (v + 0.5) / 19], -1).reshape(-1, 2)
    half = size.reshape(-1, 1) / 2
    prior = np.concatenate([center - half, center + half], 1).astype('f')
    for _ in range(20):
        corner = np.c_[rng.integers(0, 540, 8), rng.integers(0, 380, 8)]
        box = np.c_[corner, corner + rng.integers(20, 100, (8, 2))]
        box = (box / [640, 480, 640, 480]).astype('f')
        targets = make_targets(
            chainer.get_device('@numpy'),
            1,
            len(prior),
            2,
            [box],
            [np.ones(8, int)],
            None,
            prior,
            None,
            0,
            0.5,
            'bipartite',
            None,
            None,
        )
        # IoU in float32, the operations in Paddle's order
        upper, lower = (
            f(box[:, None, part], prior[:, part])
            for f, part in ((np.minimum, slice(2, 4)), (np.maximum, slice(0, 2)))
        )
        both = np.prod((upper - lower).clip(0), axis=2)
        area = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (box, prior)]
        iou = both / (area[0][:, None] + area[1] - both)
        assert iou.dtype == np.float32
        expect = np.full(len(prior), -1)
        while iou.max() > 1e-6:
            k, r = divmod(int(iou.T.argmax()), len(box))
            expect[k], iou[r], iou[:, k] = r, -1, -1
        np.testing.assert_array_equal(targets.index[0], expect)


def test_arguments_are_not_modified(xp):
    arguments = on(xp, make())
    before = [
        [to_numpy(a).copy() for a in arg] if isinstance(arg, list) else to_numpy(arg).copy()
        for arg in arguments
    ]
    gradients(arguments, mining_type='hard_example', sample_size=4, mine_with_loc_loss=True)
    for now, then in zip(arguments, before):
        for a, b in zip(*((x if isinstance(x, list) else [x]) for x in (now, then))):
            np.testing.assert_array_equal(to_numpy(a), b)


@pytest.mark.parametrize(
    'options',
    [
        {'neg_overlap': 0.3},
        {
            'neg_overlap': 0.3,
            'mining_type': 'hard_example',
            'sample_size': 4,
            'neg_overlap_mode': 'caffe',
        },
    ],
)
def test_neg_overlap_without_effect_warns(options):
    arguments = make()
    with pytest.warns(UserWarning, match='neg_overlap = 0.3 has no effect'):
        loss = ssd_loss(*arguments, **options)
    options = {**options, 'neg_overlap': 0.5}
    np.testing.assert_array_equal(loss.array, ssd_loss(*arguments, **options).array)


def test_boxes_in_the_band_are_ignored():
    arguments = make(lens=(3, 3))
    with_band = ssd_loss(*arguments, neg_overlap_mode='caffe', neg_overlap=0.05, neg_pos_ratio=100)
    without = ssd_loss(*arguments, neg_pos_ratio=100)
    assert np.count_nonzero(with_band.array) < np.count_nonzero(without.array)


VALID = dict(
    zip(
        ('location', 'confidence', 'gt_box', 'gt_label', 'prior_box', 'prior_box_var'),
        make(lens=(2, 1)),
    )
)


def change(name, index, value):
    argument = VALID[name]
    argument = [a.copy() for a in argument] if isinstance(argument, list) else argument.copy()
    array = argument
    for i in index[:-1]:
        array = array[i]
    array[index[-1]] = value
    return {name: argument}


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'match_type': 'argmax'}, ValueError, "match_type = 'argmax': expected one of"),
        ({'mining_type': 'none'}, ValueError, "mining_type = 'none'"),
        ({'mining_type': 'hard_example'}, ValueError, 'sample_size = None'),
        ({'mining_type': 'hard_example', 'sample_size': 0}, ValueError, 'sample_size = 0'),
        ({'mining_type': 'hard_example', 'sample_size': 2.5}, TypeError, 'sample_size = 2.5'),
        ({'reduce': 'mean'}, ValueError, "reduce = 'mean'"),
        ({'neg_overlap_mode': 'on'}, ValueError, "neg_overlap_mode = 'on'"),
        ({'overlap_threshold': 1.5}, ValueError, 'overlap_threshold = 1.5'),
        ({'neg_overlap': float('nan')}, ValueError, 'neg_overlap = nan'),
        ({'neg_pos_ratio': -1}, ValueError, 'neg_pos_ratio = -1'),
        ({'neg_pos_ratio': float('inf')}, ValueError, 'neg_pos_ratio = inf'),
        ({'loc_loss_weight': float('nan')}, ValueError, 'loc_loss_weight = nan'),
        ({'conf_loss_weight': 'one'}, ValueError, "conf_loss_weight = 'one'"),
        ({'background_label': 4}, ValueError, 'background_label = 4.*4 columns'),
        ({'background_label': -1}, ValueError, 'background_label = -1'),
        ({'background_label': 1.0}, ValueError, 'background_label = 1.0'),
        ({'location': VALID['location'][:, :9]}, ValueError, r'location \(2, 9, 4\).*confidence'),
        ({'confidence': VALID['confidence'].astype('f')}, TypeError, 'float64.*float32'),
        ({'prior_box': VALID['prior_box'][:9]}, ValueError, r'prior_box has shape \(9, 4\)'),
        ({'prior_box': VALID['prior_box'].T}, ValueError, r'prior_box has shape \(4, 20\)'),
        (change('prior_box', (3,), (2, 2, 1, 3)), ValueError, r'prior_box\[3\] = \(2.0, 2.0, 1.0'),
        (change('prior_box', (3, 0), np.nan), ValueError, r'prior_box\[3\] = \(nan'),
        ({'prior_box_var': np.ones(3)}, ValueError, r'prior_box_var has shape \(3,\)'),
        (
            change('prior_box_var', (3, 0), 0),
            ValueError,
            r'prior_box_var\[3\] = \(0.0, .*positive numbers',
        ),
        (
            {'gt_box': VALID['gt_box'][:1]},
            ValueError,
            'gt_box holds 1 images and the predictions 2',
        ),
        ({'gt_label': VALID['gt_label'] * 2}, ValueError, 'gt_label holds 4 images'),
        (
            {'gt_box': np.concatenate(VALID['gt_box'])},
            ValueError,
            'gt_box is one array for 2 images',
        ),
        (
            {
                'gt_box': np.concatenate(VALID['gt_box']),
                'gt_label': np.concatenate(VALID['gt_label']),
                'gt_lens': [2, 2],
            },
            ValueError,
            r'gt_lens = \[2, 2\] and gt_box has shape \(3, 4\)',
        ),
        (
            {
                'gt_box': np.concatenate(VALID['gt_box']),
                'gt_label': np.concatenate(VALID['gt_label']),
                'gt_lens': [4, -1],
            },
            ValueError,
            r'gt_lens = \[4, -1\]',
        ),
        (
            {'gt_box': [VALID['gt_box'][0][:, :3], VALID['gt_box'][1]]},
            ValueError,
            r'gt_box\[0\] has shape \(2, 3\)',
        ),
        (
            change('gt_box', (0, 1), (1, 2, 1, 3)),
            ValueError,
            r'gt_box\[0\]\[1\] = \(1.0, 2.0, 1.0, 3.0\)',
        ),
        (change('gt_box', (1, 0, 2), np.inf), ValueError, r'gt_box\[1\]\[0\] = .*inf'),
        (
            {'gt_label': [VALID['gt_label'][0][:1], VALID['gt_label'][1]]},
            ValueError,
            r'gt_label\[0\] has shape \(1,\) for 2 boxes',
        ),
        (change('gt_label', (0, 1), 4), ValueError, r'gt_label\[0\]\[1\] = 4: .* from 0 to 3'),
        (
            change('gt_label', (0, 1), 0),
            ValueError,
            r'gt_label\[0\]\[1\] = 0: .*background_label 0',
        ),
        (change('gt_label', (0, 1), -1), ValueError, r'gt_label\[0\]\[1\] = -1'),
        (
            {'gt_label': [VALID['gt_label'][0] + 0.5, VALID['gt_label'][1]]},
            ValueError,
            r'gt_label\[0\]\[0\] = \d.5: expected an integer',
        ),
        (
            {'gt_label': [np.array(['a', 'b']), VALID['gt_label'][1]]},
            TypeError,
            'gt_label.*dtype <U1',
        ),
    ],
)
def test_invalid_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        ssd_loss(**{**VALID, **arguments})


@pytest.mark.parametrize('name', ['location', 'confidence'])
def test_predictions_that_are_not_finite_raise_under_debug(xp, name):
    arguments = change(name, (1, 2, 0), np.nan)
    arguments = {
        key: [xp.asarray(a) for a in value] if isinstance(value, list) else xp.asarray(value)
        for key, value in {**VALID, **arguments}.items()
    }
    with chainer.using_config('debug', True):
        with pytest.raises(ValueError, match=f'{name}, image 1: 1 values are NaN or inf'):
            ssd_loss(**arguments)


@pytest.mark.parametrize('background_label', [0, 3])
def test_equals_multibox_loss_on_the_same_matches(xp, background_label):
    # The ratio is an integer, so floor equals ceil. Boxes are integers, so the IoUs are equal.
    location, confidence, gt_box, gt_label, prior, _ = make(
        4, (3, 0, 5), 40, background_label=background_label, empty_priors=False
    )
    variance = np.array([0.1, 0.1, 0.2, 0.2])
    loss, loc_grad, conf_grad = gradients(
        on(xp, (location, confidence, gt_box, gt_label, prior, variance)),
        reduce='sum',
        background_label=background_label,
    )

    columns = [background_label, *(c for c in range(4) if c != background_label)]
    default_bbox = corner_to_center(swap_xy(prior))
    targets = [
        encode(
            default_bbox,
            swap_xy(box),
            [columns.index(c) - 1 for c in label],
            match(default_bbox, swap_xy(box)),
        )
        for box, label in zip(gt_box, gt_label)
    ]
    mb_locs = chainer.Variable(xp.asarray(swap_xy(location)))
    mb_confs = chainer.Variable(xp.asarray(confidence[..., columns]))
    gt_mb_locs, gt_mb_labels = (xp.asarray(np.stack(a)) for a in zip(*targets))
    expect = sum(multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, 3))
    expect.backward()
    assert_close(loss, to_numpy(expect), 1e-12)
    assert_close(loc_grad, swap_xy(to_numpy(mb_locs.grad)), 1e-12)
    assert_close(conf_grad, to_numpy(mb_confs.grad)[..., np.argsort(columns)], 1e-12)


def test_messages_name_the_rank():
    comm = SimpleNamespace(rank=1, size=2)
    for arguments, message in (
        (change('gt_box', (1, 0, 2), np.inf), r'rank 1: gt_box\[1\]\[0\]'),
        (change('gt_label', (0, 1), 4), r'rank 1: gt_label\[0\]\[1\] = 4'),
        (change('prior_box', (3, 0), np.nan), r'rank 1: prior_box\[3\]'),
        ({'gt_box': VALID['gt_box'][:1]}, 'rank 1: gt_box holds 1 images'),
        ({'confidence': VALID['confidence'][:1]}, 'rank 1: location'),
    ):
        with pytest.raises(ValueError, match=message):
            ssd_loss(**{**VALID, **arguments}, comm=comm)
