"""Resizing of images and boxes to a fixed size."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._options import check_integer
from chainer_ssd._validation import as_array, check_bbox, check_image, check_pixel_range
from chainer_ssd.images import resize_image
from chainer_ssd.transforms._example import check_example


class ResizeTransform:
    """A resize of images and boxes to a fixed size, for ``chainer.datasets.TransformDataset``.

    The interpolation is the default of :func:`chainer_ssd.images.resize_image`. The aspect ratio is
    not kept.

    Parameters
    ----------
    size : int
        Height and width of the result in pixels. Usually a model's ``insize``.

    Raises
    ------
    TypeError
        If ``size`` is not an integer.
    ValueError
        If ``size`` is below 1.
    """

    def __init__(self, size: int) -> None:
        self.size = check_integer('size', size, 1)

    def __call__(self, example: tuple[Any, ...]) -> tuple[Any, ...]:
        """Resize one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label, ...)``. img is float32 or uint8 (3, H, W). bbox (R, 4) is (y_min,
            x_min, y_max, x_max) in pixels. Whatever follows is not changed.

        Returns
        -------
        tuple
            The example with img (3, size, size) and float32 bbox in its pixels.

        Raises
        ------
        ValueError
            If img is not (3, H, W), or its values are not 0 to 255, such as those of an image that
            is scaled to [0, 1]. If a box is not finite or has no area: the message names its row.
        TypeError
            If img holds no integers or floats.
        ImportError
            If OpenCV is needed and missing (``pip install "chainer_ssd[data]"``).
        """
        check_example(example, 2, '(img, bbox, label, ...)')
        img, bbox, *rest = example
        img = as_array(img, 'img')
        check_image(img)
        check_pixel_range(img)
        if img.dtype != np.uint8:  # OpenCV resizes no 64-bit integers
            img = img.astype(np.float32, copy=False)
        height, width = img.shape[1:]
        scale = np.array((self.size / height, self.size / width) * 2, np.float32)
        bbox = (check_bbox(bbox) * scale).astype(np.float32, copy=False)
        return (resize_image(img, (self.size, self.size)), bbox, *rest)
