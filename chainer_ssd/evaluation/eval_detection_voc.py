"""Average precision as Pascal VOC defines it."""

import numpy as np

from chainer_ssd.evaluation._arguments import as_flag, each_image
from chainer_ssd.ops import bbox_iou

# What became of a detection: the paper's true and false positive, and the one that found a
# difficult object and counts as neither.
_FALSE, _TRUE, _UNCOUNTED = 0, 1, -1


def eval_detection_voc(
    pred_bboxes,
    pred_labels,
    pred_scores,
    gt_bboxes,
    gt_labels,
    gt_difficults=None,
    iou_thresh=0.5,
    use_07_metric=False,
):
    """Average precision of every class, and their mean, by the rules of Pascal VOC.

    Within an image and a class, detections are taken by falling score. Each goes to the ground
    truth that it overlaps most; the first that comes to a ground truth with an IoU of
    ``iou_thresh`` or more is right, every other is wrong, and one that goes to a difficult
    ground truth does not count.

    Parameters
    ----------
    pred_bboxes : iterable of arrays of shape (R', 4)
        Detected boxes of every image, (y_min, x_min, y_max, x_max) in pixels, inclusive as VOC
        has them: a box from 3 to 3 is one pixel wide, so that 1 is added to both maxima before
        the IoU. An inverted box overlaps nothing.
    pred_labels : iterable of int arrays of shape (R',)
        Their classes, 0 and up, without background.
    pred_scores : iterable of float arrays of shape (R',)
        Their scores; any scale, only the order counts.
    gt_bboxes : iterable of arrays of shape (R, 4)
        Ground truth boxes of every image, in the same coordinates.
    gt_labels : iterable of int arrays of shape (R,)
        Their classes.
    gt_difficults : iterable of bool arrays of shape (R,), optional
        Ground truths that need not be found. Without it, or with None for an image: none.
    iou_thresh : float
        The least IoU of a right detection, in [0, 1].
    use_07_metric : bool
        False: the area under the monotone precision-recall curve (VOC 2010 and later).
        True: the mean of its precision at recalls 0, 0.1, ..., 1 (VOC 2007).

    Returns
    -------
    dict
        ``'ap'``: float64 array of shape (n_class,), NaN for a class of which there is no
        ground truth that counts; n_class is the largest label met, plus 1.
        ``'map'``: float, the mean of the others; NaN if there are none.

    Raises
    ------
    ValueError
        If the iterables are of unequal length, or shapes within an image disagree, a label is
        negative, a score or a coordinate is NaN or infinite, a ground truth is inverted, a flag
        is neither False nor True (0 or 1), or ``iou_thresh`` lies outside [0, 1]. The message
        names the argument and the image.
    TypeError
        If labels are not integers, or boxes, scores or flags not numbers.

    Notes
    -----
    Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge" (2010), section 4.2.
    The arguments and the figures are those of ChainerCV's ``eval_detection_voc``. Among equal
    scores the later detection of an image is the first to be matched, and the later image goes
    first in the precision-recall curve. That is ChainerCV's order where NumPy's default sort keeps
    ties as they stand; whether it does differs between releases and machines, the order here not.
    """
    prec, rec = calc_detection_voc_prec_rec(
        pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults, iou_thresh
    )
    ap = np.full(len(rec), np.nan)
    present = [label for label, found in enumerate(rec) if found is not None]
    for label in present:
        ap[label] = _average_precision(prec[label], rec[label], use_07_metric)
    return {'ap': ap, 'map': float(ap[present].mean()) if present else float('nan')}


