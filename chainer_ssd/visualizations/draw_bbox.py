"""Boxes on an image."""

import math
import warnings

import numpy as np

from chainer_ssd.images.pixels import to_image, to_pixels
from chainer_ssd.images.text import can_write, shorten, text_mask
from chainer_ssd.visualizations._canvas import draw_frame, draw_text
from chainer_ssd.visualizations._caption_places import place_captions
from chainer_ssd.visualizations.colors import contrast_color, label_color

_OPACITY = 0.85  # of a caption's ground


def draw_bbox(img, bbox, label=None, score=None, label_names=None):
    """Draws boxes in the colours of their classes, with names and scores.

    Lines and letters grow with the image. A caption stands where it hides no other caption and no
    object; where there is no such place it is the score alone, or left out: the colour still tells
    the class. Boxes and captions of higher scores lie above the others.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0..255.
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max) in pixels; what lies outside the image is drawn at its border.
    label : integer array of shape (R,), optional
        Classes, counted from 0: :func:`label_color` of each.
    score : float array of shape (R,), optional
        Written with two digits.
    label_names : sequence of str, optional
        Names of the classes, in any script for which a font is installed; a warning says where
        there is none, and the number of the class stands for its name.

    Returns
    -------
    uint8 array of shape (3, H, W)
        A new image. In memory it lies pixel by pixel: ``drawn.transpose(1, 2, 0)`` is what Pillow
        and OpenCV (BGR for RGB apart) take without a copy.

    Raises
    ------
    ValueError
        If shapes disagree, a box is not finite (the message names its row) or a label has no name.
    ImportError
        If Pillow or matplotlib is missing (``pip install "chainer_ssd[data,plot]"``).

    Notes
    -----
    The arguments are those of ChainerCV's ``vis_bbox``, which returns matplotlib's axes.
    """
    pixels = to_pixels(img)
    bbox, label, score = check_boxes(bbox, label, score, label_names)
    if score is not None:
        order = np.argsort(-score, kind='stable')
        bbox, label, score = (rows_of(column, order) for column in (bbox, label, score))
    shape = pixels.shape[:2]
    bbox = bbox.clip(0, shape * 2)
    colors = box_colors(len(bbox), label)
    captions = box_captions(len(bbox), label, score, label_names, shape)
    draw_boxes(pixels, bbox, colors, captions)
    return to_image(pixels)


def draw_boxes(pixels, bbox, colors, captions, grounds=None):
    """Frames and captions, the first row above the others; ``grounds``: the captions' colours."""
    width = line_width(pixels.shape[:2])
    for box, color in zip(bbox[::-1].tolist(), colors[::-1]):
        draw_cased_frame(pixels, box, width, color)
    draw_captions(pixels, bbox, grounds or colors, captions)


def line_width(shape):
    """Pixels, for an image of ``shape`` (H, W)."""
    return max(1, round(math.sqrt(shape[0] * shape[1]) / 240))


def font_size(shape):
    """Pixels, for an image of ``shape`` (H, W)."""
    return max(10, round(math.sqrt(shape[0] * shape[1]) / 45))


def draw_cased_frame(pixels, box, width, color):
    """A frame within a thin line of black or white, so that it is seen on any ground."""
    casing = max(1, width // 3)
    outside = np.add(box, (-casing, -casing, casing, casing))
    draw_frame(pixels, outside, width, contrast_color(color), 0.6)
    draw_frame(pixels, box, width, color)


def draw_captions(pixels, bbox, colors, captions):
    """One of its captions at each box that has room for it; the first box chooses first.

    ``captions`` are R lists of texts, the best first.
    """
    shape = pixels.shape[:2]
    masks = [[text_mask(text, font_size(shape)) for text in texts] for texts in captions]
    half = line_width(shape) / 2
    placed = place_captions(bbox + (-half, -half, half, half), masks, shape)
    for place, color in reversed(list(zip(placed, colors))):
        if place is not None:
            draw_text(pixels, *place, contrast_color(color), color, _OPACITY)


def check_boxes(bbox, label, score, label_names):
    """The three as arrays; ValueError where they are not what :func:`draw_bbox` says."""
    bbox = np.asarray(bbox, np.float32)
    bbox = bbox.reshape(0, 4) if bbox.size == 0 else bbox
    if bbox.ndim != 2 or bbox.shape[1] != 4:
        raise ValueError(f'bbox has shape {bbox.shape}: expected (R, 4)')
    for row in np.flatnonzero(~np.isfinite(bbox).all(axis=1)):
        raise ValueError(f'bbox[{row}] = {tuple(bbox[row].tolist())}: expected finite numbers')
    columns = []
    for name, column in (('label', label), ('score', score)):
        column = None if column is None else np.asarray(column)
        if column is not None and column.shape != bbox.shape[:1]:
            raise ValueError(
                f'{name} has shape {column.shape}: expected {bbox.shape[:1]}, one for each box'
            )
        columns.append(column)
    label = columns[0]
    if label is not None and len(label):
        if label.dtype.kind not in 'iu':
            raise ValueError(f'label has dtype {label.dtype}: expected integers')
        wrong = label < 0 if label_names is None else (label < 0) | (label >= len(label_names))
        for row in np.flatnonzero(wrong):
            expected = '0 or more' if label_names is None else f'0 to {len(label_names) - 1}'
            raise ValueError(f'label[{row}] = {label[row]}: expected {expected}')
    return bbox, *columns


def written_names(label, label_names):
    """For each box the name of its class, or its number where no font has the letters."""
    names = []
    for i, name in enumerate(label_names):
        if not can_write(name):
            warnings.warn(
                f'no installed font has all letters of {name!r}: label {i} is written instead',
                stacklevel=4,
            )
            name = f'label {i}'
        names.append(name)
    return [names[i] for i in label]


def rows_of(column, rows):
    """Those rows, or None of None."""
    return None if column is None else column[rows]


def box_colors(n_box, label):
    """For each box that of its class; that of the first where there are no classes."""
    return [label_color(0)] * n_box if label is None else list(map(label_color, label))


def box_captions(n_box, label, score, label_names, shape):
    """For each box what may be written, the most telling first."""
    names = scores = [''] * n_box
    if label is not None and label_names is not None:
        size = font_size(shape)
        most = max(shape[1] / 3, 4 * size)
        names = [shorten(name, size, most) for name in written_names(label, label_names)]
    if score is not None:
        scores = [f'{value:.2f}' for value in score]
    return [[text for text in (f'{a} {b}'.strip(), b) if text] for a, b in zip(names, scores)]
