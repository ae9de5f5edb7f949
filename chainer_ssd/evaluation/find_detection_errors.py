"""What a detector misses, and what it detects where nothing is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.evaluation._paired_images import PairedImage, each_paired_image
from chainer_ssd.evaluation._voc_counts import FALSE_POSITIVE

_MIN_IOU = 0.1  # below it, a false detection is one of background


class DetectionError(NamedTuple):
    """A missed ground truth or a false detection.

    Attributes
    ----------
    kind : str
        ``'missed'``, or for a false detection ``'repeated'``, ``'wrong class'``, ``'inexact box'``
        or ``'background'``.
    image : int
        Number of the image.
    bbox : tuple of 4 floats
        (y_min, x_min, y_max, x_max) in pixels of the missed ground truth or the false detection.
    label : int
        Its class.
    score : float
        Score of the false detection. 0 for a missed ground truth.
    iou : float
        The largest IoU of the missed ground truth with a detection, or of the false detection
        with the ground truth that its kind refers to.
    other_label : int or None
        Class of the detection that takes the missed ground truth for another class, or of the
        ground truth of a ``'wrong class'``.
    map_cost : float
        By how much the mean average precision rises if the missed ground truth is found, at most:
        1 / (number of classes · number of ground truths of its class). 0 for a false detection.
    """

    kind: str
    image: int
    bbox: tuple[float, ...]
    label: int
    score: float
    iou: float
    other_label: int | None
    map_cost: float


def find_detection_errors(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    gt_difficults: Iterable[Array | None] | None = None,
    *,
    n_class: int,
    iou_thresh: float = 0.5,
    score_thresh: float | Sequence[float] = 0.5,
) -> tuple[list[DetectionError], list[DetectionError]]:
    """Return the missed ground truths, and the false detections with the reason of each.

    Only detections with a score of ``score_thresh`` or more count. Which ones are true, false or
    not counted is decided as for the average precision, see :func:`eval_detection_voc`. The first
    of these kinds that fits a false detection is its kind:

    - ``'repeated'``: a detection with a higher score has found the same ground truth.
    - ``'wrong class'``: the IoU with a ground truth of another class is at least ``iou_thresh``.
    - ``'inexact box'``: the IoU with a ground truth of its class is at least 0.1.
    - ``'background'``: none of these.

    Parameters
    ----------
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults, n_class, \
    iou_thresh, score_thresh
        See :func:`calc_detection_confusion_matrix`.

    Returns
    -------
    missed : list of DetectionError
        By falling ``map_cost``, then by falling area, then in the order of the images.
    false_detections : list of DetectionError
        By falling score, then in the order of the images.

    Raises
    ------
    ValueError, TypeError
        As :func:`calc_detection_confusion_matrix`.

    Warns
    -----
    UserWarning
        If there is no image.

    Notes
    -----
    Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors" (2020), has
    these kinds and thresholds.
    """
    missed: list[DetectionError] = []
    false: list[DetectionError] = []
    n_truth = np.zeros(n_class, int)
    columns = pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels
    for i, image in enumerate(
        each_paired_image(columns, gt_difficults, n_class, iou_thresh, score_thresh)
    ):
        n_truth += np.bincount(image.gt_label[~image.gt_difficult], minlength=n_class)
        missed += _find_missed(i, image)
        false += _find_false(i, image, iou_thresh)
    n_present = np.count_nonzero(n_truth)
    missed = [each._replace(map_cost=1 / (n_present * int(n_truth[each.label]))) for each in missed]
    missed.sort(key=lambda each: (-each.map_cost, -_area(each.bbox)))
    false.sort(key=lambda each: -each.score)
    return missed, false


def _find_missed(i: int, image: PairedImage) -> Iterator[DetectionError]:
    taken = {int(row): int(image.pred_label[j]) for j, row in enumerate(image.pair) if row >= 0}
    for row in np.flatnonzero(image.is_missed).tolist():
        yield DetectionError(
            'missed',
            i,
            tuple(image.gt_bbox[row].tolist()),
            int(image.gt_label[row]),
            0.0,
            float(image.iou[:, row].max(initial=0)),
            taken.get(row),
            0.0,
        )


def _find_false(i: int, image: PairedImage, iou_thresh: float) -> Iterator[DetectionError]:
    for j in np.flatnonzero(image.outcome == FALSE_POSITIVE).tolist():
        label = image.pred_label[j]
        has_label = image.gt_label == label
        same = float(image.iou[j, has_label].max(initial=0))
        other = float(image.iou[j, ~has_label].max(initial=0))
        kind, iou, other_label = 'background', max(same, other), None
        if same >= iou_thresh and has_label.any():
            kind, iou = 'repeated', same
        elif other >= iou_thresh and not has_label.all():
            row = image.pair[j]
            if row < 0:
                row = np.where(has_label, -1, image.iou[j]).argmax()
            kind, iou, other_label = 'wrong class', float(image.iou[j, row]), image.gt_label[row]
        elif same >= _MIN_IOU:
            kind, iou = 'inexact box', same
        yield DetectionError(
            kind,
            i,
            tuple(image.pred_bbox[j].tolist()),
            int(label),
            float(image.pred_score[j]),
            iou,
            None if other_label is None else int(other_label),
            0.0,
        )


def _area(bbox: Sequence[float]) -> float:
    return (bbox[2] - bbox[0]) * (bbox[3] - bbox[1])
