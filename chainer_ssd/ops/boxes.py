"""Intersection over union of boxes, and their formats.

A box is (y_min, x_min, y_max, x_max). A default box is (cy, cx, h, w). Any unit is fine, pixels
or fractions of the image, as long as all boxes share it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._validation import as_array, as_bbox, check_area

#: Size of the intermediate arrays of one block, so that they stay in a core's L2 cache.
_BLOCK_BYTES = 1 << 19

#: Keeps the divisor above 0 when both areas are 0.
_MIN_AREA = float(np.finfo(np.float32).tiny)


def bbox_iou(bbox_a: Array, bbox_b: Array) -> Array:
    """Return the intersection over union of every pair of boxes.

    Parameters
    ----------
    bbox_a : array of shape (A, 4)
        Boxes (y_min, x_min, y_max, x_max), with y_min <= y_max and x_min <= x_max.
    bbox_b : array of shape (B, 4)
        Boxes in the same order and unit.

    Returns
    -------
    array of shape (A, B)
        IoU in [0, 1], in the promoted dtype of the inputs, at least float32. The IoU is 0 for
        boxes that only touch and for an empty box. It is NaN for a box with NaN.

    Raises
    ------
    ValueError
        If a shape is not (N, 4), or an area is too large for the dtype.
    TypeError
        If a dtype is not integer or float, or an array is masked.

    Notes
    -----
    Jaccard overlap of Liu et al., "SSD: Single Shot MultiBox Detector" (2016), section 2.2.
    Default boxes enter by their corners, see :func:`center_to_corner`.

    Examples
    --------
    >>> bbox_iou([(0, 0, 2, 2)], [(0, 0, 2, 2), (0, 1, 2, 3), (4, 4, 5, 5)]).round(3).tolist()
    [[1.0, 0.3330000042915344, 0.0]]
    """
    xp = get_array_module(bbox_a, bbox_b)
    bbox_a, bbox_b = as_bbox(bbox_a, 'bbox_a'), as_bbox(bbox_b, 'bbox_b')
    if checks_values(xp):
        check_area(bbox_a, 'bbox_a')
        check_area(bbox_b, 'bbox_b')
    dtype = xp.result_type(bbox_a, bbox_b)
    return iou_of_columns(
        xp.ascontiguousarray(bbox_a.astype(dtype, copy=False).T),
        xp.ascontiguousarray(bbox_b.astype(dtype, copy=False).T),
    )


def iou_of_columns(columns_a: Array, columns_b: Array) -> Array:
    """Return :func:`bbox_iou` of boxes that are given by coordinate.

    Parameters
    ----------
    columns_a, columns_b : contiguous float arrays of shape (4, A) and (4, B)
        Rows y_min, x_min, y_max, x_max, in one dtype.

    Returns
    -------
    array of shape (A, B)
        IoU in the same dtype.
    """
    xp = get_array_module(columns_a)
    n_a, n_b = columns_a.shape[1], columns_b.shape[1]
    itemsize = columns_a.itemsize
    block = max(1, _BLOCK_BYTES // (6 * max(n_b, 1) * itemsize)) if xp is np else max(1, n_a)
    block = min(block, max(1, n_a))
    iou = xp.empty((n_a, n_b), columns_a.dtype)
    corners_buffer = xp.empty((4, block, n_b), columns_a.dtype)
    sizes_buffer = xp.empty((2, block, n_b), columns_a.dtype)
    zero = xp.zeros(n_b, columns_a.dtype)
    y_min, x_min, y_max, x_max = columns_a
    area_a = xp.maximum((y_max - y_min) * (x_max - x_min), _MIN_AREA)[:, None]
    y_min, x_min, y_max, x_max = columns_b
    area_b = (y_max - y_min) * (x_max - x_min)
    a, b = columns_a[:, :, None], columns_b[:, None]
    for start in range(0, n_a, block):
        part = slice(start, min(start + block, n_a))
        buffers = corners_buffer[:, : part.stop - start], sizes_buffer[:, : part.stop - start]
        _write_iou(xp, a[:, part], b, area_a[part], area_b, zero, *buffers, iou[part])
    return iou


def iou_of_pairs(bbox: Array) -> Array:
    """Return :func:`bbox_iou` of each two boxes of a group.

    Parameters
    ----------
    bbox : float array of shape (G, M, 4)
        (y_min, x_min, y_max, x_max).

    Returns
    -------
    array of shape (G, M, M)
        IoU in the same dtype, with the same steps as :func:`iou_of_columns`.
    """
    xp = get_array_module(bbox)
    n_group, n_box = bbox.shape[:2]
    columns = xp.ascontiguousarray(bbox.transpose(2, 0, 1))
    y_min, x_min, y_max, x_max = columns
    area = (y_max - y_min) * (x_max - x_min)
    corners, sizes = (xp.empty((n, n_group, n_box, n_box), bbox.dtype) for n in (4, 2))
    iou = xp.empty((n_group, n_box, n_box), bbox.dtype)
    a, b = columns[:, :, :, None], columns[:, :, None]
    area_a = xp.maximum(area, _MIN_AREA)[:, :, None]
    _write_iou(xp, a, b, area_a, area[:, None], bbox.dtype.type(0), corners, sizes, iou)
    return iou


def _write_iou(
    xp: Any,
    a: Array,
    b: Array,
    area_a: Array,
    area_b: Array,
    zero: Any,
    corners: Array,
    sizes: Array,
    iou: Array,
) -> None:
    """Write the IoU of boxes ``a`` and ``b``, whose coordinates are along the first axis.

    ``corners`` (4, ...) and ``sizes`` (2, ...) are memory for results in between.
    """
    # NumPy's minimum of two rows is three times faster than of a row and a number.
    corners[:] = a
    # |a ∩ b| = max(0, min(y_max) − max(y_min)) · max(0, min(x_max) − max(x_min))
    xp.minimum(corners[2:], b[2:], out=sizes)
    sizes -= xp.maximum(corners[:2], b[:2], out=corners[:2])
    xp.maximum(sizes, zero, out=sizes)
    intersection = xp.multiply(sizes[0], sizes[1], out=iou)
    # |a ∪ b| = |a| + |b| − |a ∩ b|
    union = xp.add(area_a, area_b, out=sizes[0])
    union -= intersection
    intersection /= union


def center_to_corner(default_bbox: Array) -> Array:
    """Return the corners c ± s/2 of boxes that are given by center and size.

    Parameters
    ----------
    default_bbox : array or list of shape (..., 4)
        (cy, cx, h, w).

    Returns
    -------
    array of shape (..., 4)
        (y_min, x_min, y_max, x_max), same dtype and unit. Integers become floats.

    Raises
    ------
    ValueError
        If the last axis does not have length 4.
    TypeError
        If the dtype is not integer or float, or the array is masked.
    """
    xp = get_array_module(default_bbox)
    default_bbox = _as_boxes(default_bbox, 'default_bbox')
    center, half_size = default_bbox[..., :2], default_bbox[..., 2:] / 2
    return xp.concatenate((center - half_size, center + half_size), axis=-1)


def corner_to_center(bbox: Array) -> Array:
    """Return center and size of boxes, the inverse of :func:`center_to_corner`.

    Parameters
    ----------
    bbox : array or list of shape (..., 4)
        (y_min, x_min, y_max, x_max).

    Returns
    -------
    array of shape (..., 4)
        (cy, cx, h, w), same dtype and unit. Integers become floats.

    Raises
    ------
    ValueError
        If the last axis does not have length 4.
    TypeError
        If the dtype is not integer or float, or the array is masked.
    """
    xp = get_array_module(bbox)
    bbox = _as_boxes(bbox, 'bbox')
    size = bbox[..., 2:] - bbox[..., :2]
    return xp.concatenate((bbox[..., :2] + size / 2, size), axis=-1)


def swap_xy(bbox: Array) -> Array:
    """Return boxes or offsets with x and y exchanged, the inverse of itself.

    Parameters
    ----------
    bbox : array or chainer.Variable of shape (..., 4)
        (y, x, y, x) or (x, y, x, y) in the last axis: corners, (cy, cx, h, w) or offsets.

    Returns
    -------
    array or chainer.Variable of shape (..., 4)
        The other order, same dtype.

    Raises
    ------
    ValueError
        If the last axis does not have length 4.
    TypeError
        If the dtype is not integer or float, or the array is masked.
    """
    # A chainer.Variable has a dtype, too. It must stay a Variable.
    if not hasattr(bbox, 'dtype') or isinstance(bbox, np.ndarray) or bbox.shape[-1:] != (4,):
        bbox = _as_boxes(bbox, 'bbox')
    return bbox[..., [1, 0, 3, 2]]


def _as_boxes(boxes: Any, name: str) -> Array:
    """Return boxes of shape (..., 4) as an array, or raise."""
    boxes = as_array(boxes, name)
    if boxes.shape == (0,):  # the empty list
        boxes = boxes.reshape(0, 4)
    if boxes.shape[-1:] != (4,):
        raise ValueError(f'{name} has shape {boxes.shape}: expected (..., 4)')
    return boxes
