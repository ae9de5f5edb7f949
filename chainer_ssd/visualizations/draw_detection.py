"""Detections beside what there was to detect."""

import numpy as np

from chainer_ssd.images.pixels import to_image, to_pixels
from chainer_ssd.ops import bbox_iou
from chainer_ssd.visualizations._canvas import resize
from chainer_ssd.visualizations._caption import captioned
from chainer_ssd.visualizations.colors import ALARM
from chainer_ssd.visualizations.draw_bbox import (
    box_captions,
    box_colors,
    check_boxes,
    draw_boxes,
    rows_of,
)
from chainer_ssd.visualizations.tile_images import tile_images

_SIDE = 400, 1000  # pixels of the longer side of a panel, from and to


def draw_detection(img, bbox, label, score, gt_bbox, gt_label, label_names=None, iou_thresh=0.5):
    """Draws ground truths on the left and detections on the right, and says what went wrong.

    The captions of missed ground truths and of false detections are red; each panel's heading
    counts them.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0..255.
    bbox, label, score : arrays of shape (R, 4), (R,), (R,)
        Detections, see :func:`draw_bbox`. Without scores (None) the first row counts as the
        highest.
    gt_bbox, gt_label : arrays of shape (G, 4), (G,)
        Ground truths. Without ``label`` or ``gt_label`` (None) a detection may find any of them.
    label_names : sequence of str, optional
        Names of the classes.
    iou_thresh : float
        By falling score a detection finds the ground truth of its class that it overlaps most,
        if their IoU is at least this and no other has found that one; else it is false.

    Returns
    -------
    uint8 array of shape (3, H', W')
        See :func:`draw_bbox`. The image is scaled so that its longer side has 400 to 1,000 pixels.

    Raises
    ------
    ValueError, ImportError
        As :func:`draw_bbox`.
    """
    bbox, label, score = check_boxes(bbox, label, score, label_names)
    gt_bbox, gt_label, _ = check_boxes(gt_bbox, gt_label, None, label_names)
    if score is not None:
        order = np.argsort(-score, kind='stable')
        bbox, label, score = (rows_of(column, order) for column in (bbox, label, score))
    found = find(bbox, label, gt_bbox, gt_label, iou_thresh)
    false, missed = found < 0, ~np.isin(np.arange(len(gt_bbox)), found)

    pixels = to_pixels(img)
    side = max(pixels.shape[:2])
    zoom = min(max(side, _SIDE[0]), _SIDE[1]) / side
    if zoom != 1:
        pixels = resize(pixels, tuple(max(1, round(n * zoom)) for n in pixels.shape[:2]))
    panels = []
    for boxes, labels, scores, wrong, heading in (
        (
            gt_bbox,
            gt_label,
            None,
            missed,
            _heading(len(gt_bbox), 'ground truth', missed.sum(), 'missed'),
        ),
        (bbox, label, score, false, _heading(len(bbox), 'detection', false.sum(), 'false')),
    ):
        panel = pixels.copy()
        rows = np.argsort(~wrong, kind='stable')  # what is wrong first has the room for a caption
        labels, scores = rows_of(labels, rows), rows_of(scores, rows)
        colors = box_colors(len(rows), labels)
        captions = box_captions(len(rows), labels, scores, label_names, pixels.shape[:2])
        draw_boxes(
            panel,
            (boxes[rows] * zoom).clip(0, panel.shape[:2] * 2),
            colors,
            captions,
            [ALARM if w else color for w, color in zip(wrong[rows], colors)],
        )
        panels.append(to_image(captioned(panel, heading)))
    return tile_images(panels)


def find(bbox, label, gt_bbox, gt_label, iou_thresh):
    """Which ground truth each detection finds, those before it first; -1 for none."""
    found = np.full(len(bbox), -1)
    if not len(gt_bbox):
        return found
    iou = bbox_iou(bbox, gt_bbox)
    if label is not None and gt_label is not None:
        iou = np.where(label[:, None] == gt_label, iou, -1)
    for row, best in enumerate(iou.argmax(axis=1)):
        if iou[row, best] >= iou_thresh and best not in found[:row]:
            found[row] = best
    return found


def _heading(n, noun, n_wrong, wrong):
    return f'{n} {noun}{"" if n == 1 else "s"}, ' + (
        f'{n_wrong} {wrong} (red)' if n_wrong else f'none {wrong}'
    )
