"""Text as masks, in the font that matplotlib's font manager chooses."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._extras import require


def has_glyphs(text: str) -> bool:
    """Return whether the font has a glyph for every letter of a text.

    Parameters
    ----------
    text : str
        Any text. White space needs no glyph.

    Returns
    -------
    bool
        False if a letter is missing.
    """
    return {ord(letter) for letter in text if not letter.isspace()} <= _letters(_font_path())


def text_mask(text: str, size: int) -> Array:
    """Return a text in one line as a mask, which is read-only.

    Parameters
    ----------
    text : str
        Any text. White space becomes single blanks.
    size : int
        Font size in pixels.

    Returns
    -------
    float32 array of shape (H, W)
        0 for background to 1 for ink. The height depends on the font and its size only.
    """
    return _render(_font_path(), _line(text), size)


def shorten(text: str, size: int, width: float) -> str:
    """Return a text, or as much of its beginning as fits, with three dots.

    Parameters
    ----------
    text : str
        Any text.
    size : int
        Font size in pixels.
    width : float
        Maximum width of its mask in pixels.

    Returns
    -------
    str
        The text in one line.
    """
    text = _line(text)
    short = text[: max(0, int(width))]  # a visible letter has a width of 1 pixel or more
    if short == text and _width(text, size) <= width:
        return text
    while short and _width(short + '…', size) > width:
        short = short[:-1]
    return short.rstrip() + '…'


@functools.lru_cache(maxsize=4096)
def _render(path: str, line: str, size: int) -> Array:
    Image, ImageDraw = require('PIL.Image', 'data'), require('PIL.ImageDraw', 'data')
    font = _font(path, size)
    ascent, descent = font.getmetrics()
    image = Image.new('L', (_width(line, size), ascent + descent))
    ImageDraw.Draw(image).text((_padding(size), ascent), line, 255, font, anchor='ls')
    mask = np.asarray(image, np.float32) / 255
    mask.flags.writeable = False
    return mask


def _line(text: str) -> str:
    return ' '.join(text.split())


def _padding(size: int) -> int:
    return max(1, size // 5)


def _width(text: str, size: int) -> int:
    return math.ceil(_font(_font_path(), size).getlength(_line(text))) + 2 * _padding(size)


def _font_path() -> str:
    manager = require('matplotlib.font_manager', 'plot')
    return str(manager.findfont(manager.FontProperties()))  # rcParams['font.family']


@functools.lru_cache(maxsize=64)
def _font(path: str, size: int) -> Any:
    return require('PIL.ImageFont', 'data').truetype(path, size)


@functools.lru_cache(maxsize=8)
def _letters(path: str) -> frozenset[int]:
    return frozenset(require('matplotlib.ft2font', 'plot').FT2Font(path).get_charmap())
