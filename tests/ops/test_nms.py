import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainer_ssd import non_maximum_suppression
from chainer_ssd.ops import nms, suppress_batch
from tests import reference
from tests.helpers import to_numpy

box = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(
    rows=st.lists(st.tuples(box, st.sampled_from([0.1, 0.5, 0.9])), max_size=12),
    thresh=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_the_kept_boxes_equal_the_loop(rows, thresh):
    bbox = np.array([b for b, _ in rows], 'd').reshape(-1, 4)
    score = np.array([s for _, s in rows])
    kept = non_maximum_suppression(bbox, thresh, score)
    assert kept.dtype == np.int32
    assert kept.tolist() == reference.non_maximum_suppression(bbox, thresh, score)
    limited = non_maximum_suppression(bbox, thresh, score, limit=2)
    assert limited.tolist() == kept.tolist()[:2]


def caffe_nms(bbox, thresh, score, eta):
    """ApplyNMSFast of Caffe's bbox_util.cpp as a loop, with >= in place of >."""
    kept = []
    for i in sorted(range(len(bbox)), key=lambda i: (-score[i], i)):
        if all(reference.iou(bbox[i], bbox[j]) < thresh for j in kept):
            kept.append(i)
            if eta < 1 and thresh > 0.5:
                thresh *= eta
    return kept


@pytest.mark.parametrize('thresh', [0.9, 0.6, 0.45])
@pytest.mark.parametrize('eta', [0.97, 0.5, 1.0])
def test_the_threshold_falls_with_each_kept_box(xp, thresh, eta):
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 60, (80, 2))
    bbox = np.c_[corner, corner + rng.uniform(20, 40, (80, 2))]
    score = rng.random(80)
    expected = caffe_nms(bbox.tolist(), thresh, score, eta)
    for limit in (None, 3):
        kept = non_maximum_suppression(xp.asarray(bbox), thresh, xp.asarray(score), limit, eta)
        assert kept.dtype == np.int32
        assert to_numpy(kept).tolist() == expected[:limit]


def test_a_wrong_eta_is_named():
    with pytest.raises(ValueError, match='eta = 1.5: expected a number in'):
        non_maximum_suppression(np.zeros((0, 4)), 0.5, eta=1.5)


def test_without_scores_the_order_of_the_boxes_counts(xp):
    bbox = xp.asarray([(0, 0, 4, 4), (0, 0, 4, 4), (8, 8, 9, 9)], dtype='f')
    assert to_numpy(non_maximum_suppression(bbox, 0.5)).tolist() == [0, 2]
    score = xp.asarray([0.1, 0.9, 0.5], dtype='f')
    assert to_numpy(non_maximum_suppression(bbox, 0.5, score)).tolist() == [1, 2]


def test_many_boxes(xp):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 100, (300, 2))
    bbox = np.c_[corner, corner + rng.uniform(10, 40, (300, 2))]
    score = rng.random(300)
    kept = non_maximum_suppression(xp.asarray(bbox), 0.45, xp.asarray(score))
    assert to_numpy(kept).tolist() == reference.non_maximum_suppression(bbox, 0.45, score)


@pytest.mark.parametrize('dtype', ['u1', 'u8', 'i1', 'i8', 'f2'])
def test_scores_may_be_of_any_dtype(xp, dtype):
    bbox = xp.asarray([(0, 0, 4, 4), (0, 0, 4, 4), (8, 8, 9, 9), (20, 0, 24, 4)], dtype='f')
    score = xp.asarray([0, 100, 2, 0], dtype=dtype)
    assert to_numpy(non_maximum_suppression(bbox, 0.5, score)).tolist() == [1, 2, 3]


def test_zero_boxes_are_legal(xp):
    assert len(non_maximum_suppression(xp.asarray(np.zeros((0, 4), 'f')), 0.5)) == 0


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'bbox': np.zeros(4)}, 'bbox has shape'),
        ({'score': np.zeros(3)}, r'score has shape \(3,\): expected \(2,\)'),
        ({'thresh': 1.5}, 'thresh = 1.5'),
        ({'limit': -1}, 'limit = -1'),
    ],
)
def test_a_wrong_argument_is_named(change, message):
    valid = {'bbox': np.zeros((2, 4)), 'thresh': 0.5, 'score': np.zeros(2), 'limit': None}
    with pytest.raises(ValueError, match=message):
        non_maximum_suppression(**{**valid, **change})


def far_boxes(n):
    """Return n boxes that do not overlap, more than one step compares at once."""
    return [(0, 20 * i, 10, 20 * i + 10) for i in range(n)]


def test_an_iou_equal_to_the_threshold_suppresses_a_box_of_a_later_step():
    n = 200
    bbox = [(0, 0, 2, 2), *((0, 100 * i, 2, 100 * i + 2) for i in range(1, n)), (0, 0, 2, 1)]
    assert non_maximum_suppression(bbox, 0.5).tolist() == list(range(n))  # the last has IoU 1/2
    assert non_maximum_suppression(bbox, 0.51).tolist() == list(range(n + 1))


@pytest.mark.parametrize('limit', [0, 1, 63, 64, 65, 130, 199, 200, 500])
def test_the_limit_counts_the_boxes_of_all_steps(limit):
    kept = non_maximum_suppression(far_boxes(200), 0.5, limit=limit)
    assert kept.tolist() == list(range(min(limit, 200)))


@pytest.mark.parametrize('block_bytes', [1 << 28, 1])
def test_groups_equal_one_group_at_a_time(xp, block_bytes, monkeypatch):
    monkeypatch.setattr(nms, 'BLOCK_BYTES', block_bytes)  # 1: group by group
    rng = np.random.default_rng(0)
    for n_box in (1, 2, 9, 40):
        corner = rng.integers(0, 12, (7, n_box, 2))
        bbox = np.concatenate([corner, corner + rng.integers(0, 9, corner.shape)], 2).astype('f')
        lens = rng.integers(0, n_box + 1, 7)
        is_box = np.arange(n_box) < lens[:, None]
        for thresh in (0, 0.3, 0.5, 1):
            found = suppress_batch(xp.asarray(bbox), xp.asarray(is_box), thresh)
            for group, n, kept in zip(bbox, lens, to_numpy(found)):
                expected = non_maximum_suppression(group[:n], thresh)
                assert np.flatnonzero(kept).tolist() == expected.tolist()


def test_groups_are_checked():
    bbox, is_box = np.zeros((2, 3, 4), 'f'), np.ones((2, 3), bool)
    for wrong in ((bbox[0], is_box), (bbox, is_box[:, 1:]), (bbox[..., 1:], is_box)):
        with pytest.raises(ValueError, match=r'expected \(G, M, 4\) and \(G, M\)'):
            suppress_batch(*wrong, 0.5)
    with pytest.raises(ValueError, match='thresh = 2'):
        suppress_batch(bbox, is_box, 2)
    with pytest.raises(TypeError, match='is_box has dtype .*: expected bool'):
        suppress_batch(bbox, is_box.astype('i'), 0.5)
    assert suppress_batch(bbox[:, :0], is_box[:, :0], 0.5).shape == (2, 0)
