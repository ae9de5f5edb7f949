"""Matching and encoding of a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd._validation import check_bbox
from chainer_ssd.ops.coding import Encoder
from chainer_ssd.ops.matching import Matcher


def match_batch(
    default_bbox: Array,
    bboxes: Sequence[Array],
    iou_thresh: float = 0.5,
    match_type: str = 'per_prediction',
    neg_overlap: float | None = None,
    ignores: Sequence[Array | None] | None = None,
    ignore_outside: Sequence[float] | None = None,
) -> Array:
    """Return the ground truth that is assigned to each default box of each image.

    The matches equal those of :func:`match` for one image at a time. With ``default_bbox`` on a
    GPU, all images are matched at once and no step waits for the device.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    bboxes : sequence of B arrays of shape (R_i, 4)
        Ground truths (y_min, x_min, y_max, x_max) of each image, in the unit of ``default_bbox``.
        With ``default_bbox`` on a GPU they may still be on the CPU. They are copied together then,
        and their values are checked.
    iou_thresh, match_type, neg_overlap
        As :func:`match` takes them.
    ignores : sequence of B bool arrays of shape (R_i,) or of None, or None
        Ground truths of each image that are never assigned, as :func:`match` takes them. Default:
        none.
    ignore_outside
        As :func:`match` takes it.

    Returns
    -------
    int32 array of shape (B, K)
        ``index``: the row of the assigned ground truth in its image, -1 for background, -2 for
        ignored.

    Raises
    ------
    ValueError
        As :func:`match`, with the number of the image. Also if ``ignores`` has another length.
    TypeError
        As :func:`match`.

    Warns
    -----
    UserWarning
        If an image has more ground truths than default boxes. If no ground truth of the batch fits
        the default boxes, as in :func:`match`. On a GPU this is checked under
        ``chainer.config.debug`` only.

    Examples
    --------
    >>> import numpy as np
    >>> default_bbox = np.array([(5, 5, 10, 10), (50, 50, 10, 10)], np.float32)
    >>> match_batch(default_bbox, [[(0, 0, 10, 10)], [], [(45, 45, 55, 55)]]).tolist()
    [[0, -1], [-1, -1], [-1, 0]]
    """
    matcher = Matcher(default_bbox, iou_thresh, match_type, neg_overlap, ignore_outside)
    index, fits = matcher.assign_batch(bboxes, ignores)
    if not fits:
        matcher.warn_no_overlap(stacklevel=2)
    return index


def encode_batch(
    default_bbox: Array,
    bboxes: Sequence[Array],
    labels: Sequence[Array | Sequence[int]],
    index: Array,
    variance: Array | Sequence[float] = (0.1, 0.2),
    code_type: str = 'center_size',
    variance_in_target: bool = False,
) -> tuple[Array, Array]:
    """Return the targets of the default boxes of each image.

    The targets equal those of :func:`encode` for one image at a time. With ``default_bbox`` on a
    GPU, all images are encoded at once and no step waits for the device.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    bboxes : sequence of B arrays of shape (R_i, 4)
        Ground truths (y_min, x_min, y_max, x_max) of each image, in the unit of ``default_bbox``.
    labels : sequence of B integer arrays or lists of shape (R_i,)
        Foreground classes of each image, counted from 0.
    index : integer array of shape (B, K)
        Result of :func:`match_batch`.
    variance, code_type, variance_in_target
        As :func:`encode` takes them.

    Returns
    -------
    mb_locs : float array of shape (B, K, 4)
        (dy, dx, dh, dw), at least float32. Exactly 0 where no ground truth is assigned.
    mb_labels : int32 array of shape (B, K)
        0 background, -1 ignored, else the label of the ground truth + 1.

    Raises
    ------
    ValueError
        As :func:`encode`, with the number of the image. Also if the numbers of images disagree.
    TypeError
        As :func:`encode`.

    Examples
    --------
    >>> import numpy as np
    >>> default_bbox = np.array([(5, 5, 10, 10), (50, 50, 10, 10)], np.float32)
    >>> bboxes, index = [[(0, 0, 10, 10)], []], np.array([(0, -1), (-1, -1)])
    >>> mb_locs, mb_labels = encode_batch(default_bbox, bboxes, [[2], []], index)
    >>> mb_labels.tolist()
    [[3, 0], [0, 0]]
    """
    checked: list[Any] = []
    for i, bbox in enumerate(bboxes):
        try:
            checked.append(check_bbox(bbox))
        except ValueError as error:
            raise ValueError(f'image {i}: {error}') from error
    encoder = Encoder(default_bbox, variance, code_type, variance_in_target)
    return encoder.encode_batch(checked, labels, index)
