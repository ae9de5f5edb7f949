"""Which classes a detector takes for each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_integer
from chainer_ssd.evaluation._paired_images import each_paired_image
from chainer_ssd.evaluation._voc_counts import FALSE_POSITIVE, TRUE_POSITIVE

_MAX_CLASSES = 5000  # a matrix of 200 MB


def calc_detection_confusion_matrix(
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
) -> Array:
    """Return how often a ground truth of one class is detected as each class.

    Only detections with a score of ``score_thresh`` or more count. Each ground truth and each
    detection stands in at most one cell. They are paired in two passes:

    1. As for the average precision, see :func:`eval_detection_voc`. These pairs are the diagonal,
       and so the diagonal holds the true positives of the precision-recall curve at this score.
    2. By falling score, each other detection takes the ground truth with the largest IoU among
       those that are missed, have another class, and have an IoU of ``iou_thresh`` or more.

    What stays without a partner is paired with the background. A second detection of a ground
    truth that is found already is such a detection.

    Parameters
    ----------
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels
        See :func:`eval_detection_voc`.
    gt_difficults : iterable of bool arrays of shape (R,), optional
        Ground truths that are ignored. They stand in no cell. A detection of the same class whose
        largest IoU is with one of them stands in no cell either. A detection of another class
        counts as background. Default, and None for an image: none.
    n_class : int
        Number of classes without background, from 1 to 5,000.
    iou_thresh : float
        Minimum IoU of a pair, in [0, 1].
    score_thresh : float or sequence of n_class floats
        Minimum score of a detection, in [0, 1], the same for all classes or one for each. The
        threshold with the best F1 of :func:`summarize_detections` is a good one.

    Returns
    -------
    int64 array of shape (n_class + 1, n_class + 1)
        Row: class of the ground truth. Column: class of the detection. The last row holds false
        detections of background, the last column missed ground truths. The last cell of both is
        0, because nobody counts background.

    Raises
    ------
    ValueError
        If a label is ``n_class`` or more, an option is out of its range, and as
        :func:`eval_detection_voc`.
    TypeError
        As :func:`eval_detection_voc`.

    Warns
    -----
    UserWarning
        If there is no image.

    Examples
    --------
    >>> import numpy as np
    >>> bbox = np.array([(0, 0, 9, 9), (20, 20, 39, 39)], np.float32)
    >>> pred = [bbox], [np.array([0, 0])], [np.array([0.9, 0.8])]
    >>> calc_detection_confusion_matrix(*pred, [bbox], [np.array([0, 1])], n_class=2).tolist()
    [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    """
    check_integer('n_class', n_class, 1, _MAX_CLASSES)
    matrix = np.zeros((n_class + 1, n_class + 1), np.int64)
    columns = pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels
    for image in each_paired_image(columns, gt_difficults, n_class, iou_thresh, score_thresh):
        counts = (image.outcome == FALSE_POSITIVE) | (image.outcome == TRUE_POSITIVE)
        pair = image.pair[counts]
        truth = np.full(len(pair), n_class)
        truth[pair >= 0] = image.gt_label[pair[pair >= 0]]
        np.add.at(matrix, (truth, image.pred_label[counts]), 1)
        is_lost = image.is_missed
        is_lost[pair[pair >= 0]] = False
        np.add.at(matrix, (image.gt_label[is_lost], n_class), 1)
    return matrix
