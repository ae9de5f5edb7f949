import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainer_ssd import decode, encode, match
from tests import reference
from tests.helpers import assert_close, to_numpy

coordinate = st.floats(-1000, 1000)
length = st.floats(0.5, 1000)
default_box = st.tuples(coordinate, coordinate, length, length)
truth = st.tuples(coordinate, coordinate, length, length).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
VARIANCES = [(0.1, 0.2), (0.1, 0.2, 0.3, 0.4), 'per_box']


def variance_of_boxes(variance, n):
    """Return the variance of each box, and the argument that gives it."""
    if variance == 'per_box':
        rows = np.random.default_rng(0).uniform(0.05, 0.5, (n, 4))
        return rows, rows
    return np.tile(np.repeat(variance, 4 // len(variance)), (n, 1)), variance


@given(
    default_bbox=st.lists(default_box, min_size=1, max_size=8),
    bbox=st.lists(truth, min_size=1, max_size=4),
    data=st.data(),
    variance=st.sampled_from(VARIANCES),
)
def test_decode_inverts_encode(default_bbox, bbox, data, variance):
    n = len(default_bbox)
    index = np.array(data.draw(st.lists(st.integers(0, len(bbox) - 1), min_size=n, max_size=n)))
    default_bbox, bbox = np.array(default_bbox, 'd'), np.array(bbox, 'd')
    variance = variance_of_boxes(variance, n)[1]
    mb_loc, _ = encode(default_bbox, bbox, [0] * len(bbox), index, variance)
    np.testing.assert_allclose(
        decode(default_bbox, mb_loc, variance), bbox[index], rtol=0, atol=1e-9 * 3000
    )


@given(
    index=st.lists(st.integers(-2, 2), min_size=6, max_size=6), variance=st.sampled_from(VARIANCES)
)
def test_encode_equals_the_loop(index, variance):
    rng = np.random.default_rng(3)
    default_bbox = np.c_[rng.uniform(0, 50, (6, 2)), rng.uniform(5, 20, (6, 2))]
    corner = rng.uniform(0, 40, (3, 2))
    bbox = np.c_[corner, corner + rng.uniform(5, 20, (3, 2))]
    rows, argument = variance_of_boxes(variance, 6)
    mb_loc, mb_label = encode(default_bbox, bbox, [4, 0, 2], np.array(index), argument)
    loc, label = reference.encode(default_bbox, bbox, [4, 0, 2], index, rows)
    np.testing.assert_allclose(mb_loc, loc, rtol=1e-12, atol=1e-12)
    assert mb_label.tolist() == label
    assert mb_label.dtype == np.int32


def test_targets_of_unassigned_boxes_are_exactly_zero(xp):
    default_bbox = xp.asarray([(2, 2, 4, 4), (20, 20, 4, 4), (30, 30, 4, 4)], dtype='f')
    mb_loc, mb_label = encode(
        default_bbox,
        xp.asarray([(0, 0, 4, 4)], dtype='f'),
        xp.asarray([5]),
        xp.asarray([0, -1, -2], dtype='i'),
    )
    assert to_numpy(mb_label).tolist() == [6, 0, -1]
    assert mb_loc.dtype == np.float32
    assert not to_numpy(mb_loc)[1:].any()


@pytest.mark.parametrize('dtype', ['u1', 'u8', 'i1', 'i8'])
def test_indices_and_labels_may_be_of_any_integer_dtype(xp, dtype):
    default_bbox = xp.asarray([(2, 2, 4, 4), (20, 20, 4, 4)], dtype='f')
    bbox = xp.asarray([(0, 0, 4, 4), (18, 18, 22, 22)], dtype='f')
    mb_loc, mb_label = encode(
        default_bbox, bbox, xp.asarray([127, 3], dtype=dtype), xp.asarray([1, 0], dtype=dtype)
    )
    assert mb_label.dtype == np.int32 and to_numpy(mb_label).tolist() == [4, 128]
    assert to_numpy(mb_loc).any(axis=1).all()


def test_without_ground_truths_no_box_has_a_target(xp):
    default_bbox = xp.asarray([(2, 2, 4, 4)] * 3, dtype='f')
    mb_loc, mb_label = encode(
        default_bbox,
        xp.asarray(np.zeros((0, 4), 'f')),
        xp.asarray(np.zeros(0, 'i')),
        xp.asarray([-1, -1, -2], dtype='i'),
    )
    assert to_numpy(mb_label).tolist() == [0, 0, -1]
    assert not to_numpy(mb_loc).any()


def test_decode_accepts_batches(xp):
    rng = np.random.default_rng(4)
    default_bbox = np.c_[rng.uniform(0, 50, (6, 2)), rng.uniform(5, 20, (6, 2))]
    mb_loc = rng.normal(size=(3, 6, 4))
    batch = decode(xp.asarray(default_bbox), xp.asarray(mb_loc))
    for i in range(3):
        assert_close(batch[i], decode(default_bbox, mb_loc[i]), 1e-12)


@pytest.mark.parametrize('dtype', ['f', 'd'])
def test_decode_never_overflows(dtype):
    with np.errstate(over='raise', invalid='raise'):
        bbox = decode(np.array([(2, 2, 400, 400)], dtype), np.full((1, 4), 1e6, dtype))
        area = (bbox[:, 2] - bbox[:, 0]) * (bbox[:, 3] - bbox[:, 1])
    assert np.isfinite(area).all()


def test_an_unassigned_ground_truth_has_no_effect():
    # ChainerCV encodes unmatched boxes with the last ground truth.
    default_bbox = np.array([(2, 2, 4, 4), (9, 9, 4, 4)], 'f')
    bbox = np.array([(0, 0, 4, 4), (1e18, 1e18, 3e18, 3e18)], 'f')
    with np.errstate(all='raise'):
        mb_loc, _ = encode(default_bbox, bbox, [0, 1], np.array([0, -1]))
    np.testing.assert_array_equal(mb_loc, 0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'label': [-1]}, r'label\[0\] = -1: expected foreground classes'),
        ({'label': [0.5]}, 'label has dtype float64: expected integers'),
        ({'label': [2**31 - 1]}, r'label\[0\] = 2147483647: expected foreground classes'),
        ({'label': np.array([2**63], 'u8')}, r'label\[0\] = 9223372036854775808'),
        ({'label': [0, 1]}, r'label has shape \(2,\): expected \(1,\), one for each box'),
        ({'index': [1, -1]}, r'index\[0\] = 1: expected'),
        ({'index': [-3, -1]}, r'index\[0\] = -3'),
        ({'index': [0]}, 'index has shape'),
        ({'index': [0.0, 0.0]}, 'index has shape .* float64'),
        ({'variance': (0.1,)}, 'variance has shape'),
        ({'variance': (0.1, 0)}, r'variance\[1\] = 0.0: expected finite positive numbers'),
        ({'bbox': [(0, 0, -1, 4)]}, r'bbox\[0\]'),
        ({'default_bbox': [(2, 2, 0, 4), (9, 9, 4, 4)]}, r'default_bbox\[0\] .* has no area'),
    ],
)
def test_a_wrong_argument_is_named(change, message):
    valid = {
        'default_bbox': [(2, 2, 4, 4), (9, 9, 4, 4)],
        'bbox': [(0, 0, 4, 4)],
        'label': [0],
        'index': [0, -1],
        'variance': (0.1, 0.2),
    }
    with pytest.raises(ValueError, match=message):
        encode(**{**valid, **change})


def test_decode_names_shapes_that_disagree():
    with pytest.raises(ValueError, match=r'mb_loc has shape \(3, 4\) and default_bbox \(2, 4\)'):
        decode(np.ones((2, 4), 'f'), np.ones((3, 4), 'f'))


def test_match_then_encode_accepts_lists():
    default_bbox = [(2, 2, 4, 4), (9, 9, 4, 4)]
    index = match(default_bbox, [[0, 0, 4, 4]])
    mb_loc, mb_label = encode(default_bbox, [[0, 0, 4, 4]], [7], index)
    assert mb_label.tolist() == [8, 0]
    np.testing.assert_allclose(mb_loc, 0, atol=1e-6)
