"""Average precision and recall as COCO defines them."""

import contextlib
import io

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd.evaluation._arguments import as_finite, as_flag, each_image

# (figure, IoU thresholds, areas of ground truths, most detections an image and class)
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
# pycocotools counts at 0.5, 0.55, ..., 0.95.
_IOU_THRESHS = {'0.50:0.95': slice(None), '0.50': slice(0, 1), '0.75': slice(5, 6)}


def eval_detection_coco(
    pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, gt_areas=None, gt_crowdeds=None
):
    """Average precision and recall of every class, and their means, by the rules of COCO.

    At each of the IoU thresholds 0.5, 0.55, ..., 0.95, within an image and a class, detections are
    taken by falling score. Each goes to the ground truth that it overlaps most among those that
    are still free; it is right if there is one with an IoU of the threshold or more. Average
    precision is the mean of the monotone precision-recall curve at recalls 0, 0.01, ..., 1,
    average recall the share of ground truths found.

    Parameters
    ----------
    pred_bboxes : iterable of arrays of shape (R', 4)
        Detected boxes of every image, (y_min, x_min, y_max, x_max) in pixels; height and width
        are the differences. An inverted box overlaps nothing.
    pred_labels : iterable of int arrays of shape (R',)
        Their classes, 0 and up, without background.
    pred_scores : iterable of float arrays of shape (R',)
        Their scores; any scale, only the order counts.
    gt_bboxes : iterable of arrays of shape (R, 4)
        Ground truth boxes of every image, in the same coordinates.
    gt_labels : iterable of int arrays of shape (R,)
        Their classes.
    gt_areas : iterable of float arrays of shape (R,), optional
        Their areas in square pixels: COCO's are those of the masks. Without it the figures of
        small, medium and large objects are left out; None for an image: the boxes' areas.
    gt_crowdeds : iterable of bool arrays of shape (R,), optional
        Crowds: they need not be found, and any number of detections may go to one, for which
        the intersection over the detection's own area stands in for the IoU. Without it, or
        with None for an image: none.

    Returns
    -------
    dict
        Twelve pairs, or without ``gt_areas`` the six of all areas: ``'ap/...'`` and ``'ar/...'``
        are float64 arrays of shape (n_class,), NaN for a class without a ground truth that
        counts, n_class being the largest label met, plus 1; ``'map/...'`` and ``'mar/...'`` are
        floats, the mean over the others, NaN if there are none:

        - ``'ap/iou=0.50:0.95/area=all/max_dets=100'``, also at ``iou=0.50`` and ``iou=0.75``;
        - ``'ar/iou=0.50:0.95/area=all/max_dets=100'``, also with ``max_dets=10`` and ``1``;
        - ``'ap/iou=0.50:0.95/area=small/max_dets=100'`` and ``'ar/...'``, also ``medium`` and
          ``large``: areas up to 32², 96², and beyond.

        ``'existent_labels'``: int array, the labels met, rising; ``'coco_eval'``: the
        ``pycocotools.cocoeval.COCOeval`` that the figures come from. ``max_dets`` is the number
        of detections of one image and one class that count, those of highest score.

    Raises
    ------
    ImportError
        If pycocotools is missing (``pip install "chainer_ssd[eval]"``).
    ValueError
        If the iterables are of unequal length, or shapes within an image disagree, a label or
        an area is negative, a number is NaN or infinite, a ground truth is inverted, or a flag
        is neither False nor True (0 or 1). The message names the argument and the image.
    TypeError
        If labels are not integers, or boxes, scores, areas or flags not numbers.

    Notes
    -----
    Lin et al., "Microsoft COCO: Common Objects in Context" (2014), and
    https://cocodataset.org/#detection-eval. The arguments and the figures are those of
    ChainerCV's function of this name; so is the rounding of corners and sides to hundredths of
    a pixel, which COCO's own result files have.
    """
    COCO = require('pycocotools.coco', 'eval').COCO
    COCOeval = require('pycocotools.cocoeval', 'eval').COCOeval

    preds, gts, n_image = [], [], 0
    for pred, (gt_bbox, gt_label, gt_area, gt_crowded) in each_image(
        pred_bboxes,
        pred_labels,
        pred_scores,
        gt_bboxes,
        gt_labels,
        gt_areas=gt_areas,
        gt_crowdeds=gt_crowdeds,
    ):
        if gt_area is not None:
            _check_area(f'gt_areas[{n_image}]', gt_area, f'gt_bboxes[{n_image}]')
        gt_crowded = as_flag(
            f'gt_crowdeds[{n_image}]', gt_crowded, f'gt_bboxes[{n_image}]', len(gt_bbox)
        )
        n_image += 1  # ids start from 1: pycocotools marks with 0 what is not matched
        preds += _annotations(n_image, *pred)
        gts += _annotations(n_image, gt_bbox, gt_label, area=gt_area, crowded=gt_crowded)
    existent_labels = np.unique([each['category_id'] for each in preds + gts]).astype(int)

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
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
        coco_eval.evaluate()
        coco_eval.accumulate()

    result = {'coco_eval': coco_eval, 'existent_labels': existent_labels}
    figures = _FIGURES if gt_areas is None else _FIGURES + _FIGURES_OF_AREAS
    for figure, iou, area, max_dets in figures:
        of_label = np.full(existent_labels.max(initial=-1) + 1, np.nan)
        of_label[existent_labels] = _mean(coco_eval, figure, iou, area, max_dets)
        known = of_label[~np.isnan(of_label)]
        key = f'{figure}/iou={iou}/area={area}/max_dets={max_dets}'
        result[key] = of_label
        result[f'm{key}'] = float(known.mean()) if known.size else float('nan')
    return result


def _check_area(name, area, bboxes):
    area = as_finite(name, area, bboxes, len(area))
    wrong = np.flatnonzero(area < 0)
    if wrong.size:
        raise ValueError(f'{name}, row {wrong[0]}: {area[wrong[0]]}, expected 0 or more')


def _annotations(image, bbox, label, score=None, area=None, crowded=None):
    """The boxes of an image as COCO's files hold them, without ids."""
    top_left, sides = bbox[:, :2], bbox[:, 2:] - bbox[:, :2]
    xywh = np.round(np.concatenate((top_left[:, ::-1], sides[:, ::-1]), axis=1), 2)
    columns = {
        'bbox': xywh,
        'category_id': label,
        'score': score,
        'iscrowd': crowded,
        # An inverted detection has none, so that it is not ignored as smaller than all.
        'area': np.maximum(sides, 0).prod(axis=1) if area is None else area,
    }
    columns = {key: column.tolist() for key, column in columns.items() if column is not None}
    return [{'image_id': image, **dict(zip(columns, row))} for row in zip(*columns.values())]


def _mean(coco_eval, figure, iou, area, max_dets):
    """One of the figures for each class that was met; NaN without ground truths."""
    if figure == 'ap':
        value = coco_eval.eval['precision']  # (threshold, recall, class, area, max_dets)
    else:
        value = coco_eval.eval['recall'][:, None]
    params = coco_eval.params
    value = value[
        _IOU_THRESHS[iou], :, :, params.areaRngLbl.index(area), params.maxDets.index(max_dets)
    ]
    # -1, at all thresholds and recalls, where there is nothing to be found
    return np.where((value < 0).any(axis=(0, 1)), np.nan, value.mean(axis=(0, 1)))
