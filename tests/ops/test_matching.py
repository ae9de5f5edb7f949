import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainer_ssd import bbox_iou, match
from chainer_ssd.ops import Matcher, center_to_corner
from tests import reference
from tests.helpers import to_numpy

# Small integers make ties and exact thresholds frequent.
box = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 4), st.integers(1, 4))
default_boxes = st.lists(
    box.map(lambda b: (b[0], b[1], 2 * b[2], 2 * b[3])), min_size=1, max_size=14
)
truths = st.lists(box.map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])), max_size=8)


def expected_match(default_bbox, bbox, iou_thresh, match_type, neg_overlap, ignore):
    overlap = [[reference.iou(b, reference.corners(d)) for d in default_bbox] for b in bbox]
    return reference.match(overlap, len(default_bbox), iou_thresh, match_type, neg_overlap, ignore)


@given(
    default_bbox=default_boxes,
    bbox=truths,
    iou_thresh=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    match_type=st.sampled_from(['per_prediction', 'bipartite', 'argmax', 'threshold']),
    neg_overlap=st.sampled_from([None, 0.0, 0.2, 0.5]),
    ignores=st.lists(st.booleans(), min_size=8),
)
def test_match_equals_the_loop(default_bbox, bbox, iou_thresh, match_type, neg_overlap, ignores):
    ignore = ignores[: len(bbox)]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # more ground truths than default boxes
        index = match(
            np.array(default_bbox, 'd'),
            np.array(bbox, 'd').reshape(-1, 4),
            iou_thresh,
            match_type,
            neg_overlap,
            np.array(ignore, bool),
        )
    assert index.dtype == np.int32
    assert index.tolist() == expected_match(
        default_bbox, bbox, iou_thresh, match_type, neg_overlap, ignore
    )


@given(default_bbox=default_boxes, bbox=truths)
def test_the_pair_with_the_largest_iou_is_always_matched(default_bbox, bbox):
    default_bbox, bbox = np.array(default_bbox, 'f'), np.array(bbox, 'f').reshape(-1, 4)
    iou = bbox_iou(bbox, center_to_corner(default_bbox))
    if iou.size == 0 or iou.max() <= 1e-6:
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        index = match(default_bbox, bbox, 1.0)
    truth, box = np.nonzero(iou == iou.max())
    assert (index[box] == truth).any()


def test_every_ground_truth_has_a_box_if_there_are_enough(xp):
    rng = np.random.default_rng(0)
    for _ in range(20):
        default_bbox = np.c_[rng.uniform(0, 100, (500, 2)), rng.uniform(20, 60, (500, 2))]
        corner = rng.uniform(0, 70, (30, 2))
        bbox = np.c_[corner, corner + rng.uniform(5, 30, (30, 2))]
        index = to_numpy(match(xp.asarray(default_bbox, dtype='f'), xp.asarray(bbox, dtype='f')))
        assert set(range(30)) <= set(index.tolist())


def test_large_case_equals_the_loop(xp):
    rng = np.random.default_rng(1)
    default_bbox = np.c_[rng.uniform(0, 100, (300, 2)), rng.uniform(10, 40, (300, 2))]
    corner = rng.uniform(0, 80, (60, 2))
    bbox = np.c_[corner, corner + rng.uniform(5, 30, (60, 2))]
    ignore = rng.random(60) < 0.2
    for match_type in 'per_prediction', 'bipartite', 'argmax':
        index = match(
            xp.asarray(default_bbox), xp.asarray(bbox), 0.5, match_type, 0.3, xp.asarray(ignore)
        )
        assert to_numpy(index).tolist() == expected_match(
            default_bbox, bbox, 0.5, match_type, 0.3, ignore
        )


def test_permuting_the_boxes_permutes_the_match():
    rng = np.random.default_rng(2)
    default_bbox = np.c_[rng.uniform(0, 100, (200, 2)), rng.uniform(10, 40, (200, 2))]
    corner = rng.uniform(0, 80, (10, 2))
    bbox = np.c_[corner, corner + rng.uniform(5, 30, (10, 2))]
    order = rng.permutation(200)
    np.testing.assert_array_equal(
        match(default_bbox[order], bbox), match(default_bbox, bbox)[order]
    )


def test_an_iou_equal_to_the_threshold_matches():
    # The second default box is half of the first one, so its IoU is exactly 1/2.
    default_bbox = [(2, 2, 4, 4), (1, 2, 2, 4)]
    index = match(np.array(default_bbox, 'f'), [(0, 0, 4, 4)], 0.5)
    assert index.tolist() == [0, 0]


@pytest.mark.filterwarnings('ignore:no ground truth fits')
def test_argmax_assigns_each_ground_truth_and_later_ones_overwrite():
    default_bbox = np.array([(2, 2, 4, 4), (20, 20, 4, 4)], 'f')
    without_overlap = (100, 100, 101, 101)
    assert match(default_bbox, [without_overlap], match_type='argmax').tolist() == [0, -1]
    assert match(default_bbox, [without_overlap]).tolist() == [-1, -1]
    both = [(0, 0, 4, 4), (0, 0, 4, 3)]
    assert match(default_bbox, both, match_type='argmax').tolist() == [1, -1]


