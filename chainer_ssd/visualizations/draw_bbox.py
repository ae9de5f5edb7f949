"""Boxes on an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.images import to_image, to_pixels
from chainer_ssd.visualizations._boxes import check_boxes, draw_boxes
from chainer_ssd.visualizations._captions import printable_names

# Of a white image: the largest side, and the space beside the boxes.
_MAX_BLANK_SIDE, _MARGIN = 4096, 16


def draw_bbox(
    img: Array,
    bbox: Array,
    label: Array | None = None,
    score: Array | None = None,
    label_names: Sequence[str] | None = None,
) -> Array:
    """Draw boxes in the colours of their classes, with names and scores.

    The widths of lines and letters grow with the image. A caption stands above its box, below it,
    or inside. It hides neither another caption nor the middle of a box, and is left out where it
    has no such place. Boxes of higher scores are drawn above the others.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W), or None
        RGB, 0 to 255. None: a white image that holds the boxes, of at most 4,096 pixels.
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max) in pixels. What lies outside the image is drawn at its border.
    label : integer array of shape (R,), optional
        Classes, counted from 0. :func:`label_color` gives their colours.
    score : float array of shape (R,), optional
        Scores, written with two digits.
    label_names : sequence of str, optional
        Names of the classes. The font is the one that matplotlib chooses
        (``rcParams['font.family']``). Where it lacks a glyph of a name, the label is written
        instead, with a warning.

    Returns
    -------
    uint8 array of shape (3, H, W)
        A new image. ``drawn.transpose(1, 2, 0)`` is C-contiguous, as Pillow and OpenCV take it.
        OpenCV expects BGR.

    Raises
    ------
    ValueError
        If shapes disagree, the values of the image are not 0 to 255, a score is NaN, a box is not
        finite (the message names its row) or a label has no name.
    TypeError
        If boxes or scores are not numbers, or ``label_names`` is not a sequence of str.
    ImportError
        If Pillow or matplotlib is missing (``pip install "chainer_ssd[data,plot]"``).

    Warns
    -----
    UserWarning
        If the font lacks a glyph of a name.

    Notes
    -----
    The arguments are those of ChainerCV's ``vis_bbox``, which returns matplotlib's axes.
    """
    boxes = check_boxes(bbox, label, score, label_names).by_score()
    pixels = _blank_pixels(boxes.bbox) if img is None else to_pixels(img)
    names = None if label_names is None else printable_names(label_names)
    draw_boxes(pixels, boxes, names)
    return to_image(pixels)


def _blank_pixels(bbox: Array) -> Array:
    """Return white pixels that hold the boxes and a line below and beside them."""
    sides = np.ceil(bbox[:, 2:].max(axis=0, initial=0)).clip(0, _MAX_BLANK_SIDE - _MARGIN)
    return np.full((*(sides.astype(int) + _MARGIN), 3), 255, np.uint8)
