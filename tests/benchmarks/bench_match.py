"""Targets of one image: ChainerCV's encoder and the two transforms of this package."""

import numpy as np

from chainer_ssd import EncodeTransform, MatchTransform, generate_default_bbox
from chainer_ssd.ops import SSD300_SPEC, center_to_corner
from tests.benchmarks._timing import Case

SIZES = [
    (1, ''),
    (5, 'at least 3.5 x faster (aim 8 x)'),
    (20, 'at least 5 x faster (aim 9 x)'),
    (100, 'at least 9 x faster (aim 12 x)'),
    (500, ''),
]
DEFAULT_BBOX = generate_default_bbox(**SSD300_SPEC)
N_IMAGE = 4


def cases():
    """Yield one case per number of ground truths."""
    match, encode = MatchTransform(DEFAULT_BBOX), EncodeTransform(DEFAULT_BBOX)
    for n_truth, goal in SIZES:
        images = [make(n_truth, seed) for seed in range(N_IMAGE if n_truth < 500 else 1)]
        functions = {
            "ChainerCV's computation": lambda images=images: [
                chainercv_encode(*image) for image in images
            ],
            'chainer_ssd': lambda images=images: [
                encode(match((None, *image)))[1:] for image in images
            ],
        }
        for expected, found in zip(*(function() for function in functions.values())):
            np.testing.assert_array_equal(found[1], expected[1])
            positive = found[1] > 0
            np.testing.assert_allclose(found[0][positive], expected[0][positive], atol=1e-4)
        yield Case(
            title=f'match + encode: R={n_truth}, K={len(DEFAULT_BBOX):,}',
            functions=functions,
            reference="ChainerCV's computation",
            goal=goal,
            items_per_call=len(images),
        )


def make(n_truth, seed):
    """Return boxes of 20 to 250 pixels in an image of 300 pixels, and their labels."""
    rng = np.random.default_rng((n_truth, seed))
    size = np.exp(rng.uniform(np.log(20), np.log(250), (n_truth, 2)))
    start = rng.uniform(0, 1, (n_truth, 2)) * (300 - size)
    bbox = np.concatenate((start, start + size), axis=1).astype('f')
    return bbox, rng.integers(0, 20, n_truth).astype('i')


def chainercv_encode(bbox, label, default_bbox=DEFAULT_BBOX):
    """ChainerCV's computation: corners of shape (K, R, 2), one argmax of all pairs per match."""
    iou = chainercv_bbox_iou(center_to_corner(default_bbox), bbox)
    index = np.full(len(default_bbox), -1)
    free = iou.copy()
    while True:
        box, truth = np.unravel_index(free.argmax(), free.shape)
        if free[box, truth] <= 1e-6:
            break
        index[box] = truth
        free[box] = 0
        free[:, truth] = 0
    above = (index < 0) & (iou.max(axis=1) >= 0.5)
    index[above] = iou[above].argmax(axis=1)

    matched = bbox[index]
    size = matched[:, 2:] - matched[:, :2]
    center = matched[:, :2] + size / 2
    loc = np.empty_like(matched)
    loc[:, :2] = (center - default_bbox[:, :2]) / (0.1 * default_bbox[:, 2:])
    loc[:, 2:] = np.log(size / default_bbox[:, 2:]) / 0.2
    mb_label = label[index] + 1
    mb_label[index < 0] = 0
    return loc.astype('f'), mb_label.astype('i')


def chainercv_bbox_iou(a, b):
    """Return IoU from corners of shape (A, B, 2)."""
    start = np.maximum(a[:, None, :2], b[:, :2])
    stop = np.minimum(a[:, None, 2:], b[:, 2:])
    intersection = np.prod(stop - start, axis=2) * (start < stop).all(axis=2)
    area_a, area_b = (np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (a, b))
    return intersection / (area_a[:, None] + area_b - intersection)
