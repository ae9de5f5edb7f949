"""Each part of an objective against loops, and the laws that any objective obeys."""

import functools
import math

import chainer
import numpy as np
import pytest
from chainer import gradient_check

from chainer_ssd import multibox_loss
from chainer_ssd.functions import (
    L2,
    AllNegatives,
    Boxes,
    FocalLoss,
    HardExample,
    HardNegative,
    Images,
    IoULoss,
    MatchesAfterMining,
    MultiboxObjective,
    Positives,
    PositivesOfImages,
    RandomNegative,
    SigmoidCrossEntropy,
    SmoothL1,
    SoftmaxCrossEntropy,
)
from tests.distributed.threads import run_ranks
from tests.functions import reference_parts as reference
from tests.helpers import assert_close, to_numpy

N_BOX, N_CLASS = 12, 4
VARIANCE = 0.1, 0.1, 0.2, 0.2
_rng = np.random.default_rng(3)
DEFAULT_BBOX = np.concatenate(
    [_rng.uniform(10, 50, (N_BOX, 2)), _rng.uniform(8, 20, (N_BOX, 2))], axis=1
)
WEIGHTS = [0.5, 1.0, 2.0, 0.0]


def iou(kind):
    def loss(x, t, k):
        return reference.iou_loss(kind, x, t, DEFAULT_BBOX[k].tolist(), VARIANCE)

    return IoULoss(kind, DEFAULT_BBOX, (0.1, 0.2)), loss


LOCALIZATIONS = {
    'smooth_l1': (SmoothL1(), lambda x, t, k: reference.smooth_l1(x, t)),
    'smooth_l1, beta': (SmoothL1(0.3), lambda x, t, k: reference.smooth_l1(x, t, 0.3)),
    'l2': (L2(), lambda x, t, k: reference.l2(x, t)),
    **{kind: iou(kind) for kind in ('iou', 'giou', 'diou', 'ciou')},
}
CONFIDENCES = {
    'softmax': (SoftmaxCrossEntropy(), reference.softmax_cross_entropy),
    'weights': (
        SoftmaxCrossEntropy(WEIGHTS),
        functools.partial(reference.softmax_cross_entropy, class_weight=WEIGHTS),
    ),
    'smoothing': (
        SoftmaxCrossEntropy(label_smoothing=0.1),
        functools.partial(reference.softmax_cross_entropy, label_smoothing=0.1),
    ),
    'weights, smoothing': (
        SoftmaxCrossEntropy(WEIGHTS, 0.2),
        functools.partial(
            reference.softmax_cross_entropy, class_weight=WEIGHTS, label_smoothing=0.2
        ),
    ),
    'sigmoid': (SigmoidCrossEntropy(), reference.sigmoid_cross_entropy),
    'focal': (FocalLoss(), reference.focal_loss),
    'focal, options': (
        FocalLoss(0.5, 0.6),
        functools.partial(reference.focal_loss, gamma=0.5, alpha=0.6),
    ),
}
MININGS = {
    'hard': (HardNegative(), reference.hard_negative()),
    'floor': (HardNegative(1.5, 'floor'), reference.hard_negative(1.5, math.floor)),
    'minimum': (HardNegative(1, minimum=4), reference.hard_negative(1, minimum=4)),
    'cap': (HardNegative(3, cap=2), reference.hard_negative(3, cap=2)),
    'own class': (
        HardNegative(3, by='own class'),
        reference.hard_negative(by_own_class=True),
    ),
    'examples': (HardExample(5), reference.hard_example(5)),
    'examples, both': (HardExample(5, True), reference.hard_example(5, True)),
    'all': (AllNegatives(), reference.all_negatives),
}
NORMALIZERS = {
    'positives': (Positives(), reference.positives),
    'minimum': (Positives(minimum=1), lambda s: max(1, reference.positives(s))),
    'after mining': (MatchesAfterMining(), reference.matches_after_mining),
    'of images': (PositivesOfImages(), reference.positives_of_images),
    'images': (Images(), reference.images),
    'boxes': (Boxes(), reference.boxes),
    'number': (7.5, lambda s: 7.5),
    'callable': (lambda: 7.5, lambda s: 7.5),
}
DEFAULT = {
    'localization': 'smooth_l1',
    'confidence': 'softmax',
    'mining': 'hard',
    'normalizer': 'positives',
}
TABLES = {
    'localization': LOCALIZATIONS,
    'confidence': CONFIDENCES,
    'mining': MININGS,
    'normalizer': NORMALIZERS,
}
#: One part differs from the default, and some combinations.
CHOICES = [{**DEFAULT, part: name} for part, table in TABLES.items() for name in table] + [
    {
        'localization': 'giou',
        'confidence': 'focal',
        'mining': 'all',
        'normalizer': 'minimum',
    },
    {
        'localization': 'l2',
        'confidence': 'sigmoid',
        'mining': 'examples, both',
        'normalizer': 'after mining',
    },
    {
        'localization': 'ciou',
        'confidence': 'weights, smoothing',
        'mining': 'own class',
        'normalizer': 'of images',
    },
    {
        'localization': 'smooth_l1, beta',
        'confidence': 'weights, smoothing',
        'mining': 'hard',
        'normalizer': 'positives',
    },
]


