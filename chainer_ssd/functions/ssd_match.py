"""The matching step of ``ssd_loss`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainer_ssd._array import Array, get_array_module
from chainer_ssd._options import check_choice, check_fraction
from chainer_ssd._validation import check_bbox, check_column
from chainer_ssd.functions._argument_checks import rank_prefix
from chainer_ssd.functions._ground_truth import as_array, as_image_list, split_column
from chainer_ssd.functions._targets import create_matcher, match_ground_truths
from chainer_ssd.ops import swap_xy


def ssd_match(
    gt_box: Sequence[Array],
    prior_box: Array,
    overlap_threshold: float = 0.5,
    match_type: str = 'per_prediction',
    neg_overlap: float | None = None,
    *,
    gt_difficult: Sequence[Array] | None = None,
    comm: Any = None,
) -> Array:
    """Return the matches of a batch as :func:`chainer_ssd.ssd_loss` computes them.

    The loss takes them as ``index`` and does not match again. So the number of positives is known
    before the model runs. Boxes are (x_min, y_min, x_max, y_max).

    Parameters
    ----------
    gt_box : list of N arrays of shape (R_i, 4)
        Ground truths of each image.
    prior_box : float array of shape (Np, 4)
        Default boxes.
    overlap_threshold : float
        Smallest IoU of a match, in [0, 1], as in :func:`chainer_ssd.ssd_loss`. Default: 0.5.
    match_type : {'per_prediction', 'bipartite'}
        As in :func:`chainer_ssd.ssd_loss`. Default: ``'per_prediction'``.
    neg_overlap : float or None
        Unmatched boxes whose best IoU is at least this are ignored. None, the default: no box is.
    gt_difficult : list of N bool arrays of shape (R_i,), or None
        Ground truths that are never matched. Default: none.
    comm : communicator or None
        Its rank is named in messages.

    Returns
    -------
    int32 array of shape (N, Np)
        Number of the ground truth in its image, -1 for background, -2 for ignored boxes.

    Raises
    ------
    ValueError, TypeError
        As :func:`chainer_ssd.ssd_loss`, for these arguments.

    Examples
    --------
    >>> import numpy as np
    >>> prior_box = np.array([[0, 0, 4, 4], [4, 4, 8, 8]], 'f')
    >>> ssd_match([np.array([[4, 4, 8, 7]], 'f')], prior_box).tolist()
    [[-1, 0]]
    """
    check_choice('match_type', match_type, ('per_prediction', 'bipartite'))
    check_fraction('overlap_threshold', overlap_threshold)
    if neg_overlap is not None:
        check_fraction('neg_overlap', neg_overlap)
    where = rank_prefix(comm)
    prior = check_bbox(
        as_array(prior_box, f'{where}prior_box'), f'{where}prior_box', order='xy', allow_empty=True
    )
    xp = get_array_module(prior)
    gt_bboxes = [
        check_bbox(bbox, f'{where}gt_box[{i}]', order='xy', dtype=prior.dtype)
        for i, bbox in enumerate(as_image_list('gt_box', gt_box, comm))
    ]
    difficults: list[Array | None] = [None] * len(gt_bboxes)
    if gt_difficult is not None:
        columns = split_column('gt_difficult', gt_difficult, None, len(gt_bboxes), comm)
        for i, difficult in enumerate(columns):
            name = f'{where}gt_difficult[{i}]'
            difficults[i] = xp.asarray(
                check_column(difficult, len(gt_bboxes[i]), name, 'b', 'bool'), bool
            )
    matcher = create_matcher(swap_xy(prior), overlap_threshold, match_type, neg_overlap)
    return match_ground_truths(matcher, gt_bboxes, comm, difficults, stacklevel=2)
