"""Writing image files."""

from __future__ import annotations

import io
import os
from typing import Any

from chainer_ssd._extras import require
from chainer_ssd._files import replace_file
from chainer_ssd._options import check_integer
from chainer_ssd.images.pixels import to_pixels

# High quality, and colours at full resolution: letters and thin lines stay sharp.
_JPEG_OPTIONS = {'quality': 90, 'subsampling': 0}


def write_image(img: Any, path: str | os.PathLike[str]) -> None:
    """Write an image file, whole or not at all.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0 to 255.
    path : str or path
        The suffix selects the format, any that Pillow can write: ``.png``, ``.jpg``, ...

    Raises
    ------
    ValueError
        If the image is not (3, H, W), or Pillow cannot write a format with this suffix.
    OSError
        If the file cannot be written.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    image_format = image_format_of(path)
    image = require('PIL.Image', 'data').fromarray(to_pixels(img))
    options = _JPEG_OPTIONS if image_format == 'JPEG' else {}
    with replace_file(path) as file:
        image.save(file, image_format, **options)


def image_format_of(path: str | os.PathLike[str]) -> str:
    """Return Pillow's name of the format that a file name's suffix selects.

    Parameters
    ----------
    path : str or path
        A file name.

    Returns
    -------
    str
        For example ``'PNG'``.

    Raises
    ------
    ValueError
        If Pillow cannot write a format with this suffix.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    Image = require('PIL.Image', 'data')
    suffix = os.path.splitext(path)[1].lower()
    image_format = Image.registered_extensions().get(suffix)
    if image_format not in Image.SAVE:
        raise ValueError(f'{path}: expected a suffix such as .png or .jpg')
    return image_format


def encode_jpeg(img: Any, quality: int = 90) -> bytes:
    """Return the content of a JPEG file.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0 to 255.
    quality : int
        From 1 to 95. Default: 90. Lower it for a smaller file.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    TypeError, ValueError
        If the image is not (3, H, W) or its values are not 0 to 255. If ``quality`` is not an
        integer from 1 to 95.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    check_integer('quality', quality, 1, 95)
    file = io.BytesIO()
    image = require('PIL.Image', 'data').fromarray(to_pixels(img))
    image.save(file, 'JPEG', **{**_JPEG_OPTIONS, 'quality': quality})
    return file.getvalue()
