"""Targets of a batch from ground truth with x before y: matching and encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.functions._argument_checks import rank_prefix
from chainer_ssd.ops import MIN_MATCH_IOU, Encoder, Matcher, swap_xy


class Targets(NamedTuple):
    """Matches and targets of a batch."""

    #: (B, K), as :func:`chainer_ssd.match` returns it.
    index: Any
    #: (B, K, 4): (dx, dy, dw, dh).
    mb_locs: Any
    #: (B, K), as :func:`chainer_ssd.encode` returns it.
    mb_labels: Any


def create_matcher(
    corners: Array, overlap_threshold: float, match_type: str, neg_overlap: float | None
) -> Matcher:
    """Return a matcher that matches nothing below an IoU of 1e-6, as Paddle and Caffe.

    Parameters
    ----------
    corners : float array of shape (K, 4)
        Default boxes (y_min, x_min, y_max, x_max).
    overlap_threshold, match_type, neg_overlap
        Options of :func:`chainer_ssd.match`.
    """
    return Matcher.of_corners(
        corners, max(float(overlap_threshold), MIN_MATCH_IOU), match_type, neg_overlap
    )


def match_ground_truths(
    matcher: Matcher,
    gt_bboxes: Sequence[Array],
    comm: Any,
    gt_difficults: Sequence[Array | None] | None = None,
    stacklevel: int = 1,
) -> Array:
    """Return the matches (B, K) of a batch.

    Parameters
    ----------
    matcher : chainer_ssd.ops.Matcher
        For the default boxes.
    gt_bboxes : sequence of arrays of shape (R, 4)
        (x_min, y_min, x_max, y_max) of each image.
    comm : communicator or None
        Its rank is named in messages.
    gt_difficults : sequence of bool arrays of shape (R,), or of None
        Ground truths of each image that are never assigned. Default: none.
    stacklevel : int
        Of the warning, seen from the caller of this function.
    """
    try:
        index, fits = matcher.assign_batch([*map(swap_xy, gt_bboxes)], gt_difficults)
    except ValueError as error:
        raise ValueError(f'{rank_prefix(comm)}{error}') from error
    if not fits:
        matcher.warn_no_overlap(stacklevel + 1)
    return index


def encode_ground_truths(
    default_bbox: Array,
    gt_bboxes: Sequence[Array],
    gt_labels: Sequence[Array],
    index: Array,
    variance: Any,
    comm: Any,
) -> Targets:
    """Return the targets of a batch.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    gt_bboxes : sequence of arrays of shape (R, 4)
        (x_min, y_min, x_max, y_max) of each image.
    gt_labels : sequence of int32 arrays of shape (R,)
        Foreground classes, counted from 0.
    index : int32 array of shape (B, K)
        Matches.
    variance
        As :func:`chainer_ssd.encode` takes it, y before x.
    comm : communicator or None
        Its rank is named in messages.
    """
    encoder = Encoder(default_bbox, variance)
    try:
        mb_locs, mb_labels = encoder.encode_batch([*map(swap_xy, gt_bboxes)], gt_labels, index)
    except ValueError as error:
        raise ValueError(f'{rank_prefix(comm)}{error}') from error
    return Targets(index, swap_xy(mb_locs).astype(default_bbox.dtype, copy=False), mb_labels)


def send_arrays(device: Any, arrays: Sequence[Array]) -> list[Array]:
    """Return arrays on a device. Arrays of NumPy stay for a GPU, which gets them all at once."""
    if device.xp is chainer.backends.cuda.cupy and all(isinstance(a, np.ndarray) for a in arrays):
        return [*arrays]
    return [device.send(array) for array in arrays]
