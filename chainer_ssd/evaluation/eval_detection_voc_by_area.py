"""Average precision of small, medium and large objects."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd._options import check_flag
from chainer_ssd.evaluation._arguments import check_iterable
from chainer_ssd.evaluation._voc_counts import count_by_class
from chainer_ssd.evaluation.eval_detection_voc import average_precision

#: COCO's areas of objects by name: minimum, and the maximum that no longer belongs to it, in
#: square pixels of the image.
COCO_AREAS = {
    'small': (0.0, 32.0**2),
    'medium': (32.0**2, 96.0**2),
    'large': (96.0**2, math.inf),
}


def eval_detection_voc_by_area(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    gt_difficults: Iterable[Array | None] | None = None,
    iou_thresh: float = 0.5,
    use_07_metric: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return the average precision of small, medium and large objects, by the rules of Pascal VOC.

    The areas are COCO's: up to 32², up to 96², and beyond, in square pixels of the image. Within
    an area, ground truths of other areas need not be found, like difficult ones. A detection that
    finds none is false only if its own area belongs there, as in COCO.

    Parameters
    ----------
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_difficults, iou_thresh
        As those of :func:`eval_detection_voc`. The area of an object is height times width of its
        box.
    use_07_metric : bool
        See :func:`eval_detection_voc`.

    Returns
    -------
    dict
        For ``'small'``, ``'medium'`` and ``'large'`` a dict of ``'ap'`` and ``'map'``, as
        :func:`eval_detection_voc` returns them, and of ``'n_truth'``, the number of ground truths
        that count. A class without any has NaN.

    Raises
    ------
    ValueError, TypeError
        As :func:`eval_detection_voc`.

    Warns
    -----
    UserWarning
        If there is no image.

    Notes
    -----
    This needs no pycocotools, and no more than an IoU of 0.5. COCO's own figures of the three
    areas are means over the IoU thresholds 0.5, 0.55, ..., 0.95 and take the areas of masks. They
    come from :func:`eval_detection_coco` with ``gt_areas``, which needs pycocotools.
    """
    check_flag('use_07_metric', use_07_metric)
    given = {
        'pred_bboxes': pred_bboxes,
        'pred_labels': pred_labels,
        'pred_scores': pred_scores,
        'gt_bboxes': gt_bboxes,
        'gt_labels': gt_labels,
    }
    for name, iterable in given.items():
        check_iterable(iterable, name)
    columns: Any = [list(iterable) for iterable in given.values()]
    difficults = gt_difficults
    if gt_difficults is not None:
        check_iterable(gt_difficults, 'gt_difficults')
        difficults = list(gt_difficults)
    result = {}
    for name, area_range in COCO_AREAS.items():
        counts = count_by_class(*[*columns, difficults, iou_thresh, area_range])
        ap, mean = average_precision(counts, use_07_metric)
        n_truth = sum(each.n_positive for each in counts if each is not None)
        result[name] = {'ap': ap, 'map': mean, 'n_truth': n_truth}
    return result
