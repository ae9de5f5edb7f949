"""Average precision as Pascal VOC defines it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_flag
from chainer_ssd.evaluation._voc_counts import ClassCounts, count_by_class

_N_INTERVAL = 10  # of recall, between the 11 points of VOC 2007


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
        True: the mean of its precision at recalls 0, 0.1, ..., 1 (VOC 2007). A recall of exactly
        0.3 counts as 0.3, see the notes.

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
        If a label is above 99,999, or an integer score above 2**53.
        If ``iou_thresh`` is outside [0, 1]. The message names the argument and the image.
    TypeError
        If boxes, scores or flags are not real numbers, an array is masked, or ``use_07_metric`` is
        neither False nor True.

    Warns
    -----
    UserWarning
        If there is no image, for example because the iterators are exhausted.

    Notes
    -----
    Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge" (2010), section 4.2.
    The arguments and the figures are those of ChainerCV's ``eval_detection_voc``. Among equal
    scores, the later detection of an image is matched first, and the later image comes first in
    the precision-recall curve. That is ChainerCV's order where NumPy's default sort keeps the
    order of equal values, which differs between releases and machines. The order here is fixed.

    With ``use_07_metric``, ChainerCV differs where a recall is exactly 0.3, 0.6 or 0.7. It compares
    with ``np.arange(11) * 0.1``, which is slightly above them, and so it misses their precision.
    Here and in Caffe's test, the recall is compared as a fraction of integers.
    """
    check_flag('use_07_metric', use_07_metric)
    counts = count_by_class(
        pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults, iou_thresh
    )
    ap, mean = average_precision(counts, use_07_metric)
    return {'ap': ap, 'map': mean}


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

    Warns
    -----
    UserWarning
        As :func:`eval_detection_voc`.

    Notes
    -----
    Returns what ChainerCV's function of this name returns. Element i belongs to the i-th highest
    score of the class, which is ``numpy.sort(scores)[::-1][i]``. A score threshold can only
    separate detections of unequal scores.
    """
    counts = count_by_class(
        pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults, iou_thresh
    )
    return precision_and_recall(counts)


def average_precision(counts: list[ClassCounts | None], use_07_metric: bool) -> tuple[Array, float]:
    """Return the average precision of each class, and the mean of those that are not NaN."""
    ap = np.full(len(counts), np.nan)
    for label, each in enumerate(counts):
        if each is not None and each.n_positive:
            ap[label] = _average_precision_of(each, use_07_metric)
    present = ap[~np.isnan(ap)]
    return ap, float(present.mean()) if len(present) else float('nan')


def precision_and_recall(
    counts: list[ClassCounts | None],
) -> tuple[list[Array | None], list[Array | None]]:
    """Return the curves of :func:`calc_detection_voc_prec_rec`."""
    prec = [None if each is None else _precision(each) for each in counts]
    rec = [
        None if each is None or not each.n_positive else each.n_true / each.n_positive
        for each in counts
    ]
    return prec, rec


def _precision(counts: ClassCounts) -> Array:
    # precision = TP / (TP + FP)
    n_true, n_counted, _ = counts
    return np.where(n_counted, n_true / np.maximum(n_counted, 1), np.nan)


def _average_precision_of(counts: ClassCounts, use_07_metric: bool) -> float:
    n_true, _, n_positive = counts
    # The precision still reached at this recall or beyond. It is 0 after the last detection, and
    # where no detection is counted yet.
    precision = np.append(np.nan_to_num(_precision(counts)), 0)
    reached = np.maximum.accumulate(precision[::-1])[::-1]
    if use_07_metric:
        # recall >= t / 10 in integers: 10 TP >= t P
        points = np.arange(_N_INTERVAL + 1) * n_positive
        return reached[np.searchsorted(n_true * _N_INTERVAL, points)].mean()
    return np.sum(np.diff(n_true / n_positive, prepend=0) * reached[:-1])
