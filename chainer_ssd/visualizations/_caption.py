"""Lines of text outside the image."""

import numpy as np

from chainer_ssd.images.text import shorten, text_mask
from chainer_ssd.visualizations._canvas import draw_text
from chainer_ssd.visualizations.colors import ALARM

FONT_SIZE = 13
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def captioned(pixels, text, alarm=False):
    """With a line of text above."""
    height = text_mask(text, FONT_SIZE).shape[0] + 4
    strip = np.full((height, pixels.shape[1], 3), ALARM if alarm else WHITE, np.uint8)
    write_line(strip, text, 2, alarm=alarm)
    return np.concatenate([strip, pixels])


def write_line(pixels, text, top, left=0, right=None, alarm=False):
    """From ``left`` on, or up to ``right``; shortened where it does not fit."""
    room = pixels.shape[1] - left if right is None else right - left
    mask = text_mask(shorten(text, FONT_SIZE, room), FONT_SIZE)
    if top + mask.shape[0] <= pixels.shape[0] and mask.shape[1] <= room:
        colors = (WHITE, ALARM) if alarm else (BLACK, WHITE)
        draw_text(pixels, mask, top, left if right is None else right - mask.shape[1], *colors)
