"""Detections of one image at score 0.01, as an evaluation needs them."""

import numpy as np

from chainer_ssd import MultiboxCoder
from chainer_ssd.ops import SSD300_SPEC, bbox_iou, center_to_corner, encode
from tests.benchmarks._timing import Case

CODER = MultiboxCoder(**SSD300_SPEC)
N_IMAGE = 2
NMS_THRESH, SCORE_THRESH = 0.45, 0.01


def cases():
    """One case for each number of classes."""
    for n_class in 21, 81:
        images = [make(n_class, seed) for seed in range(N_IMAGE)]
        ways = {
            "ChainerCV's way": lambda images=images: [chainercv_decode(*image) for image in images],
            'ours': lambda images=images: [
                CODER.decode(*image, NMS_THRESH, SCORE_THRESH) for image in images
            ],
        }
        for theirs, ours in zip(*(way() for way in ways.values())):
            np.testing.assert_array_equal(ours[1], theirs[1])
            for one, other in zip(ours, theirs):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)
        n_hit = np.mean([n_hits(mb_conf) for _, mb_conf in images])
        n_kept = np.mean([len(bbox) for bbox, _, _ in ways['ours']()])
        yield Case(
            title=f'decode + NMS at score {SCORE_THRESH}: K={len(CODER.default_bbox):,}, '
            f'C={n_class}; {n_hit:,.0f} boxes over the threshold, {n_kept:,.0f} kept',
            ways=ways,
            reference="ChainerCV's way",
            asked='8 x at least, aim 12 x',
            per_call=len(images),
        )


def make(n_class, seed):
    """What a trained network says: logits that rise round objects and round look-alikes."""
    rng = np.random.default_rng((n_class, seed))
    default_bbox = CODER.default_bbox
    corner = center_to_corner(default_bbox)
    mb_loc = rng.normal(0, 1, (len(default_bbox), 4)).astype('f')
    mb_conf = rng.normal(0, 0.8, (len(default_bbox), n_class)).astype('f')
    mb_conf += rng.normal(0, 0.5, n_class).astype('f')
    mb_conf[:, 0] += 6 + np.log(n_class)
    objects = [(rng.integers(1, n_class), rng.uniform(6, 12)) for _ in range(6)]
    look_alikes = [(label, rng.uniform(2, 7)) for label in range(1, n_class)]
    for label, peak in objects + look_alikes:
        size = np.exp(rng.uniform(np.log(25), np.log(220), 2))
        start = rng.uniform(0, 300 - size)
        truth = np.concatenate((start, start + size))[None].astype('f')
        iou = bbox_iou(truth, corner)[0]
        near = np.flatnonzero(iou > 0.2)
        share = iou[near] / iou.max()
        mb_conf[near, label] += peak * share
        mb_conf[near, 0] -= 0.6 * peak * share**2
        loc, _ = encode(default_bbox[near], truth, [0], np.zeros(len(near), 'i'))
        mb_loc[near] = loc + rng.normal(0, 0.4, loc.shape)
    return mb_loc, mb_conf


def n_hits(mb_conf):
    """Boxes and classes over the threshold."""
    return (softmax(mb_conf)[:, 1:] >= SCORE_THRESH).sum()


def softmax(mb_conf):
    """Without a shift, as ChainerCV has it."""
    score = np.exp(mb_conf)
    return score / score.sum(axis=1, keepdims=True)


def chainercv_decode(mb_loc, mb_conf):
    """The computation that ChainerCV makes: all boxes decoded, class after class filtered."""
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
    """One box after the other, each against those that were kept before it."""
    order = np.argsort(-score, kind='stable')
    bbox = bbox[order]
    area = np.prod(bbox[:, 2:] - bbox[:, :2], axis=1)
    kept = np.zeros(len(bbox), bool)
    for i, box in enumerate(bbox):
        start, stop = np.maximum(box[:2], bbox[kept, :2]), np.minimum(box[2:], bbox[kept, 2:])
        both = np.prod(stop - start, axis=1) * (start < stop).all(axis=1)
        if not (both / (area[i] + area[kept] - both) >= NMS_THRESH).any():
            kept[i] = True
    return order[kept]
