"""What a valid array is, and every function of the core with invalid ones."""

import chainer
import numpy as np
import pytest

from chainer_ssd import (
    Matcher,
    MultiboxCoder,
    MultiBoxLoss,
    bbox_iou,
    decode,
    encode,
    hard_example_mining,
    hard_negative_mining,
    match,
    multibox_loss,
    non_maximum_suppression,
    ssd_loss,
)
from chainer_ssd._validation import check_pixel_range
from chainer_ssd.functions import background_loss, n_hard_negative
from chainer_ssd.ops import center_to_corner, corner_to_center, swap_xy

DEFAULT_BBOX = [(2, 2, 4, 4), (6, 6, 4, 4)]
BBOX = [(0, 0, 4, 4), (5, 5, 8, 8)]
LOCS, CONFS = np.zeros((1, 2, 4)).tolist(), np.zeros((1, 2, 3)).tolist()
LABELS = [[1, 0]]


def call_multi_box_loss(loc, conf, priors, targets):
    return MultiBoxLoss(3, 0.5, True, 0, True, 3, 0.5, False)((loc, conf, priors), targets)


def decode_with_coder(mb_loc, mb_conf):
    coder = MultiboxCoder((1,), ((),), (8,), (4, 6))
    return coder.decode(mb_loc, mb_conf, score_thresh=0.1)


#: (function, arguments as lists)
FUNCTIONS = [
    (bbox_iou, {'bbox_a': BBOX, 'bbox_b': BBOX}),
    (center_to_corner, {'default_bbox': DEFAULT_BBOX}),
    (corner_to_center, {'bbox': BBOX}),
    (swap_xy, {'bbox': BBOX}),
    (match, {'default_bbox': DEFAULT_BBOX, 'bbox': BBOX, 'ignore': [False, True]}),
    (lambda default_bbox: Matcher(default_bbox), {'default_bbox': DEFAULT_BBOX}),
    (
        encode,
        {
            'default_bbox': DEFAULT_BBOX,
            'bbox': BBOX,
            'label': [0, 1],
            'index': [0, -1],
            'variance': [0.1, 0.2],
        },
    ),
    (decode, {'default_bbox': DEFAULT_BBOX, 'mb_loc': LOCS[0], 'variance': [0.1, 0.2]}),
    (
        hard_negative_mining,
        {
            'conf_loss': [[0.1, 0.2]],
            'positive': [[True, False]],
            'n_negative': [1],
            'ignored': [[False, False]],
        },
    ),
    (lambda loss: hard_example_mining(loss, 1), {'loss': [[0.1, 0.2]]}),
    (
        lambda bbox, score: non_maximum_suppression(bbox, 0.5, score),
        {'bbox': BBOX, 'score': [1, 2]},
    ),
    (
        lambda **a: multibox_loss(**a, k=3),
        {'mb_locs': LOCS, 'mb_confs': CONFS, 'gt_mb_locs': LOCS, 'gt_mb_labels': LABELS},
    ),
    (
        lambda **a: ssd_loss(**a, prior_box_var=(0.1, 0.1, 0.2, 0.2)),
        {
            'location': LOCS,
            'confidence': CONFS,
            'gt_box': [BBOX],
            'gt_label': [[1, 2]],
            'prior_box': [(0.0, 0.0, 4.0, 4.0), (5.0, 5.0, 8.0, 8.0)],
        },
    ),
    (
        call_multi_box_loss,
        {'loc': LOCS, 'conf': CONFS, 'priors': DEFAULT_BBOX, 'targets': [[(0, 0, 4, 4, 1)]]},
    ),
    (decode_with_coder, {'mb_loc': LOCS[0], 'mb_conf': CONFS[0]}),
    (background_loss, {'mb_confs': CONFS}),
    (lambda gt_mb_labels: n_hard_negative(gt_mb_labels, 3), {'gt_mb_labels': LABELS}),
]
ARGUMENTS = [
    pytest.param(function, arguments, name, id=f'{i}-{name}')
    for i, (function, arguments) in enumerate(FUNCTIONS)
    for name in arguments
]


