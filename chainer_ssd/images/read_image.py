"""Reading image files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd._options import check_integer
from chainer_ssd.images.image_file import MAX_PIXELS, open_image

_ORIENTATION_TAG = 0x0112  # of EXIF
_UPRIGHT = 1
# Transposition that undoes each EXIF orientation, as a number of Pillow's Transpose: flips, turns
# by 90, 180 and 270 degrees, transpose, transverse.
_INVERSE = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}


def read_image(
    path: str | os.PathLike[str],
    dtype: Any = np.float32,
    apply_orientation: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Return the image in a file, rotated as its EXIF orientation requires.

    Grey and CMYK images become RGB, and an alpha channel is dropped. An animation gives its first
    frame.

    Parameters
    ----------
    path : str or path
        A JPEG, PNG, BMP, GIF, TIFF or WebP file with 8 bits per channel.
    dtype : dtype
        float32, or uint8 for a quarter of the memory.
    apply_orientation : bool
        False: the image as stored, whatever its EXIF orientation. Default: True.
    max_pixels : int
        Largest height times width. Default: 134,217,728, which take 1.6 GB as float32. Raise it for
        larger images if the memory is enough.

    Returns
    -------
    array of shape (3, H, W)
        RGB, 0..255. A uint8 image is read-only, because it shares Pillow's memory.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the image cannot be read completely, has another format, has more than 8 bits per channel
        or more than ``max_pixels`` pixels, or the file is a pipe or a device. The message names the
        file and the cause. The size is checked before the pixels are decoded.
    TypeError
        If ``max_pixels`` is not an integer.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    # Not OpenCV: Pillow reports truncated files, and why a broken file is broken.
    ImageOps = require('PIL.ImageOps', 'data')
    check_integer('max_pixels', max_pixels, 1)
    with open_image(path, max_pixels) as image:
        orientation = image.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
        image.load()
        # Pillow turns a TIFF file while it loads it, and then removes the tag.
        is_turned = image.getexif().get(_ORIENTATION_TAG, _UPRIGHT) != orientation
        if not apply_orientation and is_turned:
            image = image.transpose(_INVERSE[orientation])
        elif apply_orientation and not is_turned and orientation != _UPRIGHT:
            image = ImageOps.exif_transpose(image)
        pixels = np.asarray(image if image.mode == 'RGB' else image.convert('RGB'))
    return np.asarray(pixels.transpose(2, 0, 1), dtype)
