"""Pixels: uint8 (H, W, 3), which the functions below draw on."""

import numpy as np

from chainer_ssd._extras import require


def resize(pixels, size):
    """Scaled to ``size`` (H, W), smooth."""
    Image = require('PIL.Image', 'data')
    return np.array(Image.fromarray(pixels).resize(size[::-1]))  # bicubic by default


def draw_frame(pixels, box, width, color, opacity=1.0):
    """The outline of ``box``: lines ``width`` pixels wide, centred on its edges.

    At the border of the image they stay inside at full width.
    """
    top, left, bottom, right = _lines(pixels, box, width)
    inner = slice(top + width, bottom)  # no corner twice
    for rows, columns in (
        (slice(top, top + width), slice(left, right + width)),
        (slice(max(bottom, top + width), bottom + width), slice(left, right + width)),
        (inner, slice(left, left + width)),
        (inner, slice(max(right, left + width), right + width)),
    ):
        _blend(pixels[rows, columns], color, opacity)


def _lines(pixels, box, width):
    """Where the four lines of a frame start."""
    most = np.maximum(np.array(pixels.shape[:2] * 2) - width, 0)
    return np.rint((np.array(box) - width / 2).clip(0, most)).astype(int).tolist()


def _blend(place, color, opacity):
    if opacity == 1:
        place[:] = color
    else:
        place[:] = place * (1 - opacity) + np.array(color) * opacity + 0.5


def draw_text(pixels, mask, top, left, color, ground, opacity=1.0):
    """Text of one colour on a ground of another, see :func:`text_mask`."""
    place = pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
    base = place + (np.array(ground, np.float32) - place) * np.float32(opacity)
    place[:] = np.rint(base + (np.array(color, np.float32) - base) * mask[:, :, None])
