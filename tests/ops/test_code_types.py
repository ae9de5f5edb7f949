"""Code types against loops over Caffe's formulas, and their laws."""

import math

import chainer
import numpy as np
import pytest
from chainer import gradient_check
from hypothesis import given
from hypothesis import strategies as st

from chainer_ssd import EncodeTransform, Matcher, MatchTransform, decode, encode, match
from chainer_ssd.functions import IoULoss
from chainer_ssd.ops import CODE_TYPES, bbox_iou, center_to_corner
from tests import reference
from tests.helpers import assert_close, to_numpy

VARIANCES = [(0.1, 0.2), (0.1, 0.2, 0.3, 0.4), 'per box']
N_BOX = 9
each_code = pytest.mark.parametrize(
    ('code_type', 'in_target'), [(c, t) for c in CODE_TYPES for t in (False, True)]
)


def caffe_encode(code_type, in_target, prior, variance, bbox):
    """EncodeBBox of Caffe's bbox_util.cpp: corners of a prior and of a box, one variance each."""
    side = [prior[2] - prior[0], prior[3] - prior[1]]
    offsets = []
    for i in range(4):
        if code_type == 'corner':
            offset = bbox[i] - prior[i]
        elif code_type == 'corner_size':
            offset = (bbox[i] - prior[i]) / side[i % 2]
        elif i < 2:
            offset = ((bbox[i] + bbox[i + 2]) / 2 - (prior[i] + prior[i + 2]) / 2) / side[i]
        else:
            offset = math.log((bbox[i] - bbox[i - 2]) / side[i - 2])
        offsets.append(offset if in_target else offset / variance[i])
    return offsets


def caffe_decode(code_type, in_target, prior, variance, offsets, clip=None):
    """DecodeBBox of Caffe's bbox_util.cpp."""
    side = [prior[2] - prior[0], prior[3] - prior[1]]
    d = [o if in_target else o * v for o, v in zip(offsets, variance)]
    if code_type == 'center_size':
        center = [d[i] * side[i] + (prior[i] + prior[i + 2]) / 2 for i in (0, 1)]
        half = [math.exp(d[i + 2]) * side[i] / 2 for i in (0, 1)]
        bbox = [center[0] - half[0], center[1] - half[1], center[0] + half[0], center[1] + half[1]]
    else:
        unit = [1, 1, 1, 1] if code_type == 'corner' else side * 2
        bbox = [prior[i] + unit[i] * d[i] for i in range(4)]
    return bbox if clip is None else [min(max(x, 0), clip[i % 2]) for i, x in enumerate(bbox)]


def make(seed=0, dtype='d', variance='per box'):
    rng = np.random.default_rng(seed)
    default_bbox = np.c_[rng.uniform(5, 50, (N_BOX, 2)), rng.uniform(5, 20, (N_BOX, 2))]
    corner = rng.uniform(0, 40, (3, 2))
    bbox = np.c_[corner, corner + rng.uniform(5, 20, (3, 2))]
    if variance == 'per box':
        variance = rng.uniform(0.05, 0.5, (N_BOX, 4))
    rows = np.array(variance)
    rows = np.tile(rows.repeat(2) if rows.shape == (2,) else rows, (N_BOX, 1))[:N_BOX]
    return default_bbox.astype(dtype), bbox.astype(dtype), variance, rows


@each_code
@pytest.mark.parametrize('variance', VARIANCES)
@pytest.mark.parametrize(('dtype', 'rtol'), [('f', 1e-5), ('d', 1e-12)])
def test_equals_the_formulas_of_caffe(xp, code_type, in_target, variance, dtype, rtol):
    default_bbox, bbox, variance, rows = make(0, dtype, variance)
    index = np.array([0, 1, 2, -1, 2, -2, 0, 1, 1])
    options = code_type, in_target
    mb_loc, mb_label = encode(
        xp.asarray(default_bbox), xp.asarray(bbox), [4, 0, 2], xp.asarray(index), variance, *options
    )
    assert mb_loc.dtype == dtype
    priors = [reference.corners(box) for box in default_bbox.tolist()]
    expected = [
        caffe_encode(*options, priors[k], rows[k], bbox[i].tolist()) if i >= 0 else [0.0] * 4
        for k, i in enumerate(index)
    ]
    assert_close(mb_loc, np.array(expected), rtol)
    assert not to_numpy(mb_loc)[index < 0].any()
    assert to_numpy(mb_label).tolist() == [5, 1, 3, 0, 3, -1, 5, 1, 1]
    for clip in (None, (30, 25)):
        found = decode(xp.asarray(default_bbox), mb_loc, variance, *options, clip=clip)
        boxes = [caffe_decode(*options, *row, clip) for row in zip(priors, rows, expected)]
        assert found.dtype == dtype
        assert_close(found, np.array(boxes), rtol)