def make_objective(choice, **options):
    parts = {part: TABLES[part][name][0] for part, name in choice.items()}
    return MultiboxObjective(**parts, **options)


def expected_losses(choice, arrays, alpha=1.0, box_weight=None):
    localization, confidence, mine, count = (TABLES[part][choice[part]][1] for part in DEFAULT)
    lists = [a.tolist() for a in arrays]
    if box_weight is not None:
        box_weight = box_weight.tolist()
    return reference.objective(*lists, localization, confidence, mine, count, alpha, box_weight)


def make(seed=0, batch=3, dtype='d', positive_fraction=0.3):
    """Return predictions and targets with positives, background and ignored boxes."""
    rng = np.random.default_rng(seed)
    shape = batch, N_BOX
    mb_locs = rng.normal(size=(*shape, 4)).astype(dtype)
    mb_confs = rng.normal(scale=2, size=(*shape, N_CLASS)).astype(dtype)
    gt_mb_locs = mb_locs + rng.normal(scale=0.7, size=(*shape, 4)).astype(dtype)
    distance = np.abs(mb_locs - gt_mb_locs)
    for kink in (0.3, 1):  # of SmoothL1
        gt_mb_locs[np.abs(distance - kink) < 0.02] += 0.05
    kind = rng.random(shape)
    labels = np.where(kind < positive_fraction, rng.integers(1, N_CLASS, shape), 0).astype('i')
    labels[kind > 0.85] = -1
    return mb_locs, mb_confs, gt_mb_locs, labels


def soft(labels, rng):
    """Return the share of each class (B, K, C). Ignored boxes have zeros."""
    shares = (labels[..., None] == np.arange(N_CLASS)).astype('d')
    other = shares[:, rng.permutation(labels.shape[1])]
    return np.where((labels > 0)[..., None], 0.7 * shares + 0.3 * other, shares)


def choice_id(choice):
    return ' | '.join(name for part, name in choice.items() if name != DEFAULT[part]) or 'default'


CHOICES_OVER_RANKS = [
    choice for choice in CHOICES if choice['normalizer'] not in ('number', 'callable')
]
each_choice = pytest.mark.parametrize('choice', CHOICES, ids=choice_id)


@pytest.fixture(params=['auto', 'never'])
def use_fused(request):
    with chainer.using_config('use_fused_multibox', request.param):
        yield


