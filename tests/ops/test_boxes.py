import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainer_ssd import bbox_iou
from chainer_ssd._validation import check_default_bbox
from chainer_ssd.ops import center_to_corner, check_bbox, corner_to_center, swap_xy
from tests import reference
from tests.helpers import to_numpy

side = st.integers(0, 12)
box = st.tuples(side, side, st.integers(1, 8), st.integers(1, 8)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(a=st.lists(box, max_size=6), b=st.lists(box, max_size=6))
def test_iou_equals_the_loop(a, b):
    expected = np.array([[reference.iou(p, q) for q in b] for p in a]).reshape(len(a), len(b))
    iou = bbox_iou(np.array(a, 'd').reshape(-1, 4), np.array(b, 'd').reshape(-1, 4))
    np.testing.assert_allclose(iou, expected, rtol=1e-14)
    assert ((0 <= iou) & (iou <= 1)).all()


@pytest.mark.parametrize(
    ('dtype_a', 'dtype_b', 'expected'),
    [
        ('f4', 'f4', 'f4'),
        ('f4', 'f8', 'f8'),
        ('f8', 'f8', 'f8'),
        ('f2', 'f2', 'f4'),
        ('i4', 'i8', 'f4'),
    ],
)
def test_iou_has_the_promoted_dtype(xp, dtype_a, dtype_b, expected):
    a = xp.asarray([[0, 0, 2, 2], [1, 1, 3, 3]], dtype=dtype_a)
    b = xp.asarray([[0, 0, 2, 2]], dtype=dtype_b)
    iou = bbox_iou(a, b)
    assert iou.dtype == np.dtype(expected)
    np.testing.assert_allclose(to_numpy(iou), [[1], [1 / 7]], rtol=1e-6)


def test_boxes_that_touch_and_empty_boxes_have_no_overlap(xp):
    a = xp.asarray([[0, 0, 2, 2], [1, 1, 1, 1], [0, 0, 0, 5]], dtype='f')
    b = xp.asarray([[2, 0, 4, 2], [1, 1, 1, 1]], dtype='f')
    assert not to_numpy(bbox_iou(a, b)).any()


def test_nan_affects_only_its_row():
    iou = bbox_iou(np.array([[0, 0, np.nan, 2], [0, 0, 2, 2]], 'f'), np.array([[0, 0, 2, 2]], 'f'))
    assert np.isnan(iou[0, 0]) and iou[1, 0] == 1


@pytest.mark.parametrize('shape', [(3, 5), (4,), (2, 4, 1)])
def test_iou_names_the_argument_of_wrong_shape(shape):
    with pytest.raises(ValueError, match=r'bbox_b has shape .*expected \(N, 4\)'):
        bbox_iou(np.zeros((1, 4), 'f'), np.zeros(shape, 'f'))


@given(st.lists(box, max_size=6))
def test_the_formats_are_inverses(boxes):
    bbox = np.array(boxes, 'd').reshape(-1, 4)
    default_bbox = corner_to_center(bbox)
    np.testing.assert_array_equal(center_to_corner(default_bbox), bbox)
    for row, corners in zip(default_bbox, bbox):
        assert reference.corners(row) == tuple(corners)


def test_formats_accept_any_array_module(xp):
    bbox = xp.asarray([[1, 2, 3, 6]], dtype='f')
    default_bbox = corner_to_center(bbox)
    np.testing.assert_array_equal(to_numpy(default_bbox), [[2, 4, 2, 4]])
    np.testing.assert_array_equal(to_numpy(center_to_corner(default_bbox)), to_numpy(bbox))


@pytest.mark.parametrize(
    'row', [(0, 0, 0, 5), (3, 0, 1, 5), (0, 0, np.nan, 5), (0, 0, np.inf, 5), (5, 5, 5, 5)]
)
def test_check_bbox_names_an_invalid_box(row):
    with pytest.raises(ValueError, match=r'truth\[1\] = \(.*expected finite'):
        check_bbox(np.array([(0, 0, 1, 1), row], 'f'), 'truth')


def test_lists_and_integers_become_floats():
    assert check_bbox([[0, 0, 1, 1]]).dtype == np.float32
    assert check_bbox(np.array([[0, 0, 1, 1]], 'd')).dtype == np.float64
    assert check_bbox([]).shape == (0, 4)
    with pytest.raises(TypeError, match='expected floats or integers'):
        check_bbox(np.array([['a'] * 4]))


def test_a_default_box_may_have_no_area_but_no_negative_size():
    check_default_bbox(np.array([[1, 1, 0, 2]], 'f'))
    with pytest.raises(ValueError, match=r'default_bbox\[0\]'):
        check_default_bbox(np.array([[1, 1, -1, 2]], 'f'))


def test_swap_xy_exchanges_x_and_y_of_both_corners():
    assert swap_xy([(1, 2, 3, 4)]).tolist() == [[2, 1, 4, 3]]
