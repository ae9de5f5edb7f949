"""Frames, text and headings on pixels: uint8 arrays (H, W, 3), which are changed in place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.images import resize_image, to_image, to_pixels
from chainer_ssd.images.text import shorten, text_mask
from chainer_ssd.visualizations.colors import WHITE, Color, contrast_color

HEADING_SIZE = 13  # font size in pixels
_MARGIN = 2  # pixels above and below a heading


def line_width(shape: Sequence[int]) -> int:
    """Return the width of a box's lines for an image of ``shape`` (H, W), in pixels."""
    return max(2, round(math.sqrt(shape[0] * shape[1]) / 240))


def font_size(shape: Sequence[int]) -> int:
    """Return the size of a caption's font for an image of ``shape`` (H, W), in pixels."""
    return max(10, round(math.sqrt(shape[0] * shape[1]) / 45))


def count_of(n: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f'{n:,} {noun}' if n == 1 else f'{n:,} {noun}s'


def scaled_pixels(img: Array, minimum: float, maximum: float = math.inf) -> tuple[Array, float]:
    """Return an image as pixels with the longer side within bounds, and the scale factor."""
    pixels = to_pixels(img)
    side = max(pixels.shape[:2])
    zoom = min(max(side, minimum), maximum) / side
    height, width = (max(1, round(n * zoom)) for n in pixels.shape[:2])
    return to_pixels(resize_image(to_image(pixels), (height, width))), zoom


def draw_frame(pixels: Array, box: Array, width: int, color: Color) -> None:
    """Draw the outline of a box: lines centred on its edges, inside the image at full width."""
    limit = np.maximum(np.array(pixels.shape[:2] * 2) - width, 0)
    starts = (np.array(box) - width / 2).clip(0, limit)
    top, left, bottom, right = np.floor(starts + 0.5).astype(int).tolist()
    for row in (top, bottom):
        pixels[row : row + width, left : right + width] = color
    for column in (left, right):
        pixels[top : bottom + width, column : column + width] = color


def draw_cased_frame(pixels: Array, box: Array, width: int, color: Color) -> None:
    """Draw a frame with a black or white line around it, so that any background shows it."""
    casing = max(1, width // 3)
    draw_frame(
        pixels, np.add(box, (-casing, -casing, casing, casing)), width, contrast_color(color)
    )
    draw_frame(pixels, box, width, color)


def draw_text(pixels: Array, mask: Array, top: int, left: int, color: Color) -> None:
    """Draw a text mask in black or white on a rectangle of ``color``, cut at the image's edges."""
    place = pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
    ink = np.subtract(contrast_color(color), color, dtype=np.float32)
    place[:] = np.rint(color + ink * mask[: place.shape[0], : place.shape[1], None])


def heading(text: str, width: int, color: Color = WHITE) -> Array:
    """Return pixels with a line of text, shortened to ``width``."""
    mask = text_mask(shorten(text, HEADING_SIZE, width), HEADING_SIZE)
    pixels = np.full((mask.shape[0] + 2 * _MARGIN, width, 3), color, np.uint8)
    draw_text(pixels, mask, _MARGIN, 0, color)
    return pixels