@pytest.mark.usefixtures('use_fused')
@each_choice
def test_equals_the_loops(xp, choice):
    for seed, fraction in ((0, 0.3), (1, 0.0), (2, 0.9)):
        arrays = make(seed, positive_fraction=fraction)
        weight = np.random.default_rng(seed).uniform(0, 2, arrays[3].shape)
        for box_weight in (None, weight):
            objective = make_objective(choice, alpha=1.5)
            losses = objective(
                *map(xp.asarray, arrays),
                box_weight=None if box_weight is None else xp.asarray(box_weight),
            )
            assert_close(
                np.array([float(loss.array) for loss in losses]),
                np.array(expected_losses(choice, arrays, 1.5, box_weight)),
                2e-6 if 'iou' in choice['localization'] else 1e-12,
            )


@pytest.mark.usefixtures('use_fused')
@each_choice
def test_gradients(xp, choice):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = map(xp.asarray, make(5, 2))
    objective = make_objective(choice, alpha=0.7)

    def loss(mb_locs, mb_confs):
        return objective(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels)

    rng = np.random.default_rng(0)
    inputs, grads = (mb_locs, mb_confs), tuple(map(xp.asarray, np.array([0.7, 1.3])))
    tolerances = {'eps': 1e-5, 'atol': 1e-5, 'rtol': 1e-5, 'dtype': 'd'}
    if choice['localization'] != 'ciou':  # its alpha is a constant for the gradient
        gradient_check.check_backward(loss, inputs, grads, **tolerances)
        grad_grads = tuple(xp.asarray(rng.normal(size=x.shape)) for x in inputs)
        gradient_check.check_double_backward(loss, inputs, grads, grad_grads, **tolerances)


@pytest.mark.parametrize('kind', ['iou', 'giou', 'diou', 'ciou'])
def test_the_iou_loss_of_boxes_that_do_not_overlap(kind):
    # Apart in y, in x, and in both. An offset of 30 is 3 sides.
    x = np.array([(30.0, 1, 1, -1), (1, -30, 0, 1), (30, 30, 0, 0), (-30, -30, 1, 1)])
    t, box = np.zeros_like(x), np.arange(4)
    loss = IoULoss(kind, DEFAULT_BBOX)(chainer.Variable(x), t, box)
    expected = [
        reference.iou_loss(kind, x[k], t[k], DEFAULT_BBOX[k].tolist(), VARIANCE) for k in box
    ]
    np.testing.assert_allclose(loss.array, expected, rtol=1e-6)


def test_alpha_of_ciou_has_no_gradient():
    # With alpha = 0 or 1 in place of its value, the gradient is linear in alpha.
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(N_BOX, 4)), rng.normal(size=(N_BOX, 4))
    box = np.arange(N_BOX)

    def gradient(kind):
        variable = chainer.Variable(x.copy())
        chainer.functions.sum(IoULoss(kind, DEFAULT_BBOX)(variable, t, box)).backward()
        return variable.grad

    difference = gradient('ciou') - gradient('diou')
    epsilon = 1e-6
    for k in range(3):
        for i in (2, 3):
            losses = []
            for sign in (1, -1):
                moved = x[k].copy()
                moved[i] += sign * epsilon
                b = reference.decoded(DEFAULT_BBOX[k], moved, VARIANCE)
                g = reference.decoded(DEFAULT_BBOX[k], t[k], VARIANCE)
                angle = math.atan(g[3] / g[2]) - math.atan(b[3] / b[2])
                losses.append(4 / math.pi**2 * angle**2)
            b, g = (reference.decoded(DEFAULT_BBOX[k], o, VARIANCE) for o in (x[k], t[k]))
            v = 4 / math.pi**2 * (math.atan(g[3] / g[2]) - math.atan(b[3] / b[2])) ** 2
            iou = 1 - reference.iou_loss('iou', x[k], t[k], DEFAULT_BBOX[k].tolist(), VARIANCE)
            alpha = v / (1 - iou + v)
            expected = alpha * (losses[0] - losses[1]) / (2 * epsilon)
            assert abs(difference[k, i] - expected) < 1e-5


