import numpy as np
import pytest

from chainer_ssd import (
    MultiboxCoder,
    encode,
    generate_default_bbox,
    match,
    non_maximum_suppression,
)
from tests import reference
from tests.helpers import assert_close, to_numpy

SPEC = {'grids': (8, 4), 'aspect_ratios': ((2,), (2, 3)), 'steps': (8, 16), 'sizes': (10, 24, 40)}


def test_holds_the_default_boxes():
    np.testing.assert_array_equal(MultiboxCoder(**SPEC).default_bbox, generate_default_bbox(**SPEC))


def test_has_the_scale_of_each_default_box():
    coder = MultiboxCoder(**SPEC)
    alone = [
        generate_default_bbox(
            *([column[i]] for column in (SPEC['grids'], SPEC['aspect_ratios'], SPEC['steps'])),
            SPEC['sizes'][i : i + 2],
        )
        for i in range(2)
    ]
    assert coder.scale.dtype == np.int32 and coder.scale.shape == coder.default_bbox.shape[:1]
    for i, default_bbox in enumerate(alone):
        np.testing.assert_array_equal(coder.default_bbox[coder.scale == i], default_bbox)


@pytest.mark.parametrize('variance', [(0.1, 0.2), (0.1, 0.1, 0.3, 0.2)])
def test_encode_is_match_then_encode(variance):
    coder = MultiboxCoder(**SPEC, variance=variance)
    bbox, label = np.array([(3, 4, 20, 24), (30, 30, 60, 50)], 'f'), np.array([1, 0])
    mb_loc, mb_label = coder.encode(bbox, label, iou_thresh=0.4)
    expected = encode(
        coder.default_bbox, bbox, label, match(coder.default_bbox, bbox, 0.4), variance
    )
    np.testing.assert_array_equal(mb_loc, expected[0])
    np.testing.assert_array_equal(mb_label, expected[1])


def test_the_threshold_of_the_suppression_may_fall():
    coder = MultiboxCoder(**SPEC)
    rng = np.random.default_rng(2)
    mb_loc = rng.normal(size=(len(coder.default_bbox), 4))
    mb_conf = rng.normal(scale=3, size=(len(coder.default_bbox), 2))
    everything = coder.decode(mb_loc, mb_conf, None, 0.1)
    for eta in (1.0, 0.9):
        found = coder.decode(mb_loc, mb_conf, 0.9, 0.1, nms_eta=eta)
        kept = non_maximum_suppression(everything[0], 0.9, everything[2], eta=eta)
        np.testing.assert_array_equal(found[0], everything[0][kept])
    assert len(kept) < len(non_maximum_suppression(everything[0], 0.9, everything[2]))
    with pytest.raises(ValueError, match='nms_eta = 2: expected a number in'):
        coder.decode(mb_loc, mb_conf, nms_eta=2)


def test_decode_inverts_encode(xp):
    coder = MultiboxCoder(**SPEC)
    bbox, label = np.array([(3, 4, 20, 24), (30, 30, 60, 50)], 'f'), np.array([1, 0])
    mb_loc, mb_label = coder.encode(bbox, label)
    mb_conf = np.where(mb_label[:, None] == np.arange(3), 10, 0).astype('f')
    coder.default_bbox = xp.asarray(coder.default_bbox)
    found, found_label, score = coder.decode(xp.asarray(mb_loc), xp.asarray(mb_conf))
    assert found.dtype == np.float32 and found_label.dtype == np.int32
    assert score.dtype == np.float32
    assert to_numpy(found_label).tolist() == [0, 1]
    assert_close(found, bbox[::-1], 1e-5)
    assert_close(score, np.full(2, np.exp(10) / (np.exp(10) + 2), 'f'), 1e-6)