coordinate, length = st.floats(-1000, 1000), st.floats(0.5, 1000)
box = st.tuples(coordinate, coordinate, length, length)


@given(
    default_bbox=st.lists(box, min_size=1, max_size=8),
    data=st.data(),
    code=st.sampled_from(CODE_TYPES),
    in_target=st.booleans(),
)
def test_decode_and_encode_are_inverse(default_bbox, data, code, in_target):
    n = len(default_bbox)
    bbox = np.array(data.draw(st.lists(box, min_size=n, max_size=n)), 'd')
    bbox[:, 2:] += bbox[:, :2]
    default_bbox, index = np.array(default_bbox, 'd'), np.arange(n)
    mb_loc, _ = encode(default_bbox, bbox, [0] * n, index, (0.1, 0.2), code, in_target)
    found = decode(default_bbox, mb_loc, (0.1, 0.2), code, in_target)
    np.testing.assert_allclose(found, bbox, rtol=0, atol=1e-9 * 3000)
    again, _ = encode(default_bbox, found, [0] * n, index, (0.1, 0.2), code, in_target)
    # A box of 1 / 2 among coordinates of 1000 has 4 digits less.
    np.testing.assert_allclose(again, mb_loc, rtol=1e-6, atol=1e-6)


@each_code
def test_empty_and_batches(xp, code_type, in_target):
    options = (0.1, 0.2), code_type, in_target
    empty = xp.zeros((0, 4), 'f')
    mb_loc, mb_label = encode(empty, empty, [], xp.zeros(0, 'i'), *options)
    assert mb_loc.shape == (0, 4) and mb_label.shape == (0,)
    assert decode(empty, mb_loc, *options, clip=(1, 1)).shape == (0, 4)
    default_bbox = make()[0]
    mb_locs = np.random.default_rng(1).normal(size=(3, N_BOX, 4))
    batch = decode(xp.asarray(default_bbox), xp.asarray(mb_locs), *options)
    for i in range(3):
        assert_close(batch[i], decode(default_bbox, mb_locs[i], *options), 1e-12)