@pytest.mark.parametrize(('function', 'arguments'), FUNCTIONS)
def test_lists_are_accepted(function, arguments):
    from_lists = function(**arguments)
    from_arrays = function(**{name: np.array(value) for name, value in arguments.items()})
    if isinstance(from_lists, Matcher):
        return
    as_tuple = from_lists if isinstance(from_lists, tuple) else (from_lists,)
    for a, b in zip(as_tuple, from_arrays if isinstance(from_lists, tuple) else (from_arrays,)):
        a, b = getattr(a, 'array', a), getattr(b, 'array', b)
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def make_invalid(value):
    array = np.array(value)
    yield 'masked', np.ma.masked_array(array, mask=False)
    yield 'list of masked', [np.ma.masked_array(each, mask=False) for each in array]
    yield 'complex', array.astype(complex)
    yield 'str', array.astype(str)
    yield 'object', array.astype(object)
    yield 'another shape', array[..., None, None]
    if array.dtype != bool:
        yield 'bool', np.ones(array.shape, bool)


@pytest.mark.parametrize(('function', 'arguments', 'name'), ARGUMENTS)
def test_an_invalid_array_is_an_error(function, arguments, name):
    for kind, invalid in make_invalid(arguments[name]):
        if kind == 'another shape' and name == 'variance':
            invalid = np.ones(3)
        if kind == 'another shape' and name in ('bbox', 'default_bbox') and invalid.ndim == 4:
            invalid = invalid[..., 0, 0][:, :3]
        with pytest.raises((TypeError, ValueError)) as caught:
            function(**{**arguments, name: invalid})
        message = str(caught.value)
        assert 'expected' in message, f'{kind}: {message}'
        assert '\n' not in message


@pytest.mark.parametrize('value', [None, 5, 'x', {}, object(), [None], [['a']], [[1, [2]]]])
@pytest.mark.parametrize('name', ['gt_box', 'gt_label', 'gt_difficult', 'gt_lens', 'prior_box'])
def test_something_else_than_arrays_is_an_error_of_ssd_loss(name, value):
    if value is None and name in ('gt_difficult', 'gt_lens'):
        return
    arguments = {'gt_box': [BBOX], 'gt_label': [[1, 2]], 'prior_box': np.array(BBOX, 'f')}
    with pytest.raises((TypeError, ValueError), match=f'{name}.*expected'):
        ssd_loss(LOCS, CONFS, **{**arguments, name: value})


@pytest.mark.parametrize('value', [None, 5, 'x', {}, object(), [None], [[1, [2]]]])
def test_something_else_than_arrays_is_an_error_of_multi_box_loss(value):
    with pytest.raises((TypeError, ValueError), match='targets.*expected'):
        call_multi_box_loss(LOCS, CONFS, DEFAULT_BBOX, value)
    loss = MultiBoxLoss(3, 0.5, True, 0, True, 3, 0.5, False)
    with pytest.raises(TypeError, match=r'predictions = .*expected \(loc, conf, priors\)'):
        loss(value, [[(0, 0, 4, 4, 1)]])


@pytest.mark.parametrize('dtype', 'fd')
def test_a_union_that_overflows_is_an_error(dtype):
    side = np.sqrt(np.finfo(dtype).max) * 0.8  # the area is finite, twice the area is not
    bbox = np.array([(0, 0, side, side)], dtype)
    for call in (
        lambda: bbox_iou(bbox, bbox),
        lambda: match([(2, 2, 4, 4)], bbox),
        lambda: non_maximum_suppression(np.concatenate((bbox, bbox)), 0.5),
        lambda: match(np.array([(0, 0, side, side)], dtype), BBOX),
    ):
        with pytest.raises(ValueError, match=r'\[0\] = .* area that float'):
            call()
    assert bbox_iou(bbox / 2, bbox / 2) == 1


@pytest.mark.parametrize('dtype', ['i8', 'u8'])
def test_integer_losses_are_ranked_exactly(dtype):
    largest = np.iinfo(dtype).max
    loss = np.array([[largest - 2, largest, largest - 1]], dtype)
    no_positive = np.zeros((1, 3), bool)
    mask = hard_negative_mining(loss, no_positive, [2])
    assert mask.tolist() == hard_example_mining(loss, 2).tolist() == [[False, True, True]]


