"""Ground truths of a batch in one array, for a GPU: no step depends on the number in an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.ops.boxes import iou_of_columns

#: Bound of the intermediate arrays of one IoU matrix.
BLOCK_BYTES = 1 << 28
#: Arrays of R × K numbers that an IoU matrix needs at once, in numbers per pair.
_ARRAYS_PER_PAIR = 10


class PaddedTruths(NamedTuple):
    """Ground truths of B images, each filled up to the largest number R."""

    #: (B, R, 4). Rows of no ground truth hold zeros.
    bboxes: Any
    #: (B, R) bool: whether a row is a ground truth.
    is_truth: Any
    #: (B, R) bool: whether a ground truth can be assigned.
    is_assignable: Any


def pad_truths(
    xp: Any, bboxes: Sequence[Array], ignores: Sequence[Array | None], dtype: Any
) -> PaddedTruths:
    """Return ground truths as arrays of one size, with at most three copies to the device.

    Parameters
    ----------
    xp : module
        NumPy or CuPy.
    bboxes : sequence of arrays of shape (R_i, 4)
        Boxes of each image, all on the CPU or all on the device.
    ignores : sequence of bool arrays of shape (R_i,) or of None
        Ground truths of each image that are never assigned.
    dtype : dtype
        Of the boxes.
    """
    lens = [len(bbox) for bbox in bboxes]
    is_truth = xp.asarray(_find_rows(lens))
    is_assignable = is_truth
    if any(ignore is not None for ignore in ignores):
        ignores = [
            np.zeros(n, bool) if ignore is None else ignore for n, ignore in zip(lens, ignores)
        ]
        is_assignable = is_truth & ~pad_rows(xp, ignores, bool)
    return PaddedTruths(pad_rows(xp, bboxes, dtype), is_truth, is_assignable)


def pad_rows(xp: Any, arrays: Sequence[Array], dtype: Any) -> Array:
    """Return arrays (R_i, ...) of each image as one array (B, R, ...), filled up with zeros."""
    is_row = _find_rows([len(array) for array in arrays])
    row_shape = arrays[0].shape[1:] if len(arrays) else ()
    if all(isinstance(array, np.ndarray) for array in arrays):
        padded = np.zeros((*is_row.shape, *row_shape), dtype)
        if is_row.any():
            padded[is_row] = np.concatenate(arrays)
        return xp.asarray(padded)
    padded = xp.zeros((is_row.size, *row_shape), dtype)
    rows = xp.concatenate([xp.asarray(array, dtype) for array in arrays])
    padded[xp.asarray(np.flatnonzero(is_row))] = rows
    return padded.reshape(*is_row.shape, *row_shape)


def _find_rows(lens: Sequence[int]) -> np.ndarray[Any, Any]:
    return np.arange(max(lens, default=0)) < np.array(lens, int).reshape(-1, 1)


def match_padded(
    xp: Any,
    default_columns: Array,
    truths: PaddedTruths,
    iou_thresh: float,
    match_type: str,
    neg_overlap: float | None,
    min_iou: float,
) -> tuple[Array, Array]:
    """Return the matches of a batch, without a step that waits for the device.

    Parameters
    ----------
    xp : module
        NumPy or CuPy.
    default_columns : float array of shape (4, K)
        Corners of the default boxes. K is at least 1.
    truths : PaddedTruths
        In the dtype of the default boxes. R is at least 1.
    iou_thresh, match_type, neg_overlap
        Options of :func:`chainer_ssd.ops.match`.
    min_iou : float
        A bipartite match needs an IoU above this.

    Returns
    -------
    index : int32 array of shape (B, K)
        As :func:`chainer_ssd.ops.match` returns it for each image.
    overlaps : bool array of shape (B,)
        Whether a ground truth that can be assigned overlaps a default box.
    """
    n_image, n_truth = truths.is_truth.shape
    n_box = default_columns.shape[1]
    block = max(1, BLOCK_BYTES // (_ARRAYS_PER_PAIR * n_truth * n_box * default_columns.itemsize))
    if n_image > block:
        parts = [
            match_padded(
                xp,
                default_columns,
                PaddedTruths(*(array[start : start + block] for array in truths)),
                iou_thresh,
                match_type,
                neg_overlap,
                min_iou,
            )
            for start in range(0, n_image, block)
        ]
        index, overlaps = zip(*parts)
        return xp.concatenate(index), xp.concatenate(overlaps)
    columns = xp.ascontiguousarray(truths.bboxes.reshape(-1, 4).T)
    iou = iou_of_columns(columns, default_columns).reshape(n_image, n_truth, n_box)
    is_covered = None
    if truths.is_assignable is not truths.is_truth:
        is_ignored = truths.is_truth & ~truths.is_assignable
        is_covered = xp.where(is_ignored[:, :, None], iou, -1).max(axis=1) >= iou_thresh
    # −1 is below every threshold.
    iou = xp.where(truths.is_assignable[:, :, None], iou, iou.dtype.type(-1))
    overlaps = (iou > (0 if match_type == 'argmax' else min_iou)).any(axis=(1, 2))
    best, best_truth = iou.max(axis=1), iou.argmax(axis=1)
    if match_type == 'threshold':
        index = xp.full((n_image, n_box), -1)
    elif match_type == 'argmax':
        index = _assign_argmax(xp, iou, truths.is_assignable)
    else:
        index = _assign_bipartite(xp, iou, truths.is_assignable, min_iou)
    if match_type != 'bipartite':
        index = xp.where((index < 0) & (best >= iou_thresh), best_truth, index)
    if neg_overlap is not None:
        index = xp.where((index < 0) & (best >= neg_overlap), -2, index)
    if is_covered is not None:
        index = xp.where((index == -1) & is_covered, -2, index)
    return index.astype('i', copy=False), overlaps


def _assign_argmax(xp: Any, iou: Array, is_assignable: Array) -> Array:
    """Return the last ground truth (B, K) whose best default box it is, or -1."""
    n_truth, n_box = iou.shape[1:]
    is_best = iou.argmax(axis=2)[:, :, None] == xp.arange(n_box)
    is_best &= is_assignable[:, :, None]
    return xp.where(is_best, xp.arange(n_truth)[:, None], -1).max(axis=1)


def _assign_bipartite(xp: Any, iou: Array, is_assignable: Array, min_iou: float) -> Array:
    """Return the ground truth (B, K) by repeated choice of the largest IoU, or -1.

    Writes -1 over the columns of assigned boxes.
    """
    n_image, n_truth, n_box = iou.shape
    image = xp.arange(n_image)
    index = xp.full((n_image, n_box), -1)
    is_free = is_assignable.copy()
    for _ in range(min(n_truth, n_box)):  # images with fewer pairs change nothing any more
        box_of_truth = iou.argmax(axis=2)
        value = xp.take_along_axis(iou, box_of_truth[:, :, None], axis=2)[:, :, 0]
        value = xp.where(is_free, value, -1)
        # Pairs with the same IoU exclude each other only if they share the box. Of these, the
        # lowest ground truth is assigned. The order of other pairs has no effect.
        truth = value.argmax(axis=1)
        box = box_of_truth[image, truth]
        is_match = value[image, truth] > min_iou
        index[image, box] = xp.where(is_match, truth, index[image, box])
        is_free[image, truth] &= ~is_match
        iou[image, :, box] = xp.where(is_match[:, None], -1, iou[image, :, box])
    return index


def encode_padded(
    xp: Any,
    truths: Array,
    labels: Array,
    index: Array,
    compute_offsets: Callable[[Array], Array],
) -> tuple[Array, Array]:
    """Return the targets of a batch, without a step that waits for the device.

    Parameters
    ----------
    xp : module
        NumPy or CuPy.
    truths, labels : arrays of shape (B, R, 4) and (B, R)
        Ground truths and their labels.
    index : int array of shape (B, K)
        Matches.
    compute_offsets : callable
        Returns the offsets (B, K, 4) of ground truths (B, K, 4) from the default boxes.

    Returns
    -------
    mb_locs : float array of shape (B, K, 4)
        As :func:`chainer_ssd.ops.encode` returns them for each image.
    mb_labels : int32 array of shape (B, K)
        As :func:`chainer_ssd.ops.encode` returns them for each image.
    """
    background = xp.minimum(index, -1) + 1  # 0, or −1 for ignored boxes
    if not truths.shape[1]:
        return xp.zeros((*index.shape, 4), truths.dtype), background.astype('i', copy=False)
    is_positive = index >= 0
    row = xp.arange(len(index))[:, None], xp.maximum(index, 0)
    with np.errstate(all='ignore'):  # rows without a match are computed and not used
        loc = compute_offsets(truths[row])
    mb_locs = xp.where(is_positive[:, :, None], loc, loc.dtype.type(0))
    mb_labels = xp.where(is_positive, labels[row] + 1, background)
    return mb_locs, mb_labels.astype('i', copy=False)