def test_the_default_code_is_that_of_the_paper():
    default_bbox, bbox, variance, _ = make()
    arguments = default_bbox, bbox, [0, 1, 2], np.arange(N_BOX) % 3, variance
    for a, b in zip(encode(*arguments), encode(*arguments, 'center_size', False)):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'code_type': 'corners'}, ValueError, "code_type = 'corners': expected one of"),
        ({'variance_in_target': 'no'}, TypeError, "variance_in_target = 'no': expected True"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    default_bbox, bbox, *_ = make()
    for call in (
        lambda: encode(default_bbox, bbox, [0, 1, 2], np.arange(N_BOX) % 3, **options),
        lambda: decode(default_bbox, np.zeros((N_BOX, 4)), **options),
        lambda: IoULoss('giou', default_bbox, **options),
        lambda: EncodeTransform(default_bbox, **options),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize('size', ['12', (1,), (1, 2, 3), 5, (0, 1), (1, math.nan)])
def test_a_wrong_size_is_named(size):
    default_bbox, bbox, *_ = make()
    with pytest.raises(ValueError, match='clip'):
        decode(default_bbox, np.zeros((N_BOX, 4)), clip=size)
    with pytest.raises(ValueError, match='ignore_outside'):
        match(default_bbox, bbox, ignore_outside=size)


@pytest.mark.parametrize('match_type', ['per_prediction', 'bipartite', 'argmax', 'threshold'])
@pytest.mark.filterwarnings('ignore:.* ground truth::')
def test_boxes_that_leave_the_image_are_ignored(xp, match_type):
    for seed in range(5):
        default_bbox, bbox, *_ = make(seed, 'f')
        default_bbox[:, :2] -= 2
        corners = center_to_corner(default_bbox)
        size = tuple(np.sort(corners[:, 2:], axis=0)[6].tolist())  # one box touches each border
        inside = [
            k
            for k, (y0, x0, y1, x1) in enumerate(corners.tolist())
            if y0 >= 0 and x0 >= 0 and y1 <= size[0] and x1 <= size[1]
        ]
        overlap = bbox_iou(bbox, corners[inside]).tolist()
        ignore = [False, seed > 2, False]
        expected = np.full(N_BOX, -2)
        expected[inside] = reference.match(overlap, len(inside), 0.3, match_type, 0.2, ignore)
        options = 0.3, match_type, 0.2
        index = match(
            xp.asarray(default_bbox), xp.asarray(bbox), *options, xp.asarray(ignore), size
        )
        assert index.dtype == np.int32
        np.testing.assert_array_equal(to_numpy(index), expected)
        of_corners = Matcher.of_corners(xp.asarray(corners), *options, size)
        index = of_corners(xp.asarray(bbox), xp.asarray(ignore))
        np.testing.assert_array_equal(to_numpy(index), expected)


def test_without_a_box_inside_all_are_ignored():
    default_bbox, bbox, *_ = make()
    with pytest.warns(UserWarning, match='3 ground truths for 0 default boxes'):
        index = match(default_bbox, bbox, ignore_outside=(1, 1))
    assert index.tolist() == [-2] * N_BOX
    assert match(default_bbox, np.zeros((0, 4)), ignore_outside=(1, 1)).tolist() == [-2] * N_BOX


def test_transforms_have_the_options():
    default_bbox, bbox, *_ = make()
    size = 50, 50
    example = np.zeros((3, 50, 50), 'f'), bbox, np.array([0, 1, 2])
    matched = MatchTransform(default_bbox, 0.1, ignore_outside=size)(example)
    np.testing.assert_array_equal(matched[3], match(default_bbox, bbox, 0.1, ignore_outside=size))
    assert (matched[3] == -2).any() and (matched[3] >= 0).any()
    _, mb_loc, _ = EncodeTransform(default_bbox, (0.1, 0.2), 'corner', True)(matched)
    expected, _ = encode(default_bbox, bbox, [0, 1, 2], matched[3], (0.1, 0.2), 'corner', True)
    np.testing.assert_allclose(mb_loc, expected, rtol=1e-6)


@each_code
@pytest.mark.parametrize('kind', ['iou', 'giou', 'diou', 'ciou'])
def test_the_iou_loss_of_the_same_boxes_is_the_same(xp, code_type, in_target, kind):
    default_bbox, _, variance, _ = make(3)
    rng = np.random.default_rng(5)
    index, label = np.arange(N_BOX), [0] * N_BOX
    boxes = []
    for _ in range(2):
        corner = center_to_corner(default_bbox)[:, :2] + rng.normal(scale=2, size=(N_BOX, 2))
        boxes.append(np.c_[corner, corner + rng.uniform(5, 20, (N_BOX, 2))])
    losses = []
    for options in (('center_size', False), (code_type, in_target)):
        x, t = (encode(default_bbox, b, label, index, variance, *options)[0] for b in boxes)
        loss = IoULoss(kind, default_bbox, variance, *options)
        x, t = xp.asarray(x), xp.asarray(t)
        losses.append(loss(chainer.Variable(x), t, xp.asarray(index)))
    assert_close(losses[1], to_numpy(losses[0].array), 1e-6)
    if kind != 'ciou':  # its alpha is a constant for the gradient
        tolerances = {'eps': 1e-5, 'atol': 1e-5, 'rtol': 1e-5, 'dtype': 'd'}
        y_grad = xp.asarray(rng.normal(size=N_BOX))
        gradient_check.check_backward(
            lambda x: loss(x, t, xp.asarray(index)), x, y_grad, **tolerances
        )
        x_grad_grad = xp.asarray(rng.normal(size=x.shape))
        gradient_check.check_double_backward(
            lambda x: loss(x, t, xp.asarray(index)), x, y_grad, x_grad_grad, **tolerances
        )


@pytest.mark.parametrize('code_type', ['corner', 'corner_size'])
def test_an_inverted_box_has_no_area(code_type):
    default_bbox = np.array([(5, 5, 4, 4)], 'd')
    x = chainer.Variable(np.array([[40.0, 40, -40, -40]]))
    loss = IoULoss('diou', default_bbox, code_type=code_type)(x, np.zeros((1, 4)), np.array([0]))
    chainer.functions.sum(loss).backward()
    for kind in ('iou', 'giou'):
        found = IoULoss(kind, default_bbox, code_type=code_type)(x, np.zeros((1, 4)), np.array([0]))
        assert found.array[0] >= 1 - 1e-6
    assert loss.array[0] >= 1 and np.isfinite(x.grad).all() and x.grad.any()
