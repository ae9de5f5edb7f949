"""Reading image files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from chainer_ssd._extras import require

# Pillow clips deeper channels to 8 bits instead of scaling them, so other modes are refused.
_EIGHT_BIT_MODES = ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr')
_ORIENTATION_TAG = 0x0112  # of EXIF
_UPRIGHT = 1
# Transposition that undoes each EXIF orientation, as a number of Pillow's Transpose: flips, turns
# by 90, 180 and 270 degrees, transpose, transverse.
_INVERSE = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}


def read_image(
    path: str | os.PathLike[str],
    size: tuple[float, float] | None = None,
    dtype: Any = np.float32,
    apply_orientation: bool = True,
) -> np.ndarray:
    """Return the image in a file, rotated as its EXIF orientation requires.

    Grey and CMYK images become RGB, and an alpha channel is dropped. An animation gives its first
    frame.

    Parameters
    ----------
    path : str or path
        A file in a format that Pillow can read, with 8 bits per channel.
    size : tuple of float, optional
        (H, W) that the annotation states. If the image has this size only as stored, not as
        rotated, the boxes belong to the image as stored. It is then not rotated.
    dtype : dtype
        float32, or uint8 for a quarter of the memory.
    apply_orientation : bool
        False: the image as stored, whatever its EXIF orientation. Default: True.

    Returns
    -------
    array of shape (3, H, W)
        RGB, 0..255. A uint8 image is read-only, because it shares Pillow's memory.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the image cannot be read completely, or has more than 8 bits per channel. The message
        names the file and the cause.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    # Not OpenCV: Pillow reports truncated files, and why a broken file is broken.
    Image, ImageOps = require('PIL.Image', 'data'), require('PIL.ImageOps', 'data')
    try:
        with Image.open(path) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise ValueError(f'mode {image.mode!r}, expected 8 bits a channel')
            orientation = image.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
            image.load()
            # Pillow turns a TIFF file while it loads it, and then removes the tag.
            is_turned = image.getexif().get(_ORIENTATION_TAG, _UPRIGHT) != orientation
            if not apply_orientation and is_turned:
                image = image.transpose(_INVERSE[orientation])
            elif apply_orientation and not is_turned and orientation != _UPRIGHT:
                rotated = ImageOps.exif_transpose(image)
                if size is None or not image.size == size[::-1] != rotated.size:
                    image = rotated
            pixels = np.asarray(image if image.mode == 'RGB' else image.convert('RGB'))
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's plugins raise exceptions of many types
        raise ValueError(f'{path}: cannot be read as an image: {error}') from error
    return np.asarray(pixels.transpose(2, 0, 1), dtype)
