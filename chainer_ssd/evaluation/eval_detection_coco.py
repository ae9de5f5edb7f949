"""Average precision and recall as COCO defines them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._extras import require
from chainer_ssd.evaluation._arguments import check_flag_column, check_number_column, each_image
from chainer_ssd.ops import swap_xy

# (figure, IoU thresholds, areas of ground truths, maximum number of detections per image and class)
_FIGURES = [
    ('ap', '0.50:0.95', 'all', 100),
    ('ap', '0.50', 'all', 100),
    ('ap', '0.75', 'all', 100),
    ('ar', '0.50:0.95', 'all', 1),
    ('ar', '0.50:0.95', 'all', 10),
    ('ar', '0.50:0.95', 'all', 100),
]
_FIGURES_OF_AREAS = [
    (figure, '0.50:0.95', area, 100)
    for figure in ('ap', 'ar')
    for area in ('small', 'medium', 'large')
]
# pycocotools evaluates at 0.5, 0.55, ..., 0.95.
_IOU_THRESHS = {'0.50:0.95': slice(None), '0.50': slice(0, 1), '0.75': slice(5, 6)}


def eval_detection_coco(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    gt_areas: Iterable[Array | None] | None = None,
    gt_crowdeds: Iterable[Array | None] | None = None,
) -> dict:
    """Return average precision and recall of every class, and their means, by the rules of COCO.

    At each of the IoU thresholds 0.5, 0.55, ..., 0.95, within an image and a class, detections are
    taken by falling score. Each takes the free ground truth with the largest IoU. It is a true
    positive if that IoU reaches the threshold. Average precision is the mean of the monotone
    precision-recall curve at recalls 0, 0.01, ..., 1. Average recall is the fraction of ground
    truths found.

    Parameters
    ----------
    pred_bboxes : iterable of arrays of shape (R', 4)
        Detected boxes of every image, (y_min, x_min, y_max, x_max) in pixels. Height and width
        are the differences. An inverted box overlaps nothing.
    pred_labels : iterable of int arrays of shape (R',)
        Their classes, counted from 0, without background.
    pred_scores : iterable of float arrays of shape (R',)
        Their scores, on any scale. Only their order matters.
    gt_bboxes : iterable of arrays of shape (R, 4)
        Ground truth boxes of every image, in the same coordinates.
    gt_labels : iterable of int arrays of shape (R,)
        Their classes.
    gt_areas : iterable of float arrays of shape (R,), optional
        Their areas in square pixels. COCO's are those of the masks. None for an image: the areas
        of its boxes. Default: the figures of small, medium and large objects are left out.
    gt_crowdeds : iterable of bool arrays of shape (R,), optional
        Crowds. They need not be found, and any number of detections may be assigned to one. The
        intersection over the detection's own area then replaces the IoU. Default, and None for
        an image: none.

    Returns
    -------
    dict
        Twelve pairs, or without ``gt_areas`` the six of all areas. ``'ap/...'`` and ``'ar/...'``
        are float64 arrays of shape (n_class,), where n_class is the largest label + 1. They are
        NaN for a class without a ground truth that counts. ``'map/...'`` and ``'mar/...'`` are
        floats, the mean over the other classes, NaN if there are none:

        - ``'ap/iou=0.50:0.95/area=all/max_dets=100'``, also at ``iou=0.50`` and ``iou=0.75``.
        - ``'ar/iou=0.50:0.95/area=all/max_dets=100'``, also with ``max_dets=10`` and ``1``.
        - ``'ap/iou=0.50:0.95/area=small/max_dets=100'`` and ``'ar/...'``, also ``medium`` and
          ``large``: areas up to 32², 96², and beyond.

        ``'existent_labels'`` is an int array of the labels that occur, rising. ``'coco_eval'`` is
        the ``pycocotools.cocoeval.COCOeval`` that computed the figures. ``max_dets`` is the number
        of detections per image and class that count, those of the highest scores.

    Raises
    ------
    ImportError
        If pycocotools is missing (``pip install "chainer_ssd[eval]"``).
    ValueError
        If the iterables are of unequal length, or shapes within an image disagree.
        If labels are not integers of 0 or more, an area is negative, or a number is not finite.
        If a ground truth is inverted, or a flag is neither False nor True (0 or 1).
        If a label is above 99,999, or an integer score above 2**53.
        The message names the argument and the image.
    TypeError
        If boxes, scores, areas or flags are not real numbers, or an array is masked.

    Warns
    -----
    UserWarning
        If there is no image, for example because the iterators are exhausted.

    Notes
    -----
    Lin et al., "Microsoft COCO: Common Objects in Context" (2014), and
    https://cocodataset.org/#detection-eval. The arguments and the figures are those of
    ChainerCV's function of this name. Both round corners and sides to hundredths of a pixel, as
    COCO's result files do.
    """
    columns = pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels
    return evaluate_with_pycocotools(columns, gt_areas, gt_crowdeds)


def evaluate_with_pycocotools(
    columns: Any,
    gt_areas: Iterable[Array | None] | None,
    gt_crowdeds: Iterable[Array | None] | None,
    has_only_all: bool = False,
) -> dict:
    """Return what :func:`eval_detection_coco` returns.

    With ``has_only_all``, pycocotools evaluates no small, medium and large objects. It then takes
    a quarter of the time. ``gt_areas`` must be None.
    """
    COCO = require('pycocotools.coco', 'eval').COCO
    COCOeval = require('pycocotools.cocoeval', 'eval').COCOeval

    preds, gts, n_image = [], [], 0
    for pred, (gt_bbox, gt_label, gt_area, gt_crowded) in each_image(
        *columns, gt_areas=gt_areas, gt_crowdeds=gt_crowdeds
    ):
        if gt_area is not None:
            gt_area = check_number_column(gt_area, len(gt_bbox), f'gt_areas[{n_image}]', minimum=0)
        gt_crowded = check_flag_column(gt_crowded, len(gt_bbox), f'gt_crowdeds[{n_image}]')
        n_image += 1  # ids start from 1, because 0 means "not matched" in pycocotools
        preds += _annotations(n_image, *pred)
        gts += _annotations(n_image, gt_bbox, gt_label, area=gt_area, crowded=gt_crowded)
    existent_labels = np.unique([each['category_id'] for each in preds + gts]).astype(int)

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        cocos = []
        for annotations in (gts, preds):
            coco = COCO()
            coco.dataset = {
                'images': [{'id': i + 1} for i in range(n_image)],
                'categories': [{'id': label} for label in existent_labels.tolist()],
                'annotations': [{'id': i + 1, **each} for i, each in enumerate(annotations)],
            }
            coco.createIndex()
            cocos.append(coco)
        coco_eval = COCOeval(*cocos, 'bbox')
        if has_only_all:
            coco_eval.params.areaRng = coco_eval.params.areaRng[:1]
            coco_eval.params.areaRngLbl = coco_eval.params.areaRngLbl[:1]
        coco_eval.evaluate()
        coco_eval.accumulate()

    result = {'coco_eval': coco_eval, 'existent_labels': existent_labels}
    figures = _FIGURES if gt_areas is None else _FIGURES + _FIGURES_OF_AREAS
    for figure, iou, area, max_dets in figures:
        values = np.full(existent_labels.max(initial=-1) + 1, np.nan)
        values[existent_labels] = _mean_by_class(coco_eval, figure, iou, area, max_dets)
        finite = values[~np.isnan(values)]
        key = f'{figure}/iou={iou}/area={area}/max_dets={max_dets}'
        result[key] = values
        result[f'm{key}'] = float(finite.mean()) if finite.size else float('nan')
    return result


def _annotations(
    image: int,
    bbox: Array,
    label: Array,
    score: Array | None = None,
    area: Array | None = None,
    crowded: Array | None = None,
) -> list[dict]:
    """Return the boxes of an image as in COCO's files, without ids."""
    sides = bbox[:, 2:] - bbox[:, :2]
    xywh = np.round(swap_xy(np.concatenate((bbox[:, :2], sides), axis=1)), 2)
    columns = {
        'bbox': xywh,
        'category_id': label,
        'score': score,
        'iscrowd': crowded,
        # 0 for an inverted detection. pycocotools would ignore a negative area.
        'area': np.maximum(sides, 0).prod(axis=1) if area is None else area,
    }
    columns = {key: column.tolist() for key, column in columns.items() if column is not None}
    return [{'image_id': image, **dict(zip(columns, row))} for row in zip(*columns.values())]


def _mean_by_class(coco_eval: Any, figure: str, iou: str, area: str, max_dets: int) -> Array:
    """Return a figure of each class that occurs, NaN without ground truths."""
    if figure == 'ap':
        value = coco_eval.eval['precision']  # (threshold, recall, class, area, max_dets)
    else:
        value = coco_eval.eval['recall'][:, None]
    params = coco_eval.params
    value = value[
        _IOU_THRESHS[iou], :, :, params.areaRngLbl.index(area), params.maxDets.index(max_dets)
    ]
    # pycocotools sets -1 where a class has no ground truth that counts.
    return np.where((value < 0).any(axis=(0, 1)), np.nan, value.mean(axis=(0, 1)))