def test_an_ignored_ground_truth_is_never_assigned_but_covers_boxes():
    default_bbox = np.array([(2, 2, 4, 4), (2, 3, 4, 4), (20, 20, 4, 4)], 'f')
    index = match(default_bbox, [(0, 0, 4, 4), (18, 18, 22, 22)], ignore=np.array([True, False]))
    assert index.tolist() == [-2, -2, 1]


def test_without_ground_truths_all_boxes_are_background(xp):
    default_bbox = xp.asarray([(2, 2, 4, 4)] * 3, dtype='f')
    assert to_numpy(match(default_bbox, xp.asarray(np.zeros((0, 4), 'f')))).tolist() == [-1] * 3
    assert match(np.array([(2, 2, 4, 4)], 'f'), []).tolist() == [-1]


def test_more_ground_truths_than_boxes_give_a_warning():
    with pytest.warns(UserWarning, match='2 ground truths for 1 default boxes'):
        index = match(np.array([(2, 2, 4, 4)], 'f'), [(0, 0, 4, 4), (0, 0, 3, 3)])
    assert index.tolist() == [0]


@pytest.mark.parametrize('match_type', ['per_prediction', 'bipartite', 'argmax', 'threshold'])
def test_ground_truths_without_default_boxes_give_the_same_warning(match_type):
    with pytest.warns(UserWarning, match='2 ground truths for 0 default boxes'):
        index = match(
            np.zeros((0, 4), 'f'),
            [(0, 0, 4, 4), (0, 0, 3, 3)],
            match_type=match_type,
            neg_overlap=0.4,
            ignore=np.array([False, True]),
        )
    assert index.shape == (0,) and index.dtype == np.int32


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'match_type': 'unknown'}, "match_type = 'unknown'"),
        ({'iou_thresh': 1.5}, 'iou_thresh = 1.5'),
        ({'iou_thresh': float('nan')}, 'iou_thresh = nan'),
        ({'neg_overlap': -1}, 'neg_overlap = -1'),
        ({'ignore': np.zeros(3, bool)}, r'ignore has shape \(3,\)'),
        ({'ignore': np.zeros(1, int)}, 'ignore has dtype int64: expected bool'),
        ({'bbox': [(0, 0, 0, 4)]}, r'bbox\[0\] = \(0.0, 0.0, 0.0, 4.0\)'),
        ({'bbox': [(0, 0, 1, 4, 0)]}, 'bbox has shape'),
        ({'default_bbox': np.full((1, 4), np.nan)}, r'default_bbox\[0\]'),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    valid = {'default_bbox': np.array([(2, 2, 4, 4)], 'f'), 'bbox': [(0, 0, 4, 4)]}
    with pytest.raises((TypeError, ValueError), match=message):
        match(**{**valid, **arguments})


GRID = [(10.0 * i, 10.0 * j, 20.0, 20.0) for i in range(10) for j in range(10)]


@pytest.mark.parametrize('match_type', ['per_prediction', 'bipartite', 'argmax', 'threshold'])
@pytest.mark.parametrize(
    ('default_bbox', 'bbox'),
    [
        (np.array(GRID) / 100, [(10, 20, 40, 50), (30, 30, 60, 80)]),  # fractions and pixels
        (np.array(GRID), [(0.1, 0.2, 0.4, 0.5)]),  # pixels and fractions
        (np.array(GRID), [(300, 300, 340, 350)]),
    ],
)
def test_boxes_of_another_unit_get_one_warning(match_type, default_bbox, bbox):
    with pytest.warns(UserWarning, match=r'fits the default boxes, .* in pixels, or') as caught:
        match(default_bbox, bbox, match_type=match_type)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize('match_type', ['per_prediction', 'bipartite', 'argmax', 'threshold'])
@pytest.mark.parametrize(
    'bbox', [[], [(300, 300, 340, 350), (10, 20, 40, 50)], [(0, 0, 1.5, 1.5)], [(0, 0, 90, 90)]]
)
def test_boxes_of_the_same_unit_get_no_warning(match_type, bbox):
    match(np.array(GRID), bbox, match_type=match_type)  # a warning is an error here


def test_fractions_of_one_whole_image_get_no_warning():
    match(np.array(GRID) / 110, [(0, 0, 1, 1)])


@pytest.mark.parametrize('match_type', ['per_prediction', 'bipartite'])
def test_the_time_for_equal_ground_truths_is_linear(match_type, monkeypatch):
    """The number of searches is counted, not the time."""
    n_search = 0

    class Counted(np.ndarray):
        def argmax(self, *args, **options):
            nonlocal n_search
            n_search += 1
            return np.ndarray.argmax(self, *args, **options)

    iou = Matcher._iou
    monkeypatch.setattr(Matcher, '_iou', lambda *args: iou(*args).view(Counted))
    n_truth = 60
    index = match(np.array(GRID), [(20, 20, 70, 70)] * n_truth, match_type=match_type)
    assert sorted(index[index >= 0].tolist()) >= list(range(36))
    assert n_search <= 2 * n_truth


@pytest.mark.parametrize('n_copy', [2, 5, 40])
def test_equal_ground_truths_equal_the_loop(n_copy):
    bbox = [(20, 20, 70, 70), (10, 15, 40, 60), (20, 25, 70, 75)] * n_copy
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # more ground truths than default boxes
        index = match(np.array(GRID), bbox, neg_overlap=0.2)
    expected = expected_match(GRID, bbox, 0.5, 'per_prediction', 0.2, [False] * len(bbox))
    assert index.tolist() == expected
