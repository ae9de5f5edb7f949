"""Detections beside ground truths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_fraction
from chainer_ssd.images import to_image
from chainer_ssd.ops import bbox_iou
from chainer_ssd.visualizations._boxes import Boxes, check_boxes, draw_boxes
from chainer_ssd.visualizations._captions import printable_names
from chainer_ssd.visualizations._drawing import count_of, heading, scaled_pixels
from chainer_ssd.visualizations.colors import RED
from chainer_ssd.visualizations.tile_images import tile_images

_MIN_SIDE, _MAX_SIDE = 400, 1000  # pixels of the longer side of a panel


def draw_detection(
    img: Array,
    bbox: Array,
    label: Array | None,
    score: Array | None,
    gt_bbox: Array,
    gt_label: Array | None,
    label_names: Sequence[str] | None = None,
    iou_thresh: float = 0.5,
) -> Array:
    """Draw ground truths on the left and detections on the right, and mark errors.

    The captions of missed ground truths and of false detections are red. The heading of each
    panel counts them.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0 to 255.
    bbox, label, score : arrays of shape (R, 4), (R,), (R,)
        Detections, see :func:`draw_bbox`. Without scores (None) the first row counts as the
        highest.
    gt_bbox, gt_label : arrays of shape (G, 4), (G,)
        Ground truths. Without ``label`` or ``gt_label`` (None) a detection may find any of them.
    label_names : sequence of str, optional
        Names of the classes.
    iou_thresh : float
        Minimum IoU, 0 to 1. By falling score, each detection takes the ground truth of its class
        with the largest IoU. The detection is false if that IoU is below the minimum, or if an
        earlier detection found the same ground truth.

    Returns
    -------
    uint8 array of shape (3, H', W')
        See :func:`draw_bbox`. The image is scaled so that its longer side has 400 to 1,000 pixels.

    Raises
    ------
    ValueError
        If ``iou_thresh`` is not in [0, 1], and as :func:`draw_bbox`.
    TypeError, ImportError
        As :func:`draw_bbox`.
    """
    check_fraction('iou_thresh', iou_thresh)
    detections = check_boxes(bbox, label, score, label_names).by_score()
    ground_truths = check_boxes(gt_bbox, gt_label, None, label_names)
    found = find_ground_truths(detections, ground_truths, iou_thresh)
    is_missed = ~np.isin(np.arange(len(ground_truths.bbox)), found)

    pixels, zoom = scaled_pixels(img, _MIN_SIDE, _MAX_SIDE)
    names = None if label_names is None else printable_names(label_names)
    panels = []
    for boxes, is_wrong, noun, adjective in (
        (ground_truths, is_missed, 'ground truth', 'missed'),
        (detections, found < 0, 'detection', 'false'),
    ):
        rows = np.argsort(~is_wrong, kind='stable')  # errors first: they get their captions first
        boxes = boxes.take(rows)
        boxes = boxes._replace(bbox=boxes.bbox * zoom)
        colors = [RED if wrong else c for wrong, c in zip(is_wrong[rows], boxes.colors())]
        panel = pixels.copy()
        draw_boxes(panel, boxes, names, colors)
        errors = f'{is_wrong.sum()} {adjective} (red)' if is_wrong.any() else f'none {adjective}'
        title = heading(f'{count_of(len(rows), noun)}, {errors}', panel.shape[1])
        panels.append(to_image(np.concatenate([title, panel])))
    return tile_images(panels)


def find_ground_truths(detections: Boxes, ground_truths: Boxes, iou_thresh: float) -> Array:
    """Return the row of the ground truth that each detection finds, the first ones first, or -1."""
    found = np.full(len(detections.bbox), -1)
    if not len(ground_truths.bbox):
        return found
    iou = bbox_iou(detections.bbox, ground_truths.bbox)
    if detections.label is not None and ground_truths.label is not None:
        iou = np.where(detections.label[:, None] == ground_truths.label, iou, -1)
    for row, best in enumerate(iou.argmax(axis=1)):
        if iou[row, best] >= iou_thresh and best not in found[:row]:
            found[row] = best
    return found
