"""True and false positives of each class, by the rules of Pascal VOC."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_fraction
from chainer_ssd.evaluation._arguments import check_flag_column, each_image
from chainer_ssd.ops import bbox_iou

# Outcomes of a detection. A detection of a difficult ground truth is not counted.
FALSE_POSITIVE, TRUE_POSITIVE, NOT_COUNTED = 0, 1, -1


class ClassCounts(NamedTuple):
    """Counts of a class over its N detections, by falling score."""

    #: int array (N,): true positives up to each detection.
    n_true: Array
    #: int array (N,): true and false positives up to each detection.
    n_counted: Array
    #: Ground truths that are not difficult.
    n_positive: int


def count_by_class(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    gt_difficults: Iterable[Array | None] | None,
    iou_thresh: float,
    area_range: tuple[float, float] | None = None,
) -> list[ClassCounts | None]:
    """Return the counts of each class up to the largest label, None for one that does not occur.

    The arguments are those of :func:`chainer_ssd.eval_detection_voc`. Ground truths outside
    ``area_range`` are taken as difficult, and false detections outside it are not counted.
    """
    check_fraction('iou_thresh', iou_thresh)
    labels, scores, outcomes, gt_labels_of_images, counts = [], [], [], [], []
    for i, (pred, (gt_bbox, gt_label, gt_difficult)) in enumerate(
        each_image(
            pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults=gt_difficults
        )
    ):
        gt_difficult = check_flag_column(gt_difficult, len(gt_bbox), f'gt_difficults[{i}]')
        pred_bbox, pred_label, pred_score = pred
        order = falling(pred_score)
        pred_bbox, pred_label = pred_bbox[order], pred_label[order]
        if area_range is not None:
            gt_difficult = gt_difficult | ~_is_within(gt_bbox, area_range)
        outcome, _ = assign_detections(
            pred_bbox, pred_label, gt_bbox, gt_label, gt_difficult, iou_thresh
        )
        if area_range is not None:
            outcome[(outcome == FALSE_POSITIVE) & ~_is_within(pred_bbox, area_range)] = NOT_COUNTED
        labels.append(pred_label)
        scores.append(pred_score[order])
        outcomes.append(outcome)
        gt_labels_of_images.append(gt_label)
        counts.append(~gt_difficult)

    if not labels:
        return []
    label, score, outcome, gt_label, is_counted = map(
        np.concatenate, (labels, scores, outcomes, gt_labels_of_images, counts)
    )
    n_class = int(max(label.max(initial=-1), gt_label.max(initial=-1))) + 1
    n_positive = np.bincount(gt_label[is_counted], minlength=n_class)

    classes: list[ClassCounts | None] = [None] * n_class
    for i in np.union1d(label, gt_label):
        of_class = label == i
        ranked = outcome[of_class][falling(score[of_class])]
        n_true = np.cumsum(ranked == TRUE_POSITIVE)
        n_counted = np.cumsum(ranked != NOT_COUNTED)
        classes[i] = ClassCounts(n_true, n_counted, int(n_positive[i]))
    return classes


def assign_detections(
    pred_bbox: Array,
    pred_label: Array,
    gt_bbox: Array,
    gt_label: Array,
    gt_difficult: Array,
    iou_thresh: float,
) -> tuple[Array, Array]:
    """Return the outcome of each detection of an image, and the row of its ground truth or -1.

    Detections come by falling score. A false positive has the row of the ground truth that an
    earlier detection has found.
    """
    outcome = np.full(len(pred_bbox), FALSE_POSITIVE, dtype=np.int8)
    row = np.full(len(pred_bbox), -1)
    if len(gt_bbox) and len(pred_bbox):
        iou = inclusive_iou(pred_bbox, gt_bbox)
        iou[pred_label[:, None] != gt_label] = -1
        best = iou.argmax(axis=1)
        found = np.flatnonzero(iou.max(axis=1) >= iou_thresh)
        row[found] = best[found]
        # np.unique returns the first detection of each ground truth. Later ones are false.
        outcome[found[np.unique(best[found], return_index=True)[1]]] = TRUE_POSITIVE
        outcome[found[gt_difficult[best[found]]]] = NOT_COUNTED
    return outcome, row


def inclusive_iou(pred_bbox: Array, gt_bbox: Array) -> Array:
    """Return the IoU of boxes whose maxima are inclusive, as in VOC."""
    inclusive = np.array((0, 0, 1, 1), dtype=np.int8)
    return bbox_iou(pred_bbox + inclusive, gt_bbox + inclusive)


def _is_within(bbox: Array, area_range: tuple[float, float]) -> Array:
    """Return which boxes have an area from the minimum up to below the maximum."""
    area = np.maximum(bbox[:, 2:] - bbox[:, :2], 0).astype(float).prod(axis=1)
    return (area >= area_range[0]) & (area < area_range[1])


def falling(score: Array) -> Array:
    """Return indices by falling score, ties by falling index."""
    return np.argsort(score, kind='stable')[::-1]
