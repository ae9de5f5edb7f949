"""Labels of a data set that a trained detector contradicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_fraction
from chainer_ssd.evaluation._arguments import check_flag_column, each_image
from chainer_ssd.ops import bbox_iou

_FREE_IOU = 0.3  # a box of a smaller IoU is another place


class SuspiciousLabel(NamedTuple):
    """A label that is perhaps wrong, or a place where one is perhaps missing.

    Attributes
    ----------
    kind : str
        ``'missing label'``, ``'swapped class'``, ``'repeated label'`` or ``'denied label'``.
    image : int
        Number of the image.
    bbox : tuple of 4 floats
        (y_min, x_min, y_max, x_max) in pixels of the label, or of the detection that has none.
    label : int
        Class of the label, or of the detection that has none.
    suspicion : float
        In [0, 1]. Higher is more suspicious.
    other_label : int or None
        For ``'swapped class'`` the class that the detector gives. For ``'repeated label'`` the
        class of the label that is there already.
    row : int or None
        Row of the label in its image. None for a ``'missing label'``.
    """

    kind: str
    image: int
    bbox: tuple[float, ...]
    label: int
    suspicion: float
    other_label: int | None
    row: int | None


def find_suspicious_labels(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    gt_difficults: Iterable[Array | None] | None = None,
    *,
    iou_thresh: float = 0.5,
    min_score: float = 0.5,
    max_score: float = 0.1,
    repeated_iou: float = 0.7,
) -> list[SuspiciousLabel]:
    """Return the labels that a trained detector contradicts, the most suspicious ones first.

    A label has at most one kind, the first that fits:

    - ``'repeated label'``: the IoU with an earlier label of the image is at least
      ``repeated_iou``. The suspicion is that IoU.
    - ``'swapped class'``: a detection of another class with a score of ``min_score`` or more has an
      IoU of ``iou_thresh`` or more. No detection of the label's class there has more than
      half of its score. The suspicion is the difference of both scores.
    - ``'denied label'``: no detection of any class with an IoU of 0.3 or more has a score above
      ``max_score``. The suspicion is 1 minus the highest score.

    A detection is a ``'missing label'`` if its score is at least ``min_score`` and its IoU with
    every label, and with every such detection of a higher score, is below 0.3. The suspicion is
    its score.

    Parameters
    ----------
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels
        See :func:`eval_detection_voc`. The scores are in [0, 1]. Detections of low scores are
        needed too (``use_preset('evaluate')``).
    gt_difficults : iterable of bool arrays of shape (R,), optional
        Labels of objects that are hard to see. They are never ``'denied label'``. Default, and
        None for an image: none.
    iou_thresh : float
        Minimum IoU of a detection with the label that it contradicts by its class.
    min_score : float
        Minimum score of a detection that contradicts. Raise it for fewer false alarms.
    max_score : float
        Highest score of a detection near a denied label. Lower it for fewer false alarms.
    repeated_iou : float
        Minimum IoU of two labels on one object.

    Returns
    -------
    list of SuspiciousLabel
        By falling suspicion, then in the order of the images.

    Raises
    ------
    ValueError
        If an option is outside [0, 1], and as :func:`eval_detection_voc`.
    TypeError
        As :func:`eval_detection_voc`.

    Warns
    -----
    UserWarning
        If there is no image.

    Notes
    -----
    A detector that was trained on the same labels repeats some of their faults. Labels of images
    that it was not trained on are judged more reliably.
    """
    options = {
        'iou_thresh': iou_thresh,
        'min_score': min_score,
        'max_score': max_score,
        'repeated_iou': repeated_iou,
    }
    for name, value in options.items():
        check_fraction(name, value)
    found: list[SuspiciousLabel] = []
    columns = pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels
    for i, (pred, (gt_bbox, gt_label, gt_difficult)) in enumerate(
        each_image(*columns, gt_difficults=gt_difficults)
    ):
        difficult = check_flag_column(gt_difficult, len(gt_bbox), f'gt_difficults[{i}]')
        iou = bbox_iou(pred[0], gt_bbox)
        found += _find_wrong_labels(i, pred, iou, gt_bbox, gt_label, difficult, options)
        found += _find_missing_labels(i, pred, iou, min_score)
    return sorted(found, key=lambda each: -each.suspicion)


def _find_wrong_labels(
    i: int,
    pred: tuple[Array, ...],
    iou: Array,
    gt_bbox: Array,
    gt_label: Array,
    difficult: Array,
    options: dict[str, float],
) -> Iterator[SuspiciousLabel]:
    _, pred_label, pred_score = pred
    among = bbox_iou(gt_bbox, gt_bbox)
    for row, label in enumerate(gt_label.tolist()):
        bbox = tuple(gt_bbox[row].tolist())
        earlier = among[row, :row]
        if earlier.max(initial=0) >= options['repeated_iou'] and row:
            other = int(earlier.argmax())
            yield SuspiciousLabel(
                'repeated label', i, bbox, label, float(earlier[other]), int(gt_label[other]), row
            )
            continue
        here = iou[:, row] >= options['iou_thresh']
        own = float(pred_score[here & (pred_label == label)].max(initial=0))
        others = np.where(here & (pred_label != label), pred_score, -1)
        highest = float(others.max(initial=-1))
        if highest >= options['min_score'] and own <= highest / 2:
            other_label = int(pred_label[others.argmax()])
            yield SuspiciousLabel('swapped class', i, bbox, label, highest - own, other_label, row)
            continue
        near = float(pred_score[iou[:, row] >= _FREE_IOU].max(initial=0))
        if near <= options['max_score'] and not difficult[row]:
            yield SuspiciousLabel('denied label', i, bbox, label, 1 - near, None, row)


def _find_missing_labels(
    i: int, pred: tuple[Array, ...], iou: Array, min_score: float
) -> Iterator[SuspiciousLabel]:
    pred_bbox, pred_label, pred_score = pred
    is_alone = (pred_score >= min_score) & (iou.max(axis=1, initial=0) < _FREE_IOU)
    rows = np.flatnonzero(is_alone)
    rows = rows[np.argsort(-pred_score[rows], kind='stable')]
    kept: list[int] = []
    for row in rows.tolist():
        if (bbox_iou(pred_bbox[[row]], pred_bbox[kept]) < _FREE_IOU).all():
            kept.append(row)
            yield SuspiciousLabel(
                'missing label',
                i,
                tuple(pred_bbox[row].tolist()),
                int(pred_label[row]),
                float(pred_score[row]),
                None,
                None,
            )