@each_choice
def test_the_loss_of_shares_that_are_0_and_1_is_that_of_labels(choice):
    mb_locs, mb_confs, gt_mb_locs, labels = make(2)
    shares = (labels[..., None] == np.arange(N_CLASS)).astype('d')
    objective = make_objective(choice)
    found = objective(mb_locs, mb_confs, gt_mb_locs, shares)
    expected = objective(mb_locs, mb_confs, gt_mb_locs, labels)
    for a, b in zip(found, expected):
        assert_close(a, b.array, 1e-12)


@pytest.mark.parametrize('confidence', CONFIDENCES)
@pytest.mark.parametrize('mining', ['hard', 'own class', 'all', 'examples'])
def test_shares_equal_the_loops(confidence, mining):
    mb_locs, mb_confs, gt_mb_locs, labels = make(4)
    arrays = mb_locs, mb_confs, gt_mb_locs, soft(labels, np.random.default_rng(0))
    choice = {**DEFAULT, 'confidence': confidence, 'mining': mining}
    losses = make_objective(choice)(*arrays)
    assert_close(
        np.array([float(loss.array) for loss in losses]),
        np.array(expected_losses(choice, arrays)),
        1e-12,
    )


@pytest.mark.usefixtures('use_fused')
@each_choice
def test_ignored_boxes_have_no_effect(choice):
    arrays = make(6)
    objective = make_objective(choice)
    ignored = arrays[3] < 0
    spoilt = [a.copy() for a in arrays]
    for a in spoilt[:3]:
        a[ignored] = np.nan
    expected = objective(*arrays)
    variables = [chainer.Variable(a) for a in spoilt[:2]]
    found = objective(*variables, *spoilt[2:])
    sum(found).backward()
    for a, b in zip(found, expected):
        assert_close(a, b.array, 1e-12)
    for variable in variables:
        assert np.isfinite(variable.grad).all() and not variable.grad[ignored].any()


@each_choice
def test_the_loss_is_that_of_the_selected_boxes(choice):
    # Boxes outside of the selection become ignored. A mining that takes all then gives the same.
    arrays = make(7)
    objective = make_objective(choice, reduce='box')
    losses = objective(*arrays)
    selected = losses.positive | losses.negative
    labels = np.where(selected, arrays[3], -1)
    subset = make_objective({**choice, 'mining': 'all'}, reduce='sum')(*arrays[:3], labels)
    for per_box, total in zip(losses[:2], subset):
        assert per_box.shape == arrays[3].shape
        assert not per_box.array[~selected].any()
        np.testing.assert_allclose(per_box.array.sum(), float(total.array), rtol=1e-12)


@pytest.mark.usefixtures('use_fused')
@each_choice
@pytest.mark.parametrize('dtype', ['f2', 'f4'])
def test_large_logits_and_offsets_are_finite(choice, dtype):
    mb_locs, mb_confs, gt_mb_locs, labels = make(8, dtype=dtype)
    rng = np.random.default_rng(0)
    mb_confs = rng.choice([-1e4, 0, 1e4], mb_confs.shape).astype(dtype)
    mb_locs = (mb_locs * 50).astype(dtype)
    variables = chainer.Variable(mb_locs), chainer.Variable(mb_confs)
    losses = make_objective(choice)(*variables, gt_mb_locs, labels)
    assert all(loss.dtype == np.float32 and np.isfinite(loss.array) for loss in losses)
    sum(losses).backward()
    for variable in variables:
        assert variable.grad.dtype == dtype and np.isfinite(variable.grad).all()


@pytest.mark.usefixtures('use_fused')
@each_choice
def test_empty_batches(choice):
    for arrays in (make(0, batch=0), make(0, positive_fraction=0.0)):
        variables = [chainer.Variable(a) for a in arrays[:2]]
        losses = make_objective(choice)(*variables, *arrays[2:])
        sum(losses).backward()
        assert all(np.isfinite(loss.array) for loss in losses)
        assert all(v.grad is not None and np.isfinite(v.grad).all() for v in variables)


