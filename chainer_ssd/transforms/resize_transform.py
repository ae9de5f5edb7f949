"""Scaling an example to the size that a network takes."""

import numbers

import numpy as np

from chainer_ssd._validation import check_bbox, check_image
from chainer_ssd.images import resize_image


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
        check_image(img)
        height, width = img.shape[1:]
        scale = np.array((self.size / height, self.size / width) * 2, np.float32)
        bbox = (check_bbox(bbox) * scale).astype(np.float32, copy=False)
        return (resize_image(img, (self.size, self.size)), bbox, *rest)


def check_size(size):
    """Refuses what is no number of pixels."""
    if not isinstance(size, numbers.Integral) or size < 1:
        raise ValueError(f'size = {size!r}: expected a positive integer')
    return int(size)
