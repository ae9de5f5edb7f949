"""Scaling an example to the size that a network takes."""
import numbers

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd.ops import check_bbox
from chainer_ssd.transforms._view import check_img


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
        np.ascontiguousarray(img.transpose(1, 2, 0)), (size[1], size[0]),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class ResizeTransform:
    """Scales an example to one size, boxes and all, for :class:`chainer.datasets.TransformDataset`.

    Parameters
    ----------
    size : int
        Height and width of the result, in pixels: a model's ``insize``.

    Raises
    ------
    ValueError
        If ``size`` is not a positive integer.
    """

    def __init__(self, size):
        self.size = check_size(size)

    def __call__(self, example):
        """Scales one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label, ...)``: img (3, H, W), float32 or uint8; bbox (R, 4) = (y_min,
            x_min, y_max, x_max) in pixels; what follows bbox passes through.

        Returns
        -------
        tuple
            The same with img (3, size, size) and bbox, float32, in its pixels.

        Raises
        ------
        ValueError
            If img is not (3, H, W), or a box is not finite or has no area (the message names its
            row).
        ImportError
            As :func:`resize_image`.
        """
        img, bbox, *rest = example
        check_img(img)
        height, width = img.shape[1:]
        scale = np.array((self.size / height, self.size / width) * 2, np.float32)
        bbox = (check_bbox(bbox) * scale).astype(np.float32, copy=False)
        return (resize_image(img, (self.size, self.size)), bbox, *rest)


def check_size(size):
    """Refuses what is no number of pixels."""
    if not isinstance(size, numbers.Integral) or size < 1:
        raise ValueError(f'size = {size!r}: expected a positive integer')
    return int(size)
