"""Targets of a batch from ground truth with x before y: matching and encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from chainer_ssd._array import Array, get_array_module
from chainer_ssd.functions._argument_checks import rank_prefix
from chainer_ssd.ops import Encoder, Matcher, swap_xy

#: Frames from ``encode_batch`` to the code that calls the loss.
_CALLER_LEVEL = 4


class Targets(NamedTuple):
    """Matches and targets of a batch."""

    #: (B, K), as :func:`chainer_ssd.match` returns it.
    index: Any
    #: (B, K, 4): (dx, dy, dw, dh).
    mb_locs: Any
    #: (B, K), as :func:`chainer_ssd.encode` returns it.
    mb_labels: Any


def encode_batch(
    matcher: Matcher,
    default_bbox: Array,
    gt_bboxes: Sequence[Array],
    gt_labels: Sequence[Array],
    variance: Any,
    comm: Any,
    gt_difficults: Sequence[Array | None] | None = None,
) -> Targets:
    """Return the targets of a batch.

    Parameters
    ----------
    matcher : chainer_ssd.ops.Matcher
        For ``default_bbox``.
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    gt_bboxes : sequence of arrays of shape (R, 4)
        (x_min, y_min, x_max, y_max) of each image.
    gt_labels : sequence of int32 arrays of shape (R,)
        Foreground classes, counted from 0.
    variance
        As :func:`chainer_ssd.encode` takes it, y before x.
    comm : communicator or None
        Its rank is named in messages.
    gt_difficults : sequence of bool arrays of shape (R,), or of None
        Ground truths of each image that are never assigned. Default: none.
    """
    xp = get_array_module(default_bbox)
    if gt_difficults is None:
        gt_difficults = [None] * len(gt_bboxes)
    encoder = Encoder(default_bbox, variance)
    shape = len(gt_bboxes), len(default_bbox)
    targets = Targets(
        xp.empty(shape, 'i'), xp.empty((*shape, 4), default_bbox.dtype), xp.empty(shape, 'i')
    )
    n_truth, fits_any = 0, False
    for i, (gt_bbox, gt_label) in enumerate(zip(map(swap_xy, gt_bboxes), gt_labels)):
        try:
            targets.index[i], fits = matcher.assign(gt_bbox, gt_difficults[i])
            n_assignable = len(gt_bbox)
            difficult = gt_difficults[i]
            if difficult is not None:
                n_assignable -= int(difficult.sum())
            n_truth += n_assignable
            fits_any |= fits and n_assignable > 0
            mb_loc, targets.mb_labels[i] = encoder(gt_bbox, gt_label, targets.index[i])
        except ValueError as error:
            raise ValueError(f'{rank_prefix(comm)}image {i}: {error}') from error
        targets.mb_locs[i] = swap_xy(mb_loc)
    if n_truth and not fits_any:
        matcher.warn_no_overlap(stacklevel=_CALLER_LEVEL)
    return targets
