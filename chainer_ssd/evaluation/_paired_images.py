"""Detections above a score, paired with the ground truths of their image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_fraction, check_integer, short_repr
from chainer_ssd._validation import raise_for_row
from chainer_ssd.evaluation._arguments import check_flag_column, each_image
from chainer_ssd.evaluation._voc_counts import (
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    assign_detections,
    falling,
    inclusive_iou,
)


class PairedImage(NamedTuple):
    """The detections of an image by falling score, its ground truths, and which belong together."""

    pred_bbox: Array
    pred_label: Array
    pred_score: Array
    gt_bbox: Array
    gt_label: Array
    gt_difficult: Array
    #: float array (N, R): IoU of detections and ground truths, with inclusive maxima.
    iou: Array
    #: int8 array (N,): outcome of each detection, as for the average precision.
    outcome: Array
    #: int array (N,): ground truth that a detection finds, or that it takes for another class.
    #: -1: none.
    pair: Array

    @property
    def is_missed(self) -> Array:
        """Which ground truths are neither difficult nor found by a detection of their class."""
        is_missed: Array = ~self.gt_difficult
        is_missed[self.pair[self.outcome == TRUE_POSITIVE]] = False
        return is_missed


def each_paired_image(
    columns: Sequence[Iterable[Array]],
    gt_difficults: Iterable[Array | None] | None,
    n_class: int,
    iou_thresh: float,
    score_thresh: float | Sequence[float],
) -> Iterator[PairedImage]:
    """Yield each image with its detections above the threshold, paired in two passes.

    The first pass is the one of the average precision. In the second pass each false positive, by
    falling score, takes the missed ground truth of another class with the largest IoU.
    """
    check_integer('n_class', n_class, 1)
    check_fraction('iou_thresh', iou_thresh)
    thresholds = _check_thresholds(score_thresh, n_class)
    for i, (pred, (gt_bbox, gt_label, difficult)) in enumerate(
        each_image(*columns, gt_difficults=gt_difficults)
    ):
        gt_difficult = check_flag_column(difficult, len(gt_bbox), f'gt_difficults[{i}]')
        for name, label in (('pred_labels', pred[1]), ('gt_labels', gt_label)):
            raise_for_row(f'{name}[{i}]', label, label < n_class, f'a class below {n_class}')
        order = falling(pred[2])
        order = order[pred[2][order] >= thresholds[pred[1][order]]]
        pred_bbox, pred_label, pred_score = (column[order] for column in pred)
        outcome, row = assign_detections(
            pred_bbox, pred_label, gt_bbox, gt_label, gt_difficult, iou_thresh
        )
        iou = inclusive_iou(pred_bbox, gt_bbox)
        pair = np.where(outcome == FALSE_POSITIVE, -1, row)
        image = PairedImage(
            pred_bbox, pred_label, pred_score, gt_bbox, gt_label, gt_difficult, iou, outcome, pair
        )
        is_free = image.is_missed
        for each in np.flatnonzero(outcome == FALSE_POSITIVE):
            fits = is_free & (iou[each] >= iou_thresh) & (gt_label != pred_label[each])
            if fits.any():
                pair[each] = np.where(fits, iou[each], -1).argmax()
                is_free[pair[each]] = False
        yield image


def _check_thresholds(score_thresh: float | Sequence[float], n_class: int) -> Array:
    """Return a threshold for each class."""
    if np.ndim(score_thresh) == 0:
        check_fraction('score_thresh', score_thresh)
        return np.full(n_class, float(score_thresh))  # type: ignore[arg-type]
    thresholds = np.asarray(score_thresh)
    is_number = thresholds.dtype.kind in 'fiu' and thresholds.shape == (n_class,)
    if not is_number or not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise ValueError(
            f'score_thresh = {short_repr(score_thresh)}: expected a number in [0, 1], or '
            f'{n_class} of them, one for each class'
        )
    return thresholds