HUGE = {'f': 1e20, 'd': 1e160}


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize(
    'call',
    [
        lambda default, bbox: bbox_iou(bbox, bbox),
        lambda default, bbox: match(default, bbox),
        lambda default, bbox: match(bbox, default[:, [0, 1, 2, 3]]),
        lambda default, bbox: encode(default, bbox, [0], [-1]),
        lambda default, bbox: non_maximum_suppression(bbox, 0.5),
    ],
)
def test_an_area_that_overflows_is_an_error(call, dtype):
    bbox = np.array([(0, 0, HUGE[dtype], HUGE[dtype])], dtype)
    default = np.array([(2, 2, 4, 4)], dtype)
    with (
        np.errstate(all='raise'),
        pytest.raises(ValueError, match=r'\[0\] = .* an area that float'),
    ):
        call(default, bbox)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_predictions_that_are_not_finite_never_mean_no_detection(value):
    default = np.array(DEFAULT_BBOX, 'f')
    mb_loc, mb_conf = np.zeros((2, 4), 'f'), np.zeros((2, 3), 'f')
    mb_conf[1, 2] = 9
    assert len(decode_with_coder(mb_loc, mb_conf)[0])
    spoilt_loc, spoilt_conf = mb_loc.copy(), mb_conf.copy()
    spoilt_loc[1, 2] = spoilt_conf[1, 2] = value
    with pytest.raises(ValueError, match=r'mb_loc\[1\] = .*expected finite offsets'):
        decode(default, spoilt_loc)
    with pytest.raises(ValueError, match=r'mb_loc\[1\] = .*finite predictions. 1 of 2'):
        decode_with_coder(spoilt_loc, mb_conf)
    with pytest.raises(ValueError, match=r'mb_conf\[1\] = .*finite predictions. 1 of 2'):
        decode_with_coder(mb_loc, spoilt_conf)


@pytest.mark.parametrize('dtype', ['i8', 'u8'])
def test_integer_scores_are_ranked_exactly(dtype):
    largest = np.iinfo(dtype).max
    score = np.array([largest - 1, largest, largest - 2, np.iinfo(dtype).min], dtype)
    bbox = [(10 * i, 0, 10 * i + 5, 5) for i in range(4)]
    assert non_maximum_suppression(bbox, 0.5, score).tolist() == [1, 0, 2, 3]


def test_a_score_of_nan_is_an_error():
    with pytest.raises(ValueError, match=r'score\[1\] = nan'):
        non_maximum_suppression(BBOX, 0.5, [0.5, np.nan])


@pytest.mark.parametrize('n_negative', [[-1], [np.nan], [1.5], ['1'], [None], [2**64]])
def test_a_wrong_number_of_negatives_is_an_error(n_negative):
    with pytest.raises((TypeError, ValueError), match='n_negative'):
        hard_negative_mining([[0.1, 0.2]], [[True, False]], n_negative)


@pytest.mark.parametrize('label', [[2**64 - 1], [2**63], [-1], [2**31], [1.0], ['a']])
def test_a_label_that_would_wrap_is_an_error(label):
    with pytest.raises((TypeError, ValueError), match='label'):
        encode(DEFAULT_BBOX, BBOX[:1], label, [0, -1])


def test_nms_thresh_none_suppresses_nothing():
    coder = MultiboxCoder((1,), ((),), (8,), (4, 6))
    mb_conf = np.array([(0, 1, 0), (0, 2, 0)], 'f')
    bbox, label, score = coder.decode(np.zeros((2, 4), 'f'), mb_conf, None, 0.4)
    assert label.tolist() == [0, 0]
    assert score[0] < score[1]  # the order of the default boxes
    assert len(coder.decode(np.zeros((2, 4), 'f'), mb_conf, 0.1, 0.4)[0]) == 1
    assert bbox.dtype == score.dtype == np.float32 and label.dtype == np.int32


