"""Images (3, H, W), pixels (H, W, 3) and 8-bit values.

An *image* is an array (3, H, W), as Chainer takes it. *Pixels* are an array (H, W, 3), as OpenCV
and Pillow take it. A *plane* is one channel, an array (H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd._validation import check_image, check_pixel_range


def to_pixels(img: Any) -> np.ndarray:
    """Return a copy of an image as uint8 pixels.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0 to 255. Floats are rounded.

    Returns
    -------
    uint8 array of shape (H, W, 3)
        C-contiguous.

    Raises
    ------
    ValueError
        If the shape is not (3, H, W), or the values are not 0 to 255, such as those of an image
        that is scaled to [0, 1].
    TypeError
        If the image holds no integers or floats.
    """
    img = np.asarray(img)
    check_image(img)
    check_pixel_range(img)
    pixels = np.empty((*img.shape[1:], 3), np.uint8)
    for channel, plane in enumerate(img):
        if plane.dtype != np.uint8:
            plane = np.rint(plane.clip(0, 255))
        pixels[:, :, channel] = plane
    return pixels


def to_image(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as an image that shares their memory.

    Parameters
    ----------
    pixels : array of shape (H, W, 3)
        RGB.

    Returns
    -------
    array of shape (3, H, W)
        A view of ``pixels``.
    """
    return pixels.transpose(2, 0, 1)


def merge_planes(planes: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return the planes of an image as pixels.

    Parameters
    ----------
    planes : array of shape (3, H, W), or sequence of 3 arrays of shape (H, W)
        uint8 or float32.

    Returns
    -------
    array of shape (H, W, 3)
        A view if the pixels already lie side by side in memory, else a copy.

    Raises
    ------
    ImportError
        If OpenCV is needed and missing (``pip install "chainer_ssd[data]"``).
    """
    if isinstance(planes, np.ndarray) and planes.strides[0] == planes.itemsize:
        return planes.transpose(1, 2, 0)
    return require('cv2', 'data').merge(list(planes))


def split_planes(pixels: np.ndarray) -> Sequence[np.ndarray]:
    """Return a copy of each plane of pixels.

    Parameters
    ----------
    pixels : array of shape (H, W, 3)
        uint8 or float32.

    Returns
    -------
    sequence of 3 arrays of shape (H, W)
        One C-contiguous plane for each channel.

    Raises
    ------
    ImportError
        If OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """
    return require('cv2', 'data').split(pixels)


def round_to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Return the magnitude of pixels, rounded and bounded by 255.

    Parameters
    ----------
    pixels : float32 array of shape (H, W, 3)
        Values of 0 or more. A negative value loses its sign.

    Returns
    -------
    uint8 array of shape (H, W, 3)

    Raises
    ------
    ImportError
        If OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """
    return require('cv2', 'data').convertScaleAbs(pixels)
