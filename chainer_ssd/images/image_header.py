"""Size, orientation and format of an image file, without its pixels."""

from __future__ import annotations

import os
from typing import NamedTuple

from chainer_ssd._extras import require
from chainer_ssd.images.image_file import open_image

_ORIENTATION_TAG = 0x0112  # of EXIF
_UPRIGHT = 1
_WIDTH_TAG, _HEIGHT_TAG = 256, 257  # of TIFF


class ImageHeader(NamedTuple):
    """What the beginning of an image file states.

    Attributes
    ----------
    size : tuple of int
        (H, W) as stored, before any rotation.
    orientation : int
        EXIF orientation, 1 to 8. 1: not rotated, or not stated.
    mode : str
        Pillow's name of the pixel format.
    format : str
        Pillow's name of the file format.
    """

    size: tuple[int, int]
    orientation: int
    mode: str
    format: str


def read_header(path: str | os.PathLike[str]) -> ImageHeader:
    """Return what an image file states about its image. The pixels are not decoded.

    Parameters
    ----------
    path : str or path
        Image file.

    Returns
    -------
    ImageHeader
        Size, orientation, mode and format.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        As :func:`read_image` does, but damaged pixels are not found.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    Image = require('PIL.Image', 'data')
    with open_image(path) as image:
        # The getexif of PNG would decode the pixels.
        orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG, _UPRIGHT)
        if not isinstance(orientation, int) or not 1 <= orientation <= 8:
            orientation = _UPRIGHT
        width, height = image.size
        if image.format == 'TIFF':  # Pillow states the size of the turned image
            width, height = image.tag_v2[_WIDTH_TAG], image.tag_v2[_HEIGHT_TAG]
        return ImageHeader((height, width), orientation, image.mode, image.format or '')
