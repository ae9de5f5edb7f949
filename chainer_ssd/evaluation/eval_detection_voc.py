"""Average precision as Pascal VOC defines it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_fraction
from chainer_ssd.evaluation._arguments import check_flag_column, each_image
from chainer_ssd.ops import bbox_iou

# Outcomes of a detection. A detection of a difficult ground truth is not counted.
_FALSE_POSITIVE, _TRUE_POSITIVE, _NOT_COUNTED = 0, 1, -1


def eval_detection_voc(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    gt_difficults: Iterable[Array | None] | None = None,
    iou_thresh: float = 0.5,
    use_07_metric: bool = False,
) -> dict:
    """Return the average precision of every class and their mean, by the rules of Pascal VOC.

    Within an image and a class, detections are taken by falling score. Each is assigned to the
    ground truth with the largest IoU. The first detection of a ground truth with an IoU of
    ``iou_thresh`` or more is a true positive. Every other detection is a false positive, unless
    its ground truth is difficult: then it is not counted.

    Parameters
    ----------
    pred_bboxes : iterable of arrays of shape (R', 4)
        Detected boxes of every image, (y_min, x_min, y_max, x_max) in pixels. The maxima are
        inclusive, as in VOC: a box from 3 to 3 is one pixel wide. So 1 is added to both maxima
        before the IoU. An inverted box overlaps nothing.
    pred_labels : iterable of int arrays of shape (R',)
        Their classes, counted from 0, without background.
    pred_scores : iterable of float arrays of shape (R',)
        Their scores, on any scale. Only their order matters.
    gt_bboxes : iterable of arrays of shape (R, 4)
        Ground truth boxes of every image, in the same coordinates.
    gt_labels : iterable of int arrays of shape (R,)
        Their classes.
    gt_difficults : iterable of bool arrays of shape (R,), optional
        Ground truths that need not be found. Default, and None for an image: none.
    iou_thresh : float
        Minimum IoU of a true positive, in [0, 1].
    use_07_metric : bool
        False: the area under the monotone precision-recall curve (VOC 2010 and later).
        True: the mean of its precision at recalls 0, 0.1, ..., 1 (VOC 2007).

    Returns
    -------
    dict
        ``'ap'``: float64 array of shape (n_class,), where n_class is the largest label + 1. NaN
        for a class without a ground truth that counts.
        ``'map'``: float, the mean of the others. NaN if there are none.

    Raises
    ------
    ValueError
        If the iterables are of unequal length, or shapes within an image disagree.
        If labels are not integers of 0 or more, or a score or a coordinate is not finite.
        If a ground truth is inverted, or a flag is neither False nor True (0 or 1).
        If ``iou_thresh`` is outside [0, 1]. The message names the argument and the image.
    TypeError
        If boxes, scores or flags are not numbers.

    Notes
    -----
    Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge" (2010), section 4.2.
    The arguments and the figures are those of ChainerCV's ``eval_detection_voc``. Among equal
    scores, the later detection of an image is matched first, and the later image comes first in
    the precision-recall curve. That is ChainerCV's order where NumPy's default sort keeps the
    order of equal values, which differs between releases and machines. The order here is fixed.
    """
    prec, rec = calc_detection_voc_prec_rec(
        pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults, iou_thresh
    )
    ap = np.full(len(rec), np.nan)
    present = [label for label, curve in enumerate(rec) if curve is not None]
    for label in present:
        ap[label] = _average_precision(prec[label], rec[label], use_07_metric)
    return {'ap': ap, 'map': float(ap[present].mean()) if present else float('nan')}


def calc_detection_voc_prec_rec(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    gt_difficults: Iterable[Array | None] | None = None,
    iou_thresh: float = 0.5,
) -> tuple[list[Array | None], list[Array | None]]:
    """Return precision and recall of every class over its detections, by the rules of Pascal VOC.

    :func:`eval_detection_voc` describes which detections are true positives, false positives or
    not counted. It computes the average precision from these curves.

    Parameters
    ----------
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults, iou_thresh
        As those of :func:`eval_detection_voc`.

    Returns
    -------
    prec : list of float64 arrays
        For each class up to the largest label, an array with one element per detection, by falling
        score. It is the fraction of true positives among the counted detections up to this one,
        or NaN as long as none is counted. None for a class without detections and ground truths.
    rec : list of float64 arrays
        The fraction of ground truths found up to this detection, without difficult ones. None for
        a class without a ground truth that counts.

    Raises
    ------
    ValueError, TypeError
        As :func:`eval_detection_voc`.

    Notes
    -----
    Returns what ChainerCV's function of this name returns. Element i belongs to the i-th highest
    score of the class, which is ``numpy.sort(scores)[::-1][i]``. A score threshold can only
    separate detections of unequal scores.
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
        order = _falling(pred_score)
        labels.append(pred_label[order])
        scores.append(pred_score[order])
        outcomes.append(
            _outcomes(
                pred_bbox[order], pred_label[order], gt_bbox, gt_label, gt_difficult, iou_thresh
            )
        )
        gt_labels_of_images.append(gt_label)
        counts.append(~gt_difficult)

    if not labels:
        return [], []
    label, score, outcome, gt_label, is_counted = map(
        np.concatenate, (labels, scores, outcomes, gt_labels_of_images, counts)
    )
    n_class = int(max(label.max(initial=-1), gt_label.max(initial=-1))) + 1
    n_positive = np.bincount(gt_label[is_counted], minlength=n_class)

    prec: list[Array | None] = [None] * n_class
    rec: list[Array | None] = [None] * n_class
    for i in np.union1d(label, gt_label):
        of_class = label == i
        ranked = outcome[of_class][_falling(score[of_class])]
        n_true = np.cumsum(ranked == _TRUE_POSITIVE)
        n_counted = np.cumsum(ranked != _NOT_COUNTED)
        # precision = TP / (TP + FP), recall = TP / P
        prec[i] = np.where(n_counted, n_true / np.maximum(n_counted, 1), np.nan)
        if n_positive[i]:
            rec[i] = n_true / n_positive[i]
    return prec, rec


def _outcomes(
    pred_bbox: Array,
    pred_label: Array,
    gt_bbox: Array,
    gt_label: Array,
    gt_difficult: Array,
    iou_thresh: float,
) -> Array:
    """Return the outcome of each detection of an image. Detections come by falling score."""
    outcome = np.full(len(pred_bbox), _FALSE_POSITIVE, dtype=np.int8)
    if len(gt_bbox) and len(pred_bbox):
        inclusive = np.array((0, 0, 1, 1), dtype=np.int8)
        iou = bbox_iou(pred_bbox + inclusive, gt_bbox + inclusive)
        iou[pred_label[:, None] != gt_label] = -1
        best = iou.argmax(axis=1)
        found = np.flatnonzero(iou.max(axis=1) >= iou_thresh)
        # np.unique returns the first detection of each ground truth. Later ones are false.
        outcome[found[np.unique(best[found], return_index=True)[1]]] = _TRUE_POSITIVE
        outcome[found[gt_difficult[best[found]]]] = _NOT_COUNTED
    return outcome


def _average_precision(prec: Array, rec: Array, use_07_metric: bool) -> float:
    # The precision still reached at this recall or beyond. It is 0 after the last detection, and
    # where no detection is counted yet.
    reached = np.maximum.accumulate(np.append(np.nan_to_num(prec), 0)[::-1])[::-1]
    if use_07_metric:
        return reached[np.searchsorted(rec, np.arange(11) * 0.1)].mean()
    return np.sum(np.diff(rec, prepend=0) * reached[:-1])


def _falling(score: Array) -> Array:
    """Return indices by falling score, ties by falling index."""
    return np.argsort(score, kind='stable')[::-1]
