"""Boxes: their overlap, their two formats, and what makes one valid.

A box is (y_min, x_min, y_max, x_max); a default box is (cy, cx, h, w). Any unit will do, pixels
or shares of the image, as long as both sides use the same.
"""

import numpy as np

from chainer_ssd._array import get_array_module
from chainer_ssd._validation import as_bbox

#: Bytes of intermediate results that a core's cache holds.
_CACHE = 1 << 19

#: Added to nothing it is still a divisor.
_TINY = float(np.finfo(np.float32).tiny)


def bbox_iou(bbox_a, bbox_b):
    """Intersection over union of every pair of boxes.

    Parameters
    ----------
    bbox_a : array of shape (A, 4)
        Boxes (y_min, x_min, y_max, x_max), with y_min <= y_max and x_min <= x_max.
    bbox_b : array of shape (B, 4)
        Boxes in the same order and unit.

    Returns
    -------
    array of shape (A, B)
        IoU in [0, 1], in the promoted dtype of the inputs, at least float32. Boxes that only
        touch have 0, and so has every pair with an empty box; a box with NaN has NaN.

    Raises
    ------
    ValueError
        If a shape is not (N, 4).
    TypeError
        If boxes are not numbers.

    Notes
    -----
    Jaccard overlap as in Liu et al., "SSD: Single Shot MultiBox Detector" (2016), section 2.2.
    Default boxes enter by their corners, see :func:`center_to_corner`.
    """
    xp = get_array_module(bbox_a, bbox_b)
    bbox_a, bbox_b = as_bbox(bbox_a, 'bbox_a'), as_bbox(bbox_b, 'bbox_b')
    dtype = xp.result_type(bbox_a, bbox_b)
    return iou_of_planes(
        xp.ascontiguousarray(bbox_a.astype(dtype, copy=False).T),
        xp.ascontiguousarray(bbox_b.astype(dtype, copy=False).T),
    )


def iou_of_planes(a, b):
    """:func:`bbox_iou` of boxes that stand as one row a coordinate, (4, A) and (4, B), alike in
    dtype."""
    xp = get_array_module(a)
    n_a, n_b = a.shape[1], b.shape[1]
    # So many rows at a time that what is reused from block to block stays in the cache.
    block = max(1, _CACHE // (6 * max(n_b, 1) * a.itemsize)) if xp is np else max(1, n_a)
    block = min(block, max(1, n_a))
    iou = xp.empty((n_a, n_b), a.dtype)
    rows = xp.empty((4, block, n_b), a.dtype)
    sizes = xp.empty((2, block, n_b), a.dtype)
    zero = xp.zeros(n_b, a.dtype)
    # Never 0, so that two empty boxes have IoU 0.
    area_a = xp.maximum((a[2] - a[0]) * (a[3] - a[1]), _TINY)[:, None]
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    a, b = a[:, :, None], b[:, None]
    for start in range(0, n_a, block):
        part = slice(start, min(start + block, n_a))
        row, size = rows[:, : part.stop - start], sizes[:, : part.stop - start]
        # NumPy's minimum and maximum are three times faster between rows than with a number.
        row[:] = a[:, part]
        # |a ∩ b| = max(0, min(y_max) − max(y_min)) · max(0, min(x_max) − max(x_min))
        xp.minimum(row[2:], b[2:], out=size)
        size -= xp.maximum(row[:2], b[:2], out=row[:2])
        xp.maximum(size, zero, out=size)
        intersection = xp.multiply(size[0], size[1], out=iou[part])
        # |a ∪ b| = |a| + |b| − |a ∩ b|
        union = xp.add(area_a[part], area_b, out=size[0])
        union -= intersection
        intersection /= union
    return iou


def center_to_corner(default_bbox):
    """Corners c ± s/2 of boxes given by centre and size.

    Parameters
    ----------
    default_bbox : array of shape (..., 4)
        (cy, cx, h, w).

    Returns
    -------
    array of shape (..., 4)
        (y_min, x_min, y_max, x_max), same dtype and unit.
    """
    xp = get_array_module(default_bbox)
    center, half = default_bbox[..., :2], default_bbox[..., 2:] / 2
    return xp.concatenate((center - half, center + half), axis=-1)


def corner_to_center(bbox):
    """Centre and size of boxes given by their corners, the inverse of :func:`center_to_corner`.

    Parameters
    ----------
    bbox : array of shape (..., 4)
        (y_min, x_min, y_max, x_max).

    Returns
    -------
    array of shape (..., 4)
        (cy, cx, h, w), same dtype and unit.
    """
    xp = get_array_module(bbox)
    size = bbox[..., 2:] - bbox[..., :2]
    return xp.concatenate((bbox[..., :2] + size / 2, size), axis=-1)
