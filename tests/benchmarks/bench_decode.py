"""Detections of one image from score 0.01 on, which an evaluation uses."""

import numpy as np

from chainer_ssd import MultiboxCoder
from chainer_ssd.ops import SSD300_SPEC, bbox_iou, center_to_corner, encode
from tests.benchmarks._timing import Case

CODER = MultiboxCoder(**SSD300_SPEC)
N_IMAGE = 2
NMS_THRESH, SCORE_THRESH = 0.45, 0.01


def cases():
    """Yield one case per number of classes."""
    for n_class in 21, 81:
        images = [make(n_class, seed) for seed in range(N_IMAGE)]
        functions = {
            "ChainerCV's computation": lambda images=images: [
                chainercv_decode(*image) for image in images
            ],
            'chainer_ssd': lambda images=images: [
                CODER.decode(*image, NMS_THRESH, SCORE_THRESH) for image in images
            ],
        }
        for expected, found in zip(*(function() for function in functions.values())):
            np.testing.assert_array_equal(found[1], expected[1])
            for one, other in zip(found, expected):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)
        n_hit = np.mean([n_hits(mb_conf) for _, mb_conf in images])
        n_kept = np.mean([len(bbox) for bbox, _, _ in functions['chainer_ssd']()])
        yield Case(
            title=f'decode + NMS at score {SCORE_THRESH}: K={len(CODER.default_bbox):,}, '
            f'C={n_class}; {n_hit:,.0f} boxes over the threshold, {n_kept:,.0f} kept',
            functions=functions,
            reference="ChainerCV's computation",
            goal='at least 8 x faster (aim 12 x)',
            items_per_call=len(images),
        )


def make(n_class, seed):
    """Return predictions like those of a trained network, with objects and similar background."""
    rng = np.random.default_rng((n_class, seed))
    default_bbox = CODER.default_bbox
    corner = center_to_corner(default_bbox)
    mb_loc = rng.normal(0, 1, (len(default_bbox), 4)).astype('f')
    mb_conf = rng.normal(0, 0.8, (len(default_bbox), n_class)).astype('f')
    mb_conf += rng.normal(0, 0.5, n_class).astype('f')
    mb_conf[:, 0] += 6 + np.log(n_class)
    objects = [(rng.integers(1, n_class), rng.uniform(6, 12)) for _ in range(6)]
    similar = [(label, rng.uniform(2, 7)) for label in range(1, n_class)]
    for label, peak in objects + similar:
        size = np.exp(rng.uniform(np.log(25), np.log(220), 2))
        start = rng.uniform(0, 300 - size)
        truth = np.concatenate((start, start + size))[None].astype('f')
        iou = bbox_iou(truth, corner)[0]
        overlapping = np.flatnonzero(iou > 0.2)
        fraction = iou[overlapping] / iou.max()
        mb_conf[overlapping, label] += peak * fraction
        mb_conf[overlapping, 0] -= 0.6 * peak * fraction**2
        loc, _ = encode(default_bbox[overlapping], truth, [0], np.zeros(len(overlapping), 'i'))
        mb_loc[overlapping] = loc + rng.normal(0, 0.4, loc.shape)
    return mb_loc, mb_conf


def n_hits(mb_conf):
    """Return the number of pairs of box and class above the threshold."""
    return (softmax(mb_conf)[:, 1:] >= SCORE_THRESH).sum()


def softmax(mb_conf):
    """Softmax without subtraction of the maximum, as in ChainerCV."""
    score = np.exp(mb_conf)
    return score / score.sum(axis=1, keepdims=True)


def chainercv_decode(mb_loc, mb_conf):
    """ChainerCV's computation: decode all boxes, then filter each class."""
    default_bbox = CODER.default_bbox
    center = default_bbox[:, :2] + mb_loc[:, :2] * 0.1 * default_bbox[:, 2:]
    size = default_bbox[:, 2:] * np.exp(mb_loc[:, 2:] * 0.2)
    all_bbox = np.hstack((center - size / 2, center + size / 2))
    all_score = softmax(mb_conf)
    bbox, label, score = [], [], []
    for number in range(1, mb_conf.shape[1]):
        hit = all_score[:, number] >= SCORE_THRESH
        hit_bbox, hit_score = all_bbox[hit], all_score[hit, number]
        kept = chainercv_nms(hit_bbox, hit_score)
        bbox.append(hit_bbox[kept])
        label.append(np.full(len(kept), number - 1))
        score.append(hit_score[kept])
    return np.concatenate(bbox), np.concatenate(label), np.concatenate(score)


def chainercv_nms(bbox, score):
    """Compare one box after the other with those that were kept before."""
    order = np.argsort(-score, kind='stable')
    bbox = bbox[order]
    area = np.prod(bbox[:, 2:] - bbox[:, :2], axis=1)
    kept = np.zeros(len(bbox), bool)
    for i, box in enumerate(bbox):
        start, stop = np.maximum(box[:2], bbox[kept, :2]), np.minimum(box[2:], bbox[kept, 2:])
        intersection = np.prod(stop - start, axis=1) * (start < stop).all(axis=1)
        if not (intersection / (area[i] + area[kept] - intersection) >= NMS_THRESH).any():
            kept[i] = True
    return order[kept]
