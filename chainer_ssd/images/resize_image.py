"""Resizing of images and pixels: the only place that does it."""

from __future__ import annotations

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd._options import check_choice, check_integer
from chainer_ssd.images.pixels import round_to_uint8

_OPENCV_NAMES = {
    'nearest': 'INTER_NEAREST',
    'linear': 'INTER_LINEAR',
    'cubic': 'INTER_CUBIC',
    'area': 'INTER_AREA',
    'lanczos': 'INTER_LANCZOS4',
}


def resize_image(
    img: np.ndarray, size: tuple[int, int], interpolation: str | None = None
) -> np.ndarray:
    """Return an image that is scaled to a size, without keeping its aspect ratio.

    Parameters
    ----------
    img : float32 or uint8 array of shape (3, H, W)
        The image, on the CPU. Any other number of channels is accepted, too, such as (1, H, W).
    size : tuple of int
        (H', W') of the result.
    interpolation : {'nearest', 'linear', 'cubic', 'area', 'lanczos'}, optional
        How pixels are interpolated. Default: ``'area'`` if the image shrinks in both directions,
        so that every pixel contributes. Else ``'linear'``, which is bilinear.

    Returns
    -------
    array of shape (3, H', W')
        Same dtype as ``img``. It is ``img`` itself if that has the size already, else
        C-contiguous. With ``'cubic'`` and ``'lanczos'``, floats can exceed the range of ``img``.

    Raises
    ------
    ValueError
        If ``img`` is not (channels, H, W), or an option has no valid value.
    TypeError
        If the image is neither float32 nor uint8, or a side is not an integer.
    ImportError
        If OpenCV is needed and missing (``pip install "chainer_ssd[data]"``).
    """
    img = np.asarray(img)
    if img.ndim != 3 or not img.size:
        raise ValueError(f'img has shape {img.shape}: expected (channels, H, W)')
    if img.dtype not in (np.uint8, np.float32):
        raise TypeError(f'img has dtype {img.dtype}: expected float32 or uint8')
    size = check_integer('size[0]', size[0], 1), check_integer('size[1]', size[1], 1)
    if interpolation is None:
        shrinks = size[0] <= img.shape[1] and size[1] <= img.shape[2]
        interpolation = 'area' if shrinks else 'linear'
    check_choice('interpolation', interpolation, _OPENCV_NAMES)
    if img.shape[1:] == size:
        return img
    if len(img) != 3:
        planes = [resize_pixels(plane[:, :, None], size, interpolation) for plane in img]
        return np.stack([plane.reshape(size) for plane in planes])
    pixels = resize_pixels(np.ascontiguousarray(img.transpose(1, 2, 0)), size, interpolation)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resize_pixels(pixels: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Return pixels that are scaled to a size, without keeping their aspect ratio.

    Parameters
    ----------
    pixels : float32 or uint8 array of shape (H, W, 3)
        The pixels, on the CPU.
    size : tuple of int
        (H', W') of the result.
    interpolation : {'nearest', 'linear', 'cubic', 'area', 'lanczos'}
        How pixels are interpolated.

    Returns
    -------
    array of shape (H', W', 3)
        Same dtype as ``pixels``. It is ``pixels`` itself if they have the size already. With
        ``'cubic'`` and ``'lanczos'``, floats can exceed the range of ``pixels``.

    Raises
    ------
    ValueError
        If ``interpolation`` is unknown.
    ImportError
        If OpenCV is needed and missing (``pip install "chainer_ssd[data]"``).
    """
    check_choice('interpolation', interpolation, _OPENCV_NAMES)
    if pixels.shape[:2] == tuple(size):
        return pixels
    cv2 = require('cv2', 'data')
    flag = getattr(cv2, _OPENCV_NAMES[interpolation])
    if interpolation != 'lanczos' or pixels.dtype != np.uint8:
        return cv2.resize(pixels, size[::-1], interpolation=flag)
    # OpenCV's Lanczos filter is twice as fast with floats.
    resized = cv2.resize(pixels.astype(np.float32), size[::-1], interpolation=flag)
    return round_to_uint8(np.maximum(resized, 0, out=resized))
