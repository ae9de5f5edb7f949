"""A batch has the matches and the targets of its images, in NumPy's loop and padded."""

import warnings

import chainer
import numpy as np
import pytest

from chainer_ssd.ops import (
    CODE_TYPES,
    Encoder,
    Matcher,
    bbox_iou,
    center_to_corner,
    corner_to_center,
    encode,
    encode_batch,
    match_batch,
    padded_truths,
)
from chainer_ssd.ops.code_types import compute_offsets, to_code_form
from chainer_ssd.ops.padded_truths import encode_padded, match_padded, pad_rows, pad_truths
from tests.helpers import to_numpy

OPTIONS = [
    {},
    {'match_type': 'bipartite'},
    {'match_type': 'argmax'},
    {'neg_overlap': 0.25},
    {'match_type': 'bipartite', 'neg_overlap': 0.3, 'iou_thresh': 0.3},
    {'match_type': 'argmax', 'iou_thresh': 0},
    {'iou_thresh': 0},
    {'iou_thresh': 1},
    {'match_type': 'threshold'},
    {'match_type': 'threshold', 'neg_overlap': 0.25},
]
OUTSIDE = [{'ignore_outside': (4, 3)}, {'ignore_outside': (1, 1), 'match_type': 'argmax'}]


def make(rng, n_image=4, max_truth=7, side=4):
    """Return default boxes and ragged ground truths on a small grid, so that IoUs are tied."""

    def make_boxes(n, dtype):
        corner = rng.integers(0, side, (n, 2))
        return np.hstack([corner, corner + rng.integers(1, 4, (n, 2))]).astype(dtype)

    dtype = rng.choice(['f', 'd'])
    corners = make_boxes(rng.integers(1, 12), dtype)
    default_bbox = corner_to_center(corners)
    lens = rng.integers(0, max_truth + 1, n_image) * (rng.random(n_image) < 0.8)
    bboxes = [make_boxes(n, dtype) for n in lens]
    for bbox in bboxes:  # the same box twice
        if len(bbox) > 2 and rng.random() < 0.5:
            bbox[-1] = bbox[0]
    labels = [rng.integers(0, 20, n).astype('i') for n in lens]
    ignores = None
    if rng.random() < 0.5:
        fraction = rng.choice([0.2, 1])
        ignores = [None if rng.random() < 0.2 else rng.random(n) < fraction for n in lens]
    return default_bbox.astype(dtype), bboxes, labels, ignores


def match_images(default_bbox, bboxes, ignores, **options):
    matcher = Matcher(default_bbox, **options)
    return np.array(
        [
            matcher.assign(bbox, ignore)[0]
            for bbox, ignore in zip(bboxes, ignores or [None] * len(bboxes))
        ]
    )


@pytest.fixture(autouse=True)
def without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # more ground truths than default boxes
        yield


@pytest.mark.parametrize('options', OPTIONS, ids=str)
@pytest.mark.parametrize('block_bytes', [1 << 28, 1])
def test_padded_images_have_the_matches_of_one_image(options, block_bytes, monkeypatch):
    monkeypatch.setattr(padded_truths, 'BLOCK_BYTES', block_bytes)  # 1: image by image
    rng = np.random.default_rng(0)
    for _ in range(60):
        default_bbox, bboxes, _, ignores = make(rng)
        bboxes[0] = bboxes[0] if any(map(len, bboxes)) else np.array([(0, 0, 2, 2)], 'f')
        if ignores:
            ignores[0] = None
        columns = np.ascontiguousarray(center_to_corner(default_bbox).T)
        dtype = default_bbox.dtype
        truths = pad_truths(np, bboxes, ignores or [None] * len(bboxes), dtype)
        match_options = {'iou_thresh': 0.5, 'match_type': 'per_prediction', 'neg_overlap': None}
        index, overlaps = match_padded(
            np, columns, truths, **{**match_options, **options}, min_iou=1e-6
        )
        expected = match_images(default_bbox, bboxes, ignores, **options)
        np.testing.assert_array_equal(index, expected)
        assert index.dtype == expected.dtype
        for bbox, ignore, overlap in zip(bboxes, ignores or [None] * len(bboxes), overlaps):
            kept = bbox if ignore is None else bbox[~ignore]
            assert overlap == (bbox_iou(kept, columns.T) > 1e-6).any()


@pytest.mark.parametrize('code_type', CODE_TYPES)
@pytest.mark.parametrize('per_box', [False, True])
def test_padded_images_have_the_targets_of_one_image(per_box, code_type):
    rng = np.random.default_rng(0)
    for _ in range(60):
        default_bbox, bboxes, labels, ignores = make(rng)
        variance = (0.1, 0.2)
        if per_box:
            variance = rng.uniform(0.1, 2, default_bbox.shape)
        index = match_images(default_bbox, bboxes, ignores)
        dtype = np.result_type(default_bbox, *bboxes)
        encoder = Encoder(default_bbox, variance, code_type)
        found = encode_padded(
            np,
            to_code_form(code_type, pad_rows(np, bboxes, dtype)),
            pad_rows(np, labels, 'i'),
            index,
            lambda truth, encoder=encoder: (
                compute_offsets(code_type, truth, encoder.default_bbox) / encoder.variance
            ),
        )
        expected = zip(
            *(
                encode(default_bbox, bbox, label, each, variance, code_type)
                for bbox, label, each in zip(bboxes, labels, index)
            )
        )
        for a, b in zip(found, expected):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b[0].dtype