@pytest.mark.parametrize('loss', ['ssd_loss', 'MultiBoxLoss'])
@pytest.mark.parametrize(('gt_scale', 'prior_scale'), [(300, 1), (1, 300)])
def test_a_batch_in_another_unit_gets_one_warning(loss, gt_scale, prior_scale):
    bbox = np.array([(0.1, 0.2, 0.4, 0.5), (0.5, 0.5, 0.9, 0.8)])
    grid = np.array(
        [(0.1 * i, 0.1 * j, 0.1 * i + 0.2, 0.1 * j + 0.2) for i in range(8) for j in range(8)]
    )
    locs, confs = np.zeros((2, 64, 4)), np.zeros((2, 64, 3))
    bbox, grid = bbox * gt_scale, grid * prior_scale
    with pytest.warns(UserWarning, match='both in fractions of the image') as caught:
        if loss == 'ssd_loss':
            ssd_loss(locs, confs, [bbox, bbox], [[1, 2], [1, 2]], grid, (0.1, 0.1, 0.2, 0.2))
        else:
            targets = [np.c_[bbox, [0, 1]]] * 2
            call_multi_box_loss(locs, confs, corner_to_center(grid), targets)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize('bbox', [(0, 0, 300, 300), (0, 0, 30, 40)])
def test_boxes_in_pixels_that_overlap_fractions_at_the_corner_get_a_warning(bbox):
    grid = np.array([(0.1 * i, 0.1 * j, 0.3, 0.3) for i in range(1, 9) for j in range(1, 9)])
    for match_type in 'per_prediction', 'argmax':
        with pytest.warns(UserWarning, match='both in fractions of the image'):
            match(grid, [bbox], match_type=match_type)


def test_difficult_ground_truths_do_not_hide_another_unit():
    locs, confs = np.zeros((2, 2, 4)), np.zeros((2, 2, 3))
    with pytest.warns(UserWarning, match='both in fractions of the image'):
        ssd_loss(
            locs,
            confs,
            [[(50, 60, 90, 90)], [(0, 0, 0.5, 0.5)]],
            [[1], [1]],
            np.array([(0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)]),
            (0.1, 0.1, 0.2, 0.2),
            gt_difficult=[[False], [True]],
        )


def test_one_image_that_fits_is_enough():
    bbox = np.array([(0.1, 0.2, 0.4, 0.5)])
    grid = [(0.1 * i, 0.1 * j, 0.1 * i + 0.2, 0.1 * j + 0.2) for i in range(8) for j in range(8)]
    ssd_loss(
        np.zeros((3, 64, 4)),
        np.zeros((3, 64, 3)),
        [bbox, bbox * 300, []],
        [[1], [1], []],
        np.array(grid),
        (0.1, 0.1, 0.2, 0.2),
    )


def test_variables_are_accepted():
    arrays = (np.array(LOCS, 'f'), np.array(CONFS, 'f'), np.array(LOCS, 'f'), np.array(LABELS))
    a = multibox_loss(*map(chainer.Variable, arrays), k=3)
    b = multibox_loss(*arrays, k=3)
    assert [x.array for x in a] == [x.array for x in b]
    assert isinstance(swap_xy(chainer.Variable(arrays[0])), chainer.Variable)


@pytest.mark.parametrize(
    'img',
    [
        np.zeros((3, 2, 2), 'f'),
        np.ones((3, 2, 2), 'f'),
        np.full((3, 2, 2), 255.4),
        np.full((3, 2, 2), 7, 'i8'),
        np.full((3, 2, 2), 7, 'u1'),
        np.full((3, 2, 2), 7, 'u2'),
    ],
)
def test_values_of_an_image(img):
    check_pixel_range(img)


@pytest.mark.parametrize(
    ('img', 'message'),
    [
        (np.full((3, 2, 2), 0.5), r'scaled to \[0, 1\]'),
        (np.full((3, 2, 2), -1.0), 'from -1 to -1: expected 0 to 255'),
        (np.full((3, 2, 2), 256, 'u2'), 'from 256 to 256'),
        (np.full((3, 2, 2), np.nan), 'from nan to nan'),
        (np.ones((3, 2, 2), bool), 'dtype bool'),
        (np.full((3, 2, 2), 'a'), 'dtype <U1'),
        (np.full((3, 2, 2), None), 'dtype object'),
        (np.full((3, 2, 2), 1j), 'dtype complex128'),
    ],
)
def test_values_that_are_not_those_of_an_image(img, message):
    with pytest.raises((TypeError, ValueError), match=f'^img has .*{message}'):
        check_pixel_range(img)
