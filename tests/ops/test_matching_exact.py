"""Matching against the definition in exact arithmetic.

Coordinates are integers, so each IoU is a fraction that float64 rounds correctly. Two different
fractions differ by far more than the rounding. So the assignments must be equal.
"""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainer_ssd import match
from tests import reference

pytestmark = pytest.mark.filterwarnings('ignore:no ground truth fits')

LARGEST = 1000
coordinate = st.one_of(st.integers(0, 8), st.integers(0, LARGEST))
side = st.one_of(st.integers(1, 6), st.integers(1, LARGEST))
truths = st.lists(st.tuples(coordinate, coordinate, side, side), max_size=6)
# Even sides, so that the corners are integers.
default_boxes = st.lists(st.tuples(coordinate, coordinate, side, side), min_size=1, max_size=12)


def exact_overlap(bbox, default_bbox):
    corners = [reference.corners(tuple(map(Fraction, box))) for box in default_bbox]
    return [[Fraction(reference.iou(tuple(map(Fraction, b)), c)) for c in corners] for b in bbox]


@given(
    default_bbox=default_boxes,
    bbox=truths,
    n_copy=st.integers(1, 3),
    iou_thresh=st.sampled_from([0.0, 0.125, 0.5, 0.75, 1.0]),
    match_type=st.sampled_from(['per_prediction', 'bipartite', 'argmax']),
    neg_overlap=st.sampled_from([None, 0.0, 0.25, 0.5]),
    ignores=st.lists(st.booleans(), min_size=18, max_size=18),
)
def test_match_equals_exact_arithmetic(
    default_bbox, bbox, n_copy, iou_thresh, match_type, neg_overlap, ignores
):
    default_bbox = [(cy, cx, 2 * h, 2 * w) for cy, cx, h, w in default_bbox]
    bbox = [(y, x, y + h, x + w) for y, x, h, w in bbox] * n_copy  # copies are ties
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
    expected = reference.match(
        exact_overlap(bbox, default_bbox),
        len(default_bbox),
        iou_thresh,
        match_type,
        neg_overlap,
        ignore,
    )
    assert index.tolist() == expected


@pytest.mark.parametrize('match_type', ['per_prediction', 'bipartite'])
@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize(
    'side, expected',
    [
        (800, [0]),  # IoU 1 / 640,000 = 1.6e-6
        (1200, [-1]),  # IoU 1 / 1,440,000 = 0.7e-6
    ],
)
def test_the_bipartite_step_needs_an_iou_above_one_millionth(match_type, dtype, side, expected):
    default_bbox = np.array([(side / 2, side / 2, side, side)], dtype)
    assert match(default_bbox, [(0, 0, 1, 1)], match_type=match_type).tolist() == expected


def test_the_argmax_step_has_no_minimum():
    default_bbox = np.array([(600, 600, 1200, 1200)], 'd')
    assert match(default_bbox, [(0, 0, 1, 1)], match_type='argmax').tolist() == [0]