@pytest.mark.parametrize('choice', CHOICES_OVER_RANKS, ids=choice_id)
@pytest.mark.parametrize('size', [2, 3])
def test_the_mean_over_ranks_equals_the_whole_batch(choice, size):
    arrays = make(9, batch=7)
    objective = make_objective(choice)
    whole = [chainer.Variable(a) for a in arrays[:2]]
    sum(objective(*whole, *arrays[2:])).backward()
    bounds = [0, 1, 3, 7] if size == 3 else [0, 0, 7]  # the first of two ranks has no image

    def program(comm):
        part = [a[bounds[comm.rank] : bounds[comm.rank + 1]] for a in arrays]
        variables = [chainer.Variable(a) for a in part[:2]]
        sum(objective(*variables, *part[2:], comm)).backward()
        return [v.grad / size for v in variables]

    results = run_ranks(size, program)
    for i, variable in enumerate(whole):
        found = np.concatenate([result[i] for result in results])
        assert_close(found, variable.grad, 1e-12)


@pytest.mark.parametrize('minimum', [1, 5])
def test_the_minimum_of_positives_is_that_of_all_ranks(minimum):
    arrays = make(9, batch=4, positive_fraction=0.0)
    objective = MultiboxObjective(
        confidence=FocalLoss(), mining=AllNegatives(), normalizer=Positives(minimum)
    )
    whole = [chainer.Variable(a) for a in arrays[:2]]
    sum(objective(*whole, *arrays[2:])).backward()
    assert whole[1].grad.any()

    def program(comm):
        part = [a[2 * comm.rank : 2 * comm.rank + 2] for a in arrays]
        variables = [chainer.Variable(a) for a in part[:2]]
        sum(objective(*variables, *part[2:], comm)).backward()
        return variables[1].grad / 2

    assert_close(np.concatenate(run_ranks(2, program)), whole[1].grad, 1e-12)


def test_parts_of_a_batch_with_a_normalizer_equal_the_whole():
    arrays = make(10, batch=6)
    objective = MultiboxObjective(confidence=FocalLoss(), mining=AllNegatives())
    whole = [chainer.Variable(a) for a in arrays[:2]]
    sum(objective(*whole, *arrays[2:])).backward()
    n_positive = (arrays[3] > 0).sum()
    grads = []
    for part in (slice(0, 1), slice(1, 6)):
        variables = [chainer.Variable(a[part]) for a in arrays[:2]]
        sum(objective(*variables, *(a[part] for a in arrays[2:]), normalizer=n_positive)).backward()
        grads.append([v.grad for v in variables])
    for i, variable in enumerate(whole):
        assert_close(np.concatenate([each[i] for each in grads]), variable.grad, 1e-12)


def test_random_negatives_are_negatives_and_depend_on_the_seed():
    arrays = make(11)
    masks = []
    for seed in (1, 1, 2):
        objective = MultiboxObjective(mining=RandomNegative(2, seed), reduce='box')
        masks.append(objective(*arrays).negative)
        assert not masks[-1][arrays[3] != 0].any()
        n_positive, n_background = (arrays[3] > 0).sum(1), (arrays[3] == 0).sum(1)
        np.testing.assert_array_equal(masks[-1].sum(1), np.minimum(2 * n_positive, n_background))
    assert (masks[0] == masks[1]).all() and (masks[0] != masks[2]).any()


def test_random_negatives_without_a_seed_use_the_global_generator():
    arrays, masks = make(11), []
    for _ in range(2):
        np.random.seed(5)
        masks.append(MultiboxObjective(mining=RandomNegative(2), reduce='box')(*arrays).negative)
    assert (masks[0] == masks[1]).all()


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'alpha': -1}, ValueError, r'alpha = -1'),
        ({'reduce': 'none'}, ValueError, r"reduce = 'none'"),
        ({'mining': 3}, TypeError, r'mining = 3: expected a callable'),
        ({'normalizer': -2}, ValueError, r'normalizer = -2'),
        ({'normalizer': 'n'}, TypeError, r"normalizer = 'n'"),
    ],
)
def test_invalid_options(options, error, message):
    with pytest.raises(error, match=message):
        MultiboxObjective(**options)


