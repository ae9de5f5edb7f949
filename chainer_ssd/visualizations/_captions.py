"""Texts of captions, and the places where they hide neither each other nor the objects."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.images.text import has_glyphs, text_mask
from chainer_ssd.visualizations._drawing import draw_text, font_size, line_width
from chainer_ssd.visualizations.colors import Color

_MAX_CAPTIONS = 100
_MIDDLE = 0.3  # of the height and width of a box: this part stays visible


def printable_names(label_names: Sequence[str]) -> list[str]:
    """Return the class names. A name with a missing glyph becomes ``'label <number>'``."""
    names = [
        name if has_glyphs(name) else f'label {label}' for label, name in enumerate(label_names)
    ]
    missing = [label for label, name in enumerate(label_names) if names[label] != name]
    if missing:
        name = label_names[missing[0]]
        warnings.warn(
            f'the font has no glyph for a letter of {name[:40]!r} (label {missing[0]}): the label '
            f"is drawn instead, for {len(missing)} of {len(names)} classes. matplotlib's "
            "rcParams['font.family'] chooses the font",
            stacklevel=3,
        )
    return names


def draw_captions(
    pixels: Array, bbox: Array, captions: Sequence[str], colors: Sequence[Color]
) -> None:
    """Draw the captions of the first 100 boxes, each if there is a free place for it."""
    shape = pixels.shape[:2]
    half = line_width(shape) / 2
    bbox = bbox[:_MAX_CAPTIONS].clip(0, shape * 2) + (-half, -half, half, half)
    masks = [text_mask(text, font_size(shape)) for text in captions[:_MAX_CAPTIONS]]
    places = place_captions(bbox, [mask.shape for mask in masks], shape)
    for mask, place, color in zip(masks, places, colors):
        if place is not None:
            draw_text(pixels, mask, place[0], place[1], color)


def place_captions(
    bbox: Array, sizes: Sequence[Sequence[int]], shape: Sequence[int]
) -> list[tuple | None]:
    """Find a place for the caption of each box: above it, below it, else inside.

    Parameters
    ----------
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max) in pixels.
    sizes : list of R tuples
        (height, width) of each caption.
    shape : tuple of int
        (H, W) of the image.

    Returns
    -------
    list of R tuples or None
        (top, left), inside the image. A place covers neither another caption nor the middle of a
        box. None where there is no such place.
    """
    center, half = (bbox[:, :2] + bbox[:, 2:]) / 2, (bbox[:, 2:] - bbox[:, :2]) * (_MIDDLE / 2)
    taken: Array = np.concatenate([center - half, center + half], axis=1)
    places: list[tuple | None] = [None] * len(bbox)
    for row, (box, size) in enumerate(zip(bbox.tolist(), sizes)):
        (top, left, bottom, right), (height, width) = box, size
        columns = np.array([left, right - width]).clip(0, max(shape[1] - width, 0))
        rows = top - height, bottom, top, bottom - height
        starts: Array = np.rint([(y, x) for y in rows for x in columns]).astype(int)
        ends = starts + size
        is_free = ((starts >= 0) & (ends <= shape)).all(axis=1)
        overlaps = (starts[:, None] < taken[:, 2:]) & (taken[:, :2] < ends[:, None])
        is_free &= ~overlaps.all(axis=2).any(axis=1)  # in both axes, with any of the taken ones
        if is_free.any():
            best = is_free.argmax()
            places[row] = tuple(starts[best].tolist())
            taken = np.concatenate([taken, [[*starts[best], *ends[best]]]])
    return places