def calc_detection_voc_prec_rec(
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults=None, iou_thresh=0.5
):
    """Precision and recall of every class over its detections, by the rules of Pascal VOC.

    Which detections are right, wrong or not counted is said at :func:`eval_detection_voc`, whose
    average precision is drawn from these curves.

    Parameters
    ----------
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults, iou_thresh
        As those of :func:`eval_detection_voc`.

    Returns
    -------
    prec : list of float64 arrays
        Of each class, up to the largest label met, an array with an element a detection, by
        falling score: the share of right ones among those counted as far as there; NaN as long
        as none counted. None for a class that was not met at all.
    rec : list of float64 arrays
        The share of ground truths found as far as there, difficult ones left out. None for a
        class of which there is no ground truth that counts.

    Raises
    ------
    ValueError, TypeError
        As :func:`eval_detection_voc`.

    Notes
    -----
    Returns what ChainerCV's function of this name does. Element i belongs to the i-th highest
    score of the class, so that ``numpy.sort(scores)[::-1]`` of its detections stands beside it;
    a threshold cuts only between scores that differ.
    """
    iou_thresh = float(iou_thresh)
    if not 0 <= iou_thresh <= 1:
        raise ValueError(f'iou_thresh = {iou_thresh}: expected a number in [0, 1]')

    labels, scores, verdicts, positives = [], [], [], []
    for i, (pred, (gt_bbox, gt_label, gt_difficult)) in enumerate(
        each_image(
            pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults=gt_difficults
        )
    ):
        gt_difficult = as_flag(f'gt_difficults[{i}]', gt_difficult, f'gt_bboxes[{i}]', len(gt_bbox))
        pred_label, pred_score, verdict = _judge(*pred, gt_bbox, gt_label, gt_difficult, iou_thresh)
        labels.append(pred_label)
        scores.append(pred_score)
        verdicts.append(verdict)
        positives.append((gt_label, ~gt_difficult))

    if not labels:
        return [], []
    label, score, verdict = map(np.concatenate, (labels, scores, verdicts))
    gt_label, counts = map(np.concatenate, zip(*positives))
    n_class = max(label.max(initial=-1), gt_label.max(initial=-1)) + 1
    n_positive = np.bincount(gt_label[counts], minlength=n_class)

    prec, rec = [None] * n_class, [None] * n_class
    for i in np.union1d(label, gt_label):
        mine = label == i
        ranked = verdict[mine][_falling(score[mine])]
        n_true = np.cumsum(ranked == _TRUE)
        n_counted = np.cumsum(ranked != _UNCOUNTED)
        # precision = TP / (TP + FP), recall = TP / P
        prec[i] = np.where(n_counted, n_true / np.maximum(n_counted, 1), np.nan)
        if n_positive[i]:
            rec[i] = n_true / n_positive[i]
    return prec, rec


def _judge(pred_bbox, pred_label, pred_score, gt_bbox, gt_label, gt_difficult, iou_thresh):
    """One image: labels, scores and verdicts of its detections, by falling score."""
    order = _falling(pred_score)
    pred_bbox, pred_label, pred_score = pred_bbox[order], pred_label[order], pred_score[order]
    verdict = np.full(len(order), _FALSE, dtype=np.int8)
    if len(gt_bbox) and len(pred_bbox):
        inclusive = np.array((0, 0, 1, 1), dtype=np.int8)
        iou = bbox_iou(pred_bbox + inclusive, gt_bbox + inclusive)
        iou[pred_label[:, None] != gt_label] = -1
        best = iou.argmax(axis=1)
        found = np.flatnonzero(iou.max(axis=1) >= iou_thresh)
        # np.unique gives each ground truth's first detection; the others stay wrong.
        verdict[found[np.unique(best[found], return_index=True)[1]]] = _TRUE
        verdict[found[gt_difficult[best[found]]]] = _UNCOUNTED
    return pred_label, pred_score, verdict


def _average_precision(prec, rec, use_07_metric):
    # the precision still reached at this recall or beyond; 0 past the last detection, and as long
    # as nothing counted
    reached = np.maximum.accumulate(np.append(np.nan_to_num(prec), 0)[::-1])[::-1]
    if use_07_metric:
        return reached[np.searchsorted(rec, np.arange(11) * 0.1)].mean()
    return np.sum(np.diff(rec, prepend=0) * reached[:-1])


def _falling(score):
    """Indices by falling score, ties by falling index."""
    return np.argsort(score, kind='stable')[::-1]
