"""Non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import check_fraction, check_integer
from chainer_ssd._validation import as_array, as_bbox, check_area, raise_for_row
from chainer_ssd.ops.boxes import iou_of_columns, iou_of_pairs
from chainer_ssd.ops.padded_truths import BLOCK_BYTES

#: Number of the best remaining boxes that one step compares with each other.
_BLOCK_LENGTH = 64
#: Arrays of M × M numbers that :func:`suppress_batch` needs at once for each group.
_ARRAYS_PER_PAIR = 7
#: A threshold that falls does so down to this.
_MIN_FALLING_THRESH = 0.5


def non_maximum_suppression(
    bbox: Array,
    thresh: float,
    score: Array | None = None,
    limit: int | None = None,
    eta: float = 1.0,
) -> Array:
    """Return the boxes that no kept box with a higher score overlaps.

    Parameters
    ----------
    bbox : array or list of shape (R, 4)
        (y_min, x_min, y_max, x_max).
    thresh : float
        A box whose IoU with a kept one is at least this is suppressed.
    score : array or list of shape (R,), or None
        Integers or floats. None: the boxes are sorted by falling score already. Ties go to the
        lower index.
    limit : int or None
        Maximum number of kept boxes. None: no limit.
    eta : float
        Factor on the threshold after each kept box, while the threshold is above 0.5. A number in
        [0, 1], Caffe's and Paddle's ``nms_eta``. Below 1, boxes are compared one by one, which
        takes longer. Default: 1, the threshold stays.

    Returns
    -------
    int32 array
        Indices of the kept boxes, by falling score.

    Raises
    ------
    ValueError
        If shapes disagree, a score is NaN, or ``thresh``, ``limit`` or ``eta`` is out of range. If
        the area of a box is too large for its dtype.
    TypeError
        If a dtype is not integer or float, an array is masked, or ``limit`` is not an integer.

    Notes
    -----
    The greedy suppression of Felzenszwalb et al. (2010), with the arguments of ChainerCV's
    ``non_maximum_suppression``. A box with NaN overlaps nothing, so it is kept and stays visible.

    Examples
    --------
    >>> import numpy as np
    >>> bbox = np.array([(0, 0, 10, 10), (0, 1, 10, 11), (50, 50, 60, 60)], np.float32)
    >>> non_maximum_suppression(bbox, 0.5, np.array([0.5, 0.9, 0.4])).tolist()
    [1, 2]
    """
    xp = get_array_module(bbox)
    bbox = as_bbox(bbox)
    if checks_values(xp):
        check_area(bbox)
    check_fraction('thresh', thresh)
    check_fraction('eta', eta)
    n_missing = len(bbox) if limit is None else check_integer('limit', limit)
    remaining = xp.arange(len(bbox)) if score is None else _sort_by_score(xp, score, len(bbox))
    columns = xp.ascontiguousarray(bbox[remaining].T)
    if eta < 1 and thresh > _MIN_FALLING_THRESH:
        return remaining[_suppress_one_by_one(columns, thresh, eta, n_missing)].astype(np.int32)
    rank = xp.arange(_BLOCK_LENGTH)
    is_better = rank[:, None] < rank
    kept = [remaining[:0]]
    while len(remaining) and n_missing > 0:
        block, columns = columns[:, :_BLOCK_LENGTH], columns[:, _BLOCK_LENGTH:]
        n_block = block.shape[1]
        overlaps = iou_of_columns(block, block) >= thresh
        is_kept = _suppress_within_block(overlaps & is_better[:n_block, :n_block])
        kept.append(remaining[:_BLOCK_LENGTH][is_kept][:n_missing])
        n_missing -= len(kept[-1])
        remaining = remaining[_BLOCK_LENGTH:]
        if len(remaining):
            survives = ~(iou_of_columns(block[:, is_kept], columns) >= thresh).any(axis=0)
            remaining, columns = remaining[survives], columns[:, survives]
    return xp.concatenate(kept).astype(np.int32)


def suppress_batch(bbox: Array, is_box: Array, thresh: float) -> Array:
    """Return which boxes of each group are kept, such as the boxes of one class and image.

    The boxes that are kept equal those of :func:`non_maximum_suppression` for one group at a time.
    No step waits for the device. The number of steps is M.

    Parameters
    ----------
    bbox : float array of shape (G, M, 4)
        Boxes (y_min, x_min, y_max, x_max) of G groups, by falling score.
    is_box : bool array of shape (G, M)
        Whether a row is a box. Other rows fill up a group, and are neither kept nor compared.
    thresh : float
        A box is suppressed if its IoU with a better box that is kept is at least this.

    Returns
    -------
    bool array of shape (G, M)
        Whether a box is kept.

    Raises
    ------
    ValueError
        If shapes disagree, or ``thresh`` is outside [0, 1].
    TypeError
        If a dtype of boxes is not integer or float, or ``is_box`` is not bool.

    Examples
    --------
    >>> import numpy as np
    >>> bbox = np.array([[(0, 0, 10, 10), (0, 1, 10, 11), (50, 50, 60, 60)]], np.float32)
    >>> suppress_batch(bbox, np.array([[True, True, True]]), 0.5).tolist()
    [[True, False, True]]
    """
    check_fraction('thresh', thresh)
    xp = get_array_module(bbox)
    bbox, is_box = as_array(bbox, 'bbox'), as_array(is_box, 'is_box', 'b', 'bool')
    if is_box.ndim != 2 or bbox.shape != (*is_box.shape, 4):
        raise ValueError(
            f'bbox has shape {bbox.shape} and is_box {is_box.shape}: expected (G, M, 4) and (G, M)'
        )
    n_group, n_box = is_box.shape
    if not is_box.size:
        return is_box.copy()
    boxes = as_bbox(bbox.reshape(-1, 4)).reshape(bbox.shape)
    length = max(1, BLOCK_BYTES // (_ARRAYS_PER_PAIR * n_box**2 * boxes.itemsize))
    parts = [slice(start, start + length) for start in range(0, n_group, length)]
    return xp.concatenate(
        [_suppress_groups(xp, boxes[part], is_box[part], thresh) for part in parts]
    )


def _suppress_groups(xp: Any, bbox: Array, is_box: Array, thresh: float) -> Array:
    rank = xp.arange(bbox.shape[1])
    overlaps = (iou_of_pairs(bbox) >= thresh) & (rank[:, None] < rank)
    is_kept = is_box.copy()
    for i in range(len(rank) - 1):  # box i is final
        is_kept &= ~(overlaps[:, i] & is_kept[:, i : i + 1])
    return is_kept


def _sort_by_score(xp: Any, score: Array, n_bbox: int) -> Array:
    """Return the indices of boxes by falling score. Ties go to the lower index."""
    score = as_array(score, 'score')
    if score.shape != (n_bbox,):
        raise ValueError(f'score has shape {score.shape}: expected ({n_bbox},), one for each box')
    if score.dtype.kind == 'f':
        if checks_values(xp):
            raise_for_row('score', score, ~xp.isnan(score), 'numbers')
        falling = -score
    else:
        # −x − 1 reverses the order of all integers, where −x overflows for the smallest one.
        falling = ~score
    return xp.argsort(falling, kind='stable')


def _suppress_one_by_one(columns: Array, thresh: float, eta: float, limit: int) -> list[int]:
    """Return which boxes are kept if the threshold falls with each of them."""
    kept: list[int] = []
    for i in range(columns.shape[1]):
        if len(kept) == limit:
            break
        if not (iou_of_columns(columns[:, kept], columns[:, i : i + 1]) >= thresh).any():
            kept.append(i)
            thresh *= eta if thresh > _MIN_FALLING_THRESH else 1
    return kept


def _suppress_within_block(suppresses: Array) -> Array:
    """Return which boxes of one block are kept.

    Parameters
    ----------
    suppresses : bool array of shape (N, N)
        Whether box i, which has the higher score, overlaps box j.

    Returns
    -------
    bool array of shape (N,)
        A box is kept unless a kept box suppresses it.
    """
    # Fixed-point iteration. After n steps the first n boxes are final, usually after about five.
    previous, is_kept = None, ~suppresses.any(axis=0)
    while previous is None or (previous != is_kept).any():
        previous, is_kept = is_kept, ~suppresses[is_kept].any(axis=0)
    return is_kept