@pytest.mark.parametrize(('nms_thresh', 'score_thresh'), [(0.45, 0.6), (0.45, 0.01), (0.2, 0.3)])
def test_decode_equals_the_loop(xp, nms_thresh, score_thresh):
    coder = MultiboxCoder(**SPEC)
    rng = np.random.default_rng(0)
    mb_loc = rng.normal(size=(len(coder.default_bbox), 4))
    mb_conf = rng.normal(scale=3, size=(len(coder.default_bbox), 4))
    boxes = []
    for (cy, cx, h, w), (dy, dx, dh, dw) in zip(coder.default_bbox.astype('d'), mb_loc):
        boxes.append(
            reference.corners(
                (cy + dy * 0.1 * h, cx + dx * 0.1 * w, h * np.exp(dh * 0.2), w * np.exp(dw * 0.2))
            )
        )
    expected = []
    for label in range(3):
        score = [np.exp(-reference.cross_entropy(row.tolist(), label + 1)) for row in mb_conf]
        rows = [i for i in range(len(boxes)) if score[i] >= score_thresh]
        for i in reference.non_maximum_suppression(
            [boxes[i] for i in rows], nms_thresh, [score[i] for i in rows]
        ):
            expected.append((boxes[rows[i]], label, score[rows[i]]))

    coder.default_bbox = xp.asarray(coder.default_bbox)
    bbox, label, score = map(
        to_numpy, coder.decode(xp.asarray(mb_loc), xp.asarray(mb_conf), nms_thresh, score_thresh)
    )
    assert label.tolist() == [row[1] for row in expected]
    np.testing.assert_allclose(bbox, [row[0] for row in expected], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(score, [row[2] for row in expected], rtol=1e-5)


def test_scores_of_float16_logits_are_as_exact_as_others(xp):
    coder = MultiboxCoder(**SPEC)
    rng = np.random.default_rng(0)
    mb_loc = rng.normal(size=(len(coder.default_bbox), 4)).astype('e')
    mb_conf = rng.normal(scale=3, size=(len(coder.default_bbox), 4)).astype('e')
    coder.default_bbox = xp.asarray(coder.default_bbox)
    half, single = (
        coder.decode(
            xp.asarray(mb_loc, dtype=dtype), xp.asarray(mb_conf, dtype=dtype), score_thresh=0.3
        )
        for dtype in 'ef'
    )
    assert half[2].dtype == np.float32 and len(half[2]) > 100
    for a, b in zip(half, single):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@pytest.mark.parametrize(
    ('loc', 'conf'), [((-1, 4), (0, 3)), ((1, 4), (1, 3)), ((0, 4), (1, 3)), ((0, 5), (0, 3))]
)
def test_shapes_that_disagree_are_named(loc, conf):
    coder = MultiboxCoder(**SPEC)
    n = len(coder.default_bbox)
    mb_loc, mb_conf = np.zeros((n + loc[0], loc[1])), np.zeros((n + conf[0], conf[1]))
    with pytest.raises(
        ValueError,
        match=rf'mb_loc has shape \({n + loc[0]}, {loc[1]}\) and '
        rf'mb_conf \({n + conf[0]}, 3\): expected \({n}, 4\)',
    ):
        coder.decode(mb_loc, mb_conf, score_thresh=0.1)
    with pytest.raises(ValueError, match=rf'mb_conf \(1, {n}, 3\)'):
        coder.decode(np.zeros((1, n, 4)), np.zeros((1, n, 3)))


def test_nothing_found_is_empty(xp):
    coder = MultiboxCoder(**SPEC)
    n = len(coder.default_bbox)
    coder.default_bbox = xp.asarray(coder.default_bbox)
    bbox, label, score = coder.decode(
        xp.asarray(np.zeros((n, 4), 'f')), xp.asarray(np.tile(np.array([9, 0, 0], 'f'), (n, 1)))
    )
    assert bbox.shape == (0, 4) and label.shape == (0,) and score.shape == (0,)


@pytest.mark.gpu
def test_moves_to_a_gpu_and_back():
    import cupy

    coder = MultiboxCoder(**SPEC)
    assert isinstance(coder.to_gpu().default_bbox, cupy.ndarray)
    assert isinstance(coder.to_cpu().default_bbox, np.ndarray)


def random_predictions(coder, seed=0, n_class=4):
    rng = np.random.default_rng(seed)
    mb_loc = rng.normal(size=(len(coder.default_bbox), 4)).astype('f')
    # few distinct logits, so that many scores are equal
    return mb_loc, rng.integers(-2, 3, (len(coder.default_bbox), n_class)).astype('f')


@pytest.mark.parametrize('nms_thresh', [0.45, None])
@pytest.mark.parametrize('limits', [(5, None), (None, 7), (5, 7), (1, 1), (10**9, 10**9)])
def test_limits_equal_the_loop(xp, nms_thresh, limits):
    coder = MultiboxCoder(**SPEC)
    mb_loc, mb_conf = random_predictions(coder)
    nms_top_k, keep_top_k = limits
    bbox, label, score = coder.decode(mb_loc, mb_conf, None, 0.1)  # in the order of default boxes
    rows = []
    for each in range(3):
        of_class = np.flatnonzero(label == each)
        of_class = sorted(of_class, key=lambda i: -score[i])[:nms_top_k]  # sorted() is stable
        of_class = np.array(sorted(of_class))
        if nms_thresh is not None:
            kept = reference.non_maximum_suppression(
                bbox[of_class].tolist(), nms_thresh, score[of_class].tolist()
            )
            of_class = of_class[kept]
        rows += of_class.tolist()
    highest = sorted(range(len(rows)), key=lambda i: -score[rows[i]])[:keep_top_k]
    rows = [rows[i] for i in sorted(highest)]
    coder.default_bbox = xp.asarray(coder.default_bbox)
    found = coder.decode(
        xp.asarray(mb_loc),
        xp.asarray(mb_conf),
        nms_thresh,
        0.1,
        nms_top_k=nms_top_k,
        keep_top_k=keep_top_k,
    )
    for one, all_of_it in zip(found, (bbox, label, score)):
        np.testing.assert_array_equal(to_numpy(one), all_of_it[rows])
    unlimited = coder.decode(xp.asarray(mb_loc), xp.asarray(mb_conf), nms_thresh, 0.1)
    if limits == (10**9, 10**9):
        for one, other in zip(found, unlimited):
            np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    else:
        assert len(found[0]) < len(unlimited[0])


@pytest.mark.parametrize('name', ['nms_top_k', 'keep_top_k'])
@pytest.mark.parametrize(('value', 'error'), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_a_limit_that_is_no_limit_is_an_error(name, value, error):
    coder = MultiboxCoder(**SPEC)
    with pytest.raises(error, match=f'{name} = {value}: expected an integer >= 1'):
        coder.decode(*random_predictions(coder), **{name: value})
