"""Detections of a batch, selected and suppressed on a GPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.ops import decode, suppress_batch

#: With more boxes of one class and image above the threshold, the CPU is the better place.
MAX_BOXES_OF_CLASS = 1024


class Detections(NamedTuple):
    """Detections of one image in NumPy arrays, in the dtype of the predictions."""

    bbox: Any
    label: Any
    score: Any


def decode_on_device(
    xp: Any,
    default_bbox: Array,
    variance: Any,
    mb_locs: Array,
    mb_confs: Array,
    nms_thresh: float | None,
    score_thresh: float,
    nms_top_k: int | None,
) -> list[Detections] | None:
    """Return the boxes of each image that are left after the suppression.

    The host waits for the device twice: for the numbers of boxes, and for the boxes.

    Parameters
    ----------
    xp : module
        CuPy, or NumPy in tests.
    default_bbox, variance
        Those of the coder, on the device.
    mb_locs, mb_confs : float arrays of shape (B, K, 4) and (B, K, C)
        Predictions. B, K and C are at least 1.
    nms_thresh, score_thresh, nms_top_k
        Options of :meth:`MultiboxCoder.decode`.

    Returns
    -------
    list of Detections, or None
        Detections of each image. None if a prediction is not finite, or one class has more than
        1,024 boxes.
    """
    n_image, n_box, n_class = mb_confs.shape
    score = mb_confs.astype(xp.promote_types(mb_confs.dtype, 'f'), copy=False)
    with np.errstate(over='ignore', under='ignore', invalid='ignore'):
        score = xp.exp(score - score.max(axis=2, keepdims=True))
        score /= score.sum(axis=2, keepdims=True)
        score = xp.ascontiguousarray(score[:, :, 1:].transpose(0, 2, 1))  # (B, C − 1, K)
        is_hit = score >= score_thresh
        # |x| < inf is False for NaN, too.
        is_finite = [
            (abs(array) < math.inf).all(axis=(1, 2))[:, None] for array in (mb_locs, mb_confs)
        ]
    counts = _to_cpu(xp.concatenate((is_hit.sum(axis=2), *is_finite), axis=1))
    if not counts[:, n_class - 1 :].all():
        return None
    counts = counts[:, : n_class - 1].astype(int)
    if nms_top_k is not None:
        counts = np.minimum(counts, nms_top_k)
    image, label = np.nonzero(counts)
    counts = counts[image, label]
    longest = counts.max(initial=0)
    if longest > MAX_BOXES_OF_CLASS:
        return None
    n_group = len(counts)
    if not n_group:
        return [
            Detections(np.zeros((0, 4), 'f'), np.zeros(0, 'i'), np.zeros(0, 'f'))
            for _ in range(n_image)
        ]

    group = xp.asarray(image), xp.asarray(label)
    is_candidate = xp.asarray(np.arange(longest) < counts[:, None])
    # By falling score. Ties go to the lower default box, and boxes below the threshold come last.
    falling = xp.where(is_hit[group], -score[group], math.inf)
    box = xp.argsort(falling, axis=1, kind='stable')[:, :longest]
    bbox = decode(
        default_bbox[box.ravel()], mb_locs[group[0][:, None], box].reshape(-1, 4), variance
    ).reshape(n_group, longest, 4)
    is_kept = is_candidate
    if nms_thresh is not None:
        is_kept = suppress_batch(bbox, is_candidate, nms_thresh)
    score = xp.take_along_axis(-falling, box, axis=1)
    dtype = xp.result_type(bbox, score)  # float32 holds each number of a default box
    packed = _to_cpu(
        xp.concatenate(
            [
                bbox.astype(dtype, copy=False),
                *(array[:, :, None].astype(dtype) for array in (score, box, is_kept)),
            ],
            axis=2,
        )
    )
    detections = []
    for i in range(n_image):
        is_own = image == i
        rows, is_kept = packed[is_own], packed[is_own][:, :, 6] > 0
        labels = np.repeat(label[is_own], is_kept.sum(axis=1)).astype('i')
        rows = rows[is_kept]
        if nms_thresh is None:  # class by class in the order of the default boxes
            order = np.lexsort((rows[:, 5], labels))
            rows, labels = rows[order], labels[order]
        detections.append(Detections(rows[:, :4], labels, rows[:, 4]))
    return detections


def _to_cpu(array: Array) -> Any:
    return array if isinstance(array, np.ndarray) else array.get()
