"""Average precision as Pascal VOC defines it."""
from itertools import zip_longest

import numpy as np

from chainer_ssd.ops import bbox_iou

# What became of a detection: the paper's true and false positive, and the one that found a
# difficult object and counts as neither.
_FALSE, _TRUE, _UNCOUNTED = 0, 1, -1


def eval_detection_voc(
        pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults=None,
        iou_thresh=0.5, use_07_metric=False):
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
        negative, a score or a coordinate is NaN or infinite, a ground truth is inverted, or
        ``iou_thresh`` lies outside [0, 1]. The message names the argument and the image.
    TypeError
        If labels are not integers, or boxes or scores not numbers.

    Notes
    -----
    Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge" (2010), section 4.2.
    The arguments and the figures are those of ChainerCV's ``eval_detection_voc``. Among equal
    scores the later detection of an image is the first to be matched, and the later image goes
    first in the precision-recall curve. That is ChainerCV's order where NumPy's default sort keeps
    ties as they stand; whether it does differs between releases and machines, the order here not.
    """
    iou_thresh = float(iou_thresh)
    if not 0 <= iou_thresh <= 1:
        raise ValueError(f'iou_thresh = {iou_thresh}: expected a number in [0, 1]')

    labels, scores, verdicts, positives = [], [], [], []
    for pred, gt in _each_image(
            pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults):
        pred_label, pred_score, verdict = _judge(*pred, *gt, iou_thresh)
        _, gt_label, gt_difficult = gt
        labels.append(pred_label)
        scores.append(pred_score)
        verdicts.append(verdict)
        positives.append((gt_label, ~gt_difficult))

    if not labels:
        return {'ap': np.zeros(0), 'map': float('nan')}
    label, score, verdict = map(np.concatenate, (labels, scores, verdicts))
    gt_label, counts = map(np.concatenate, zip(*positives))
    n_class = max(label.max(initial=-1), gt_label.max(initial=-1)) + 1
    n_positive = np.bincount(gt_label[counts], minlength=n_class)

    ap = np.full(n_class, np.nan)
    present = np.flatnonzero(n_positive)
    for i in present:
        mine = label == i
        ap[i] = _average_precision(score[mine], verdict[mine], n_positive[i], use_07_metric)
    return {'ap': ap, 'map': float(ap[present].mean()) if present.size else float('nan')}


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


def _average_precision(score, verdict, n_positive, use_07_metric):
    verdict = verdict[_falling(score)]
    n_true = np.cumsum(verdict == _TRUE)
    n_counted = np.cumsum(verdict != _UNCOUNTED)
    # recall = TP / P, precision = TP / (TP + FP), 0 as long as nothing counted
    recall = n_true / n_positive
    precision = n_true / np.maximum(n_counted, 1)
    # the precision still reached at this recall or beyond; 0 past the last detection
    reached = np.maximum.accumulate(np.append(precision, 0)[::-1])[::-1]
    if use_07_metric:
        return reached[np.searchsorted(recall, np.arange(11) * 0.1)].mean()
    return np.sum(np.diff(recall, prepend=0) * reached[:-1])


def _falling(score):
    """Indices by falling score, ties by falling index."""
    return np.argsort(score, kind='stable')[::-1]


def _each_image(pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults):
    """Yields the checked arrays of an image, its detections' and its ground truths'."""
    iterables = {
        'pred_bboxes': pred_bboxes, 'pred_labels': pred_labels, 'pred_scores': pred_scores,
        'gt_bboxes': gt_bboxes, 'gt_labels': gt_labels}
    if gt_difficults is not None:
        iterables['gt_difficults'] = gt_difficults
    end = object()
    for i, arrays in enumerate(zip_longest(*iterables.values(), fillvalue=end)):
        ended = [name for name, array in zip(iterables, arrays) if array is end]
        if ended:
            goes_on = next(name for name, array in zip(iterables, arrays) if array is not end)
            raise ValueError(
                f'{ended[0]} ends after {i} images and {goes_on} goes on: '
                'expected all iterables of one length')
        names = [f'{name}[{i}]' for name in iterables]
        bboxes, labels, scores = names[:3]
        pred_bbox = _as_bbox(bboxes, arrays[0])
        pred_label = _as_label(labels, arrays[1], bboxes, len(pred_bbox))
        pred_score = _as_score(scores, arrays[2], bboxes, len(pred_bbox))
        bboxes, labels = names[3:5]
        gt_bbox = _as_bbox(bboxes, arrays[3])
        inverted = np.flatnonzero((gt_bbox[:, :2] > gt_bbox[:, 2:]).any(axis=1))
        if inverted.size:
            raise ValueError(
                f'{bboxes}, row {inverted[0]}: {gt_bbox[inverted[0]].tolist()}, expected '
                '(y_min, x_min, y_max, x_max) with y_min <= y_max and x_min <= x_max')
        gt_label = _as_label(labels, arrays[4], bboxes, len(gt_bbox))
        gt_difficult = np.zeros(len(gt_bbox), dtype=bool)
        if len(arrays) == 6 and arrays[5] is not None:
            gt_difficult[:] = _of_length(names[5], arrays[5], bboxes, len(gt_bbox))
        yield (pred_bbox, pred_label, pred_score), (gt_bbox, gt_label, gt_difficult)


def _as_bbox(name, bbox):
    bbox = np.asarray(bbox)
    if bbox.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if bbox.dtype.kind not in 'fiu':
        raise TypeError(f'{name} has dtype {bbox.dtype}: expected numbers')
    if bbox.ndim != 2 or bbox.shape[1] != 4:
        raise ValueError(f'{name} has shape {bbox.shape}: expected (R, 4)')
    # float32 stays: an IoU at the threshold falls where it does in ChainerCV.
    bbox = bbox.astype(np.result_type(bbox, np.float32), copy=False)
    wrong = np.flatnonzero(~np.isfinite(bbox).all(axis=1))
    if wrong.size:
        raise ValueError(f'{name}, row {wrong[0]}: {bbox[wrong[0]].tolist()}, expected finite')
    return bbox


def _as_label(name, label, bboxes, length):
    label = _of_length(name, label, bboxes, length)
    if not length:
        return np.zeros(0, dtype=np.int64)
    if label.dtype.kind not in 'iu':
        raise TypeError(f'{name} has dtype {label.dtype}: expected integers')
    if label.min() < 0:
        row = int(label.argmin())
        raise ValueError(f'{name}, row {row}: {label[row]}, expected a class of 0 or more')
    return label.astype(np.int64)


def _as_score(name, score, bboxes, length):
    score = _of_length(name, score, bboxes, length)
    if score.dtype.kind not in 'fiu':
        raise TypeError(f'{name} has dtype {score.dtype}: expected numbers')
    wrong = np.flatnonzero(~np.isfinite(score))
    if wrong.size:
        raise ValueError(f'{name}, row {wrong[0]}: {score[wrong[0]]}, expected finite')
    return score


def _of_length(name, array, bboxes, length):
    array = np.asarray(array)
    if array.shape != (length,):
        raise ValueError(
            f'{name} has shape {array.shape}: expected ({length},), one a box of {bboxes}')
    return array
