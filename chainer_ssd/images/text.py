"""Text as masks, in a font that has the letters."""

import functools
import os

import numpy as np

from chainer_ssd._extras import require


def can_write(text):
    """Whether there is a font with all letters of ``text``."""
    return _font_path(text) is not None


@functools.lru_cache(maxsize=4096)
def text_mask(text, size):
    """Text of ``size`` pixels an em, in one line, whatever space is in it.

    float32 (height, width), 0..1; the height depends on the size and the font only. Read-only:
    it is remembered.
    """
    Image, ImageDraw = require('PIL.Image', 'data'), require('PIL.ImageDraw', 'data')
    font = _font(_font_path(text) or _dejavu(), size)
    ascent, descent = font.getmetrics()
    pad = max(1, size // 5)
    text = ' '.join(text.split())
    left, _, right, _ = font.getbbox(text, anchor='ls')
    image = Image.new('L', (right - min(left, 0) + 2 * pad, ascent + descent))
    ImageDraw.Draw(image).text((pad - min(left, 0), ascent), text, 255, font, anchor='ls')
    mask = np.asarray(image, np.float32) / 255
    mask.flags.writeable = False
    return mask


def shorten(text, size, width):
    """``text``, or as much of its beginning as ``width`` pixels hold, with three dots."""
    if text_mask(text, size).shape[1] <= width:
        return text
    length = len(text)
    while length and text_mask(text[:length] + '…', size).shape[1] > width:
        length -= 1
    return text[:length].rstrip() + '…'


@functools.cache
def _font(path, size):
    return require('PIL.ImageFont', 'data').truetype(path, size)


@functools.lru_cache(maxsize=4096)
def _font_path(text):
    letters = {ord(letter) for letter in text if not letter.isspace()}
    if letters <= _letters(_dejavu()):
        return _dejavu()
    return next((path for path in _system_fonts() if letters <= _letters(path)), None)


def _dejavu():
    folder = require('matplotlib', 'plot').get_data_path()
    return os.path.join(folder, 'fonts', 'ttf', 'DejaVuSans.ttf')


@functools.cache
def _system_fonts():
    """Upright sans serifs first."""

    def rank(path):
        name = os.path.basename(path).lower()
        return ('sans' not in name, 'mono' in name, 'bold' in name or 'italic' in name, name)

    return sorted(require('matplotlib.font_manager', 'plot').findSystemFonts(), key=rank)


@functools.cache
def _letters(path):
    """Code points of a font; none of one that cannot be read or scaled."""
    try:
        _font(path, 12)
        return frozenset(require('matplotlib.ft2font', 'plot').FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
