"""A number that tells whether two image files show the same pixels."""

from __future__ import annotations

import hashlib
import os

import numpy as np

from chainer_ssd.images.read_image import read_image


def hash_pixels(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the pixels of an image file, as 64 hexadecimal digits.

    Files of other formats and names have the same hash if :func:`read_image` gives the same pixels.

    Parameters
    ----------
    path : str or path
        The image file.

    Returns
    -------
    str
        The hash of height, width and all pixels, after EXIF has turned the image.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the image cannot be read completely. The message names the file.
    """
    img = read_image(path, dtype=np.uint8)
    digest = hashlib.sha256(str(img.shape).encode())
    digest.update(np.ascontiguousarray(img).data)
    return digest.hexdigest()
