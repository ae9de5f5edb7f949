"""Boxes: their overlap, their two formats, and what makes one valid.

A box is (y_min, x_min, y_max, x_max); a default box is (cy, cx, h, w). Any unit will do, pixels
or shares of the image, as long as both sides use the same.
"""
import numpy as np

from chainer_ssd._array import checks_values, get_array_module

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
    bbox_a, bbox_b = as_float(bbox_a, 'bbox_a'), as_float(bbox_b, 'bbox_b')
    dtype = xp.result_type(bbox_a, bbox_b)
    return iou_of_planes(xp.ascontiguousarray(bbox_a.astype(dtype, copy=False).T),
                         xp.ascontiguousarray(bbox_b.astype(dtype, copy=False).T))


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
        row, size = rows[:, :part.stop - start], sizes[:, :part.stop - start]
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


def check_bbox(bbox, name='bbox'):
    """Casts ground truth boxes to floats and refuses those that no detector can learn.

    Parameters
    ----------
    bbox : array or list of shape (R, 4)
        (y_min, x_min, y_max, x_max); integers become float32. An empty list is zero boxes.
    name : str
        What the caller calls the argument.

    Returns
    -------
    array of shape (R, 4)
        Floats, at least float32.

    Raises
    ------
    ValueError
        If the shape is not (R, 4), or a box is not finite or has no area; the message names
        the row. Values on a GPU are looked at under ``chainer.config.debug`` only.
    TypeError
        If boxes are not numbers.
    """
    xp = get_array_module(bbox)
    bbox = as_float(bbox, name)
    if checks_values(xp):
        valid = xp.isfinite(bbox)
        valid[:, 2:] &= bbox[:, :2] < bbox[:, 2:]
        if not valid.all():
            row = int(xp.flatnonzero(~valid.all(axis=1))[0])
            raise ValueError(
                f'{name}[{row}] = {tuple(bbox[row].tolist())}: expected finite '
                '(y_min, x_min, y_max, x_max) with y_min < y_max and x_min < x_max')
    return bbox


def check_default_bbox(default_bbox):
    """Casts default boxes to floats and refuses those that are not finite or inside out.

    Parameters
    ----------
    default_bbox : array of shape (K, 4)
        (cy, cx, h, w). A size of 0 is legal, as clipping to the image can leave it.

    Returns
    -------
    array of shape (K, 4)
        Floats, at least float32.

    Raises
    ------
    ValueError
        If the shape is not (K, 4), or a box is not finite or of negative size; the message names
        the row. Values on a GPU are looked at under ``chainer.config.debug`` only.
    TypeError
        If boxes are not numbers.
    """
    xp = get_array_module(default_bbox)
    default_bbox = as_float(default_bbox, 'default_bbox')
    if checks_values(xp):
        # Whole planes first: reductions over an axis of 4 cost thirty times as much.
        finite = xp.isfinite(default_bbox)
        height, width = default_bbox.T[2:]
        if not (finite.all() and (height >= 0).all() and (width >= 0).all()):
            valid = finite.all(axis=1) & (height >= 0) & (width >= 0)
            row = int(xp.flatnonzero(~valid)[0])
            raise ValueError(
                f'default_bbox[{row}] = {tuple(default_bbox[row].tolist())}: expected finite '
                '(cy, cx, h, w) with h >= 0 and w >= 0')
    return default_bbox


def as_float(bbox, name):
    """Boxes (N, 4) as floats, at least float32, whatever they hold."""
    xp = get_array_module(bbox)
    bbox = xp.asarray(bbox)
    if bbox.shape == (0,):  # the empty list
        bbox = bbox.reshape(0, 4)
    if bbox.ndim != 2 or bbox.shape[1] != 4:
        raise ValueError(f'{name} has shape {bbox.shape}: expected (N, 4)')
    if bbox.dtype.kind not in 'fiu':
        raise TypeError(f'{name} has dtype {bbox.dtype}: expected floats or integers')
    wide = bbox.dtype.kind == 'f' and bbox.dtype.itemsize > 4
    return bbox if wide else bbox.astype('f', copy=False)
