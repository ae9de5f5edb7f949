"""Scaling an image."""

import numpy as np

from chainer_ssd._extras import require


def resize_image(img, size):
    """Scales an image, without keeping its aspect ratio.

    Parameters
    ----------
    img : float32 or uint8 array of shape (3, H, W)
        The image, on the CPU.
    size : tuple of int
        (H, W) of the result.

    Returns
    -------
    array of shape (3, H', W'), of the dtype of ``img``
        By pixel areas where it shrinks in both directions (so that nothing small is skipped),
        else bilinear; ``img`` itself where the size is right already.

    Raises
    ------
    ImportError
        If OpenCV is needed and missing (``pip install "chainer_ssd[data]"``).
    """
    if img.shape[1:] == tuple(size):
        return img
    cv2 = require('cv2', 'data')
    shrinks = size[0] <= img.shape[1] and size[1] <= img.shape[2]
    pixels = cv2.resize(
        np.ascontiguousarray(img.transpose(1, 2, 0)),
        (size[1], size[0]),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