@pytest.mark.parametrize(
    ('make_part', 'error', 'message'),
    [
        (lambda: SmoothL1(0), ValueError, 'beta = 0'),
        (lambda: IoULoss('piou', DEFAULT_BBOX), ValueError, "kind = 'piou'"),
        (lambda: IoULoss('iou', DEFAULT_BBOX, (0.1, -1)), ValueError, 'variance'),
        (lambda: SoftmaxCrossEntropy([1, -1]), ValueError, r'class_weight\[1\] = -1'),
        (lambda: SoftmaxCrossEntropy(label_smoothing=2), ValueError, 'label_smoothing = 2'),
        (lambda: FocalLoss(gamma=-1), ValueError, 'gamma = -1'),
        (lambda: FocalLoss(alpha=1.5), ValueError, 'alpha = 1.5'),
        (lambda: HardNegative(-1), ValueError, 'k = -1'),
        (lambda: HardNegative(rounding='round'), ValueError, "rounding = 'round'"),
        (lambda: HardNegative(minimum=-1), ValueError, 'minimum = -1'),
        (lambda: HardNegative(cap=1.5), TypeError, 'cap = 1.5'),
        (lambda: HardNegative(by='loss'), ValueError, "by = 'loss'"),
        (lambda: HardExample(0), ValueError, 'sample_size = 0'),
        (lambda: RandomNegative(float('nan')), ValueError, 'k = nan'),
        (lambda: Positives(-1), ValueError, 'minimum = -1'),
    ],
)
def test_invalid_parts(make_part, error, message):
    with pytest.raises(error, match=message):
        make_part()


def test_invalid_arguments():
    arrays = make()
    objective = MultiboxObjective()
    with pytest.raises(ValueError, match=r'box_weight has shape \(3, 2\): expected \(B, K\) = '):
        objective(*arrays, box_weight=np.ones((3, 2)))
    weight = np.ones(arrays[3].shape)
    weight[1, 2] = np.nan
    with pytest.raises(ValueError, match=r'box_weight\[1, 2\] = nan'):
        objective(*arrays, box_weight=weight)
    shares = soft(arrays[3], np.random.default_rng(0))
    shares[2, 3, 1] = -0.5
    with pytest.raises(ValueError, match=r'gt_mb_labels\[2, 3\] = \[.*-0.5.*\]: expected finite'):
        objective(*arrays[:3], shares)
    with pytest.raises(ValueError, match=r'the share of each class \(B, K, 4\)'):
        objective(*arrays[:3], shares[:, :, :3])
    with pytest.raises(TypeError, match='expected floats'):
        objective(*arrays[:3], shares.astype('i'))
    with pytest.raises(ValueError, match=r'class_weight = \[1.0\] has 1 numbers: expected 4'):
        MultiboxObjective(confidence=SoftmaxCrossEntropy([1]))(*arrays)


def test_a_mining_that_selects_ignored_boxes_is_an_error():
    class Wrong:
        def __call__(self, batch):
            return batch.positive, ~batch.positive

    with pytest.raises(ValueError, match='has selected an ignored box'):
        MultiboxObjective(mining=Wrong())(*make())


def test_the_default_is_multibox_loss():
    arrays = make(dtype='f')
    for a, b in zip(MultiboxObjective()(*arrays), multibox_loss(*arrays, 3)):
        assert to_numpy(a) == to_numpy(b)


def test_parts_show_their_options():
    assert repr(HardNegative(2)) == (
        "HardNegative(k=2, rounding='ceil', minimum=0, cap=None, by='background')"
    )
    assert repr(SmoothL1()) == 'SmoothL1(beta=1.0)'