@pytest.mark.parametrize('on_device', [True, False])
@pytest.mark.parametrize('options', OPTIONS + OUTSIDE, ids=str)
def test_a_batch_equals_its_images(xp, options, on_device):
    rng = np.random.default_rng(1)
    for _ in range(15):
        default_bbox, bboxes, labels, ignores = make(rng)
        expected_index = match_images(default_bbox, bboxes, ignores, **options)
        expected = zip(
            *(encode(default_bbox, *each) for each in zip(bboxes, labels, expected_index))
        )
        default_bbox = xp.asarray(default_bbox)
        if on_device:
            bboxes, labels = ([xp.asarray(each) for each in arrays] for arrays in (bboxes, labels))
            ignores = ignores and [None if each is None else xp.asarray(each) for each in ignores]
        index = match_batch(default_bbox, bboxes, ignores=ignores, **options)
        targets = encode_batch(default_bbox, bboxes, labels, index)
        np.testing.assert_array_equal(to_numpy(index), expected_index)
        for a, b in zip(targets, expected):
            assert type(a) is type(default_bbox)
            np.testing.assert_allclose(to_numpy(a), b, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize('variance_in_target', [False, True])
@pytest.mark.parametrize('code_type', CODE_TYPES)
def test_each_code_has_the_targets_of_its_images(xp, code_type, variance_in_target):
    code = (0.1, 0.2), code_type, variance_in_target
    default_bbox, bboxes, labels, ignores = make(np.random.default_rng(2))
    index = match_images(default_bbox, bboxes, ignores)
    expected = zip(*(encode(default_bbox, *each, *code) for each in zip(bboxes, labels, index)))
    found = encode_batch(xp.asarray(default_bbox), bboxes, labels, xp.asarray(index), *code)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(to_numpy(a), b, rtol=2e-6, atol=1e-7)


def test_batches_without_images_or_truths_or_boxes(xp):
    default_bbox = xp.asarray([(5, 5, 10, 10), (50, 50, 10, 10)], 'f')
    for boxes in (default_bbox, default_bbox[:0]):
        for n_image in (0, 2):
            index = match_batch(boxes, [[]] * n_image)
            assert index.shape == (n_image, len(boxes)) and (index == -1).all()
            mb_locs, mb_labels = encode_batch(boxes, [[]] * n_image, [[]] * n_image, index)
            assert mb_locs.shape == (n_image, len(boxes), 4) and not mb_locs.any()
            assert mb_labels.shape == (n_image, len(boxes)) and not mb_labels.any()
    index = xp.asarray([[-1, -2]])
    assert encode_batch(default_bbox, [[]], [[]], index)[1].tolist() == [[0, -1]]


def test_errors_name_the_image():
    default_bbox = np.array([(5, 5, 10, 10)], 'f')
    good, bad = [(0, 0, 10, 10)], [(0, 0, 10, np.nan)]
    index = np.array([[0], [0]])
    with pytest.raises(ValueError, match=r'^image 1: bbox\[0\] = .*nan'):
        match_batch(default_bbox, [good, bad])
    with pytest.raises(ValueError, match=r'^image 1: bbox\[0\] = .*nan'):
        encode_batch(default_bbox, [good, bad], [[0], [0]], index)
    with pytest.raises(ValueError, match=r'^image 1: label\[0\] = -3: expected'):
        encode_batch(default_bbox, [good, good], [[0], [-3]], index)
    with pytest.raises(ValueError, match=r'^image 1: ignore has shape \(2,\): expected \(1,\)'):
        match_batch(default_bbox, [good, good], ignores=[None, np.array([True, False])])
    with pytest.raises(ValueError, match='ignores holds 1 images and bboxes 2'):
        match_batch(default_bbox, [good, good], ignores=[None])
    with pytest.raises(ValueError, match=r'bboxes holds 2 images, labels 1, and index has shape'):
        encode_batch(default_bbox, [good, good], [[0]], index)
    with pytest.raises(ValueError, match=r'expected \(B, 1\) for B images'):
        encode_batch(default_bbox, [good, good], [[0], [0]], index.T)


@pytest.mark.gpu
def test_on_a_gpu_values_on_the_cpu_are_checked():
    import cupy

    default_bbox = cupy.array([(5, 5, 10, 10)], 'f')
    bad = np.array([(0, 0, 10, np.nan)], 'f')
    with pytest.raises(ValueError, match=r'^image 0: bbox\[0\] = .*nan'):
        match_batch(default_bbox, [bad])
    match_batch(default_bbox, [cupy.asarray(bad)])
    with chainer.using_config('debug', True):
        with pytest.raises(ValueError, match=r'^image 0: bbox\[0\] = .*nan'):
            match_batch(default_bbox, [cupy.asarray(bad)])


@pytest.mark.parametrize('match_type', ['per_prediction', 'bipartite', 'argmax', 'threshold'])
def test_one_warning_if_no_image_fits(xp, match_type):
    default_bbox = xp.asarray([(50, 50, 10, 10), (20, 20, 10, 10)], 'f')
    far, near, small = [(70, 70, 80, 80)], [(20, 20, 30, 30)], [(0.1, 0.1, 0.9, 0.9)]
    with chainer.using_config('debug', True), warnings.catch_warnings():
        warnings.simplefilter('error')
        match_batch(default_bbox, [far, near, []], match_type=match_type)
        match_batch(default_bbox, [[], []], match_type=match_type)
        for bboxes in ([far, []], [small]):
            with pytest.warns(UserWarning, match='no ground truth fits the default boxes'):
                match_batch(default_bbox, bboxes, match_type=match_type)
