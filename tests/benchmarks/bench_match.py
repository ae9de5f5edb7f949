"""Targets of one image: ChainerCV's encoder and our two transforms."""

import numpy as np

from chainer_ssd import EncodeTransform, MatchTransform, generate_default_bbox
from chainer_ssd.ops import SSD300_SPEC, center_to_corner
from tests.benchmarks._timing import Case

SIZES = [
    (1, ''),
    (5, '3.5 x at least, aim 8 x'),
    (20, '5 x at least, aim 9 x'),
    (100, '9 x at least, aim 12 x'),
    (500, ''),
]
DEFAULT_BBOX = generate_default_bbox(**SSD300_SPEC)
N_IMAGE = 4


def cases():
    """One case for each number of ground truths."""
    match, encode = MatchTransform(DEFAULT_BBOX), EncodeTransform(DEFAULT_BBOX)
    for n_truth, asked in SIZES:
        images = [make(n_truth, seed) for seed in range(N_IMAGE if n_truth < 500 else 1)]
        ways = {
            "ChainerCV's way": lambda images=images: [chainercv_encode(*image) for image in images],
            'ours': lambda images=images: [encode(match((None, *image)))[1:] for image in images],
        }
        for theirs, ours in zip(*(way() for way in ways.values())):
            np.testing.assert_array_equal(ours[1], theirs[1])
            positive = ours[1] > 0
            np.testing.assert_allclose(ours[0][positive], theirs[0][positive], atol=1e-4)
        yield Case(
            title=f'match + encode: R={n_truth}, K={len(DEFAULT_BBOX):,}',
            ways=ways,
            reference="ChainerCV's way",
            asked=asked,
            per_call=len(images),
        )


def make(n_truth, seed):
    """Boxes of 20 to 250 pixels anywhere in an image of 300, and their labels."""
    rng = np.random.default_rng((n_truth, seed))
    size = np.exp(rng.uniform(np.log(20), np.log(250), (n_truth, 2)))
    start = rng.uniform(0, 1, (n_truth, 2)) * (300 - size)
    bbox = np.concatenate((start, start + size), axis=1).astype('f')
    return bbox, rng.integers(0, 20, n_truth).astype('i')


def chainercv_encode(bbox, label, default_bbox=DEFAULT_BBOX):
    """The computation that ChainerCV makes: (K, R, 2) corners, argmax of all for each match."""
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
    more = (index < 0) & (iou.max(axis=1) >= 0.5)
    index[more] = iou[more].argmax(axis=1)

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
    """IoU by way of (A, B, 2) corners."""
    start = np.maximum(a[:, None, :2], b[:, :2])
    stop = np.minimum(a[:, None, 2:], b[:, 2:])
    both = np.prod(stop - start, axis=2) * (start < stop).all(axis=2)
    area_a, area_b = (np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (a, b))
    return both / (area_a[:, None] + area_b - both)
