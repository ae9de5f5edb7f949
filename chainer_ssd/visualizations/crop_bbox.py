"""The parts of an image inside boxes."""

from __future__ import annotations

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._validation import check_finite_bbox, check_image


def crop_bbox(img: Array, bbox: Array) -> list[Array]:
    """Return the part of an image inside each box.

    Parameters
    ----------
    img : array of shape (3, H, W)
        RGB, of any dtype.
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max) in pixels. What lies outside the image is cut off.

    Returns
    -------
    list of arrays of shape (3, h, w)
        Views of ``img``. They hold each pixel that its box touches, and at least one pixel.

    Raises
    ------
    ValueError
        If the image is not (3, H, W), the boxes are not (R, 4), or a box is not finite.
    TypeError
        If the boxes are not numbers.
    """
    check_image(img)
    limits = img.shape[1:]
    crops = []
    for box in check_finite_bbox(bbox, dtype=np.float64):
        first = np.clip(np.floor(box[:2]), 0, np.array(limits) - 1).astype(int)
        last = np.clip(np.ceil(box[2:]), first + 1, limits).astype(int)
        crops.append(img[:, first[0] : last[0], first[1] : last[1]])
    return crops
