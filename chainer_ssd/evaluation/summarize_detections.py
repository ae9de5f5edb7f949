"""The figures of a detector, by class."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._files import none_if_nan
from chainer_ssd._options import check_flag, check_label_names
from chainer_ssd.evaluation._arguments import check_iterable
from chainer_ssd.evaluation._voc_counts import count_by_class
from chainer_ssd.evaluation.calc_detection_confusion_matrix import (
    calc_detection_confusion_matrix,
)
from chainer_ssd.evaluation.eval_detection_coco import evaluate_with_pycocotools
from chainer_ssd.evaluation.eval_detection_voc import (
    average_precision,
    eval_detection_voc,
    precision_and_recall,
)
from chainer_ssd.evaluation.eval_detection_voc_by_area import eval_detection_voc_by_area

_IOU_THRESH = 0.5
_OTHER_IOU_THRESHS = 0.3, 0.75  # found at all, and found exactly
_DEFAULT_SCORE = 0.5
_MAX_MATRIX_CLASSES = 300  # a matrix of 90,000 numbers in a JSON file
_COCO_KEYS = {
    'mAP@[.5:.95]': 'map/iou=0.50:0.95/area=all/max_dets=100',
    'mAP@.5': 'map/iou=0.50/area=all/max_dets=100',
    'mAP@.75': 'map/iou=0.75/area=all/max_dets=100',
}


def summarize_detections(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    gt_difficults: Iterable[Array] | None = None,
    *,
    label_names: Sequence[str],
    use_07_metric: bool = False,
) -> tuple[dict, tuple[list[Array | None], list[Array | None]]]:
    """Return the figures of a detector as a dict that JSON can hold, and its curves.

    Parameters
    ----------
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults
        See :func:`eval_detection_voc`. :func:`detect_dataset` returns them.
    label_names : sequence of str
        Names of all classes, in the order of the labels.
    use_07_metric : bool
        Whether the average precision is the 11-point mean of VOC 2007, see
        :func:`eval_detection_voc`.

    Returns
    -------
    summary : dict
        ``'map'``: mean average precision at an IoU of 0.5, by the rules of Pascal VOC.
        ``'use_07_metric'``: as given.
        ``'n_image'``: number of images.
        ``'classes'``: for each name a dict of ``'ap'``, ``'n_truth'`` (ground truths that are not
        difficult), ``'n_difficult'``, ``'n_detection'`` and ``'best_f1'``. The latter is a dict of
        ``'score_thresh'``, the score threshold with the largest F1, and of ``'f1'``,
        ``'precision'`` and ``'recall'`` there.
        F1 is 2 · precision · recall / (precision + recall).
        ``'by_area'``: for ``'small'``, ``'medium'`` and ``'large'`` objects a dict of ``'map'``,
        ``'n_truth'`` and ``'ap'`` by name, see :func:`eval_detection_voc_by_area`.
        ``'by_iou'``: for the IoU thresholds ``'0.3'`` and ``'0.75'`` a dict of ``'map'`` and of
        ``'ap'`` by name. Where the mAP at 0.3 is much larger, objects are found with inexact boxes.
        ``'confusion_matrix'``: a dict of ``'iou_thresh'``, ``'score_thresh'`` (of each class that
        with the best F1, or 0.5 without one), ``'labels'`` (the names, and None for background)
        and ``'matrix'``, see :func:`calc_detection_confusion_matrix`. None for more than 300
        classes.
        ``'coco'``: COCO's ``'mAP@[.5:.95]'``, ``'mAP@.5'`` and ``'mAP@.75'``, for which difficult
        ground truths are crowds. Only where pycocotools is installed.
        A figure that does not exist is None.
    curves : tuple of two lists
        Precision and recall of each class, as :func:`calc_detection_voc_prec_rec` returns them.
        None for a class without a ground truth that counts.

    Raises
    ------
    ValueError
        If a label has no name, a name stands twice, and as :func:`eval_detection_voc`.
    TypeError
        If ``label_names`` is not a sequence of str, and as :func:`eval_detection_voc`.

    Warns
    -----
    UserWarning
        If there is no image.
    """
    n_class = len(check_label_names(label_names))
    check_flag('use_07_metric', use_07_metric)
    iterables = {
        'pred_bboxes': pred_bboxes,
        'pred_labels': pred_labels,
        'pred_scores': pred_scores,
        'gt_bboxes': gt_bboxes,
        'gt_labels': gt_labels,
        'gt_difficults': () if gt_difficults is None else gt_difficults,
    }
    for name, iterable in iterables.items():
        check_iterable(iterable, name)
    columns: Any = [*map(list, iterables.values())]
    if gt_difficults is None:
        columns[5] = None
    counts = count_by_class(*[*columns, _IOU_THRESH])  # validates all columns
    n_unseen = n_class - len(counts)  # the result ends with the largest label
    if n_unseen < 0:
        raise ValueError(
            f'label {len(counts) - 1} occurs: expected one of the {n_class} label_names'
        )
    labels = columns[4]
    columns[5] = difficults = [
        np.zeros(len(gt_label), bool) if difficult is None else difficult
        for difficult, gt_label in zip(columns[5] or [None] * len(labels), labels)
    ]
    ap, mean_ap = average_precision(counts + [None] * n_unseen, use_07_metric)
    prec, rec = precision_and_recall(counts + [None] * n_unseen)
    label, score, gt_label, gt_difficult = (np.concatenate([*columns[i], []]) for i in (1, 2, 4, 5))
    classes = {}
    for i, name in enumerate(label_names):
        scores = np.sort(score[label == i])[::-1]
        n_difficult = int(gt_difficult[gt_label == i].sum())
        classes[name] = {
            'ap': none_if_nan(ap[i]),
            'n_truth': int((gt_label == i).sum()) - n_difficult,
            'n_difficult': n_difficult,
            'n_detection': len(scores),
            'best_f1': None if rec[i] is None else best_f1(prec[i], rec[i], scores),
        }
    summary: dict[str, Any] = {
        'map': none_if_nan(mean_ap),
        'use_07_metric': bool(use_07_metric),
        'n_image': len(labels),
        'classes': classes,
        'by_area': _summarize_areas(columns, label_names, use_07_metric),
        'by_iou': _summarize_ious(columns, label_names, use_07_metric),
        'confusion_matrix': None,
    }
    if n_class <= _MAX_MATRIX_CLASSES:
        summary['confusion_matrix'] = _summarize_confusion(columns, classes)
    if importlib.util.find_spec('pycocotools') is not None:
        coco = evaluate_with_pycocotools(columns[:5], None, difficults, has_only_all=True)
        summary['coco'] = {name: none_if_nan(coco[key]) for name, key in _COCO_KEYS.items()}
    return summary, (prec, rec)


def _summarize_areas(
    columns: Any, label_names: Sequence[str], use_07_metric: bool
) -> dict[str, dict[str, Any]]:
    areas = eval_detection_voc_by_area(*[*columns, _IOU_THRESH, use_07_metric])
    return {
        area: {'n_truth': figures['n_truth'], **_name_classes(figures, label_names)}
        for area, figures in areas.items()
    }


def _summarize_ious(
    columns: Any, label_names: Sequence[str], use_07_metric: bool
) -> dict[str, dict[str, Any]]:
    figures = {
        str(iou_thresh): eval_detection_voc(*[*columns, iou_thresh, use_07_metric])
        for iou_thresh in _OTHER_IOU_THRESHS
    }
    return {iou_thresh: _name_classes(each, label_names) for iou_thresh, each in figures.items()}


def _name_classes(figures: Mapping[str, Any], label_names: Sequence[str]) -> dict[str, Any]:
    """Return the mAP, and the AP of each class by its name."""
    ap = [none_if_nan(each) for each in figures['ap']]
    ap += [None] * (len(label_names) - len(ap))  # the figures end with the largest label
    return {'map': none_if_nan(figures['map']), 'ap': dict(zip(label_names, ap))}


def _summarize_confusion(columns: Any, classes: dict[str, Any]) -> dict[str, Any]:
    thresholds = best_score_thresholds({'classes': classes})
    options: Any = {'n_class': len(classes), 'score_thresh': thresholds}
    return {
        'iou_thresh': _IOU_THRESH,
        'score_thresh': thresholds,
        'labels': [*classes, None],
        'matrix': calc_detection_confusion_matrix(*columns, **options).tolist(),
    }


def best_score_thresholds(summary: Mapping[str, Any]) -> list[float]:
    """Return the score threshold of each class with the best F1, 0.5 where there is none.

    Parameters
    ----------
    summary : mapping
        What :func:`summarize_detections` returns.

    Returns
    -------
    list of float
        One for each class, in the order of the labels.
    """
    best = (each['best_f1'] for each in summary['classes'].values())
    return [_DEFAULT_SCORE if each is None else each['score_thresh'] for each in best]


def best_f1(prec: Array, rec: Array, score: Array) -> dict[str, float] | None:
    """Return the score threshold with the largest F1 and its figures, or None if F1 is 0.

    Parameters
    ----------
    prec, rec, score : float arrays of shape (N,)
        Precision, recall and score of the detections of a class, by falling score.

    Returns
    -------
    dict or None
        Keys ``'f1'``, ``'precision'``, ``'recall'`` and ``'score_thresh'``.
    """
    prec = np.nan_to_num(prec)
    f1 = 2 * prec * rec / np.maximum(prec + rec, np.finfo(float).tiny)
    f1[:-1][score[:-1] == score[1:]] = 0  # a threshold cannot separate equal scores
    if not f1.any():
        return None
    i = f1.argmax()
    figures = {'f1': f1[i], 'precision': prec[i], 'recall': rec[i], 'score_thresh': score[i]}
    return {name: float(figure) for name, figure in figures.items()}
