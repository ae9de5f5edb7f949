"""The definition's hard negative mining for NumPy arrays, in one pass over the logits."""

from __future__ import annotations

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.functions._fused.foreground_odds import (
    RankingError,
    approximate_odds,
    exact_odds,
    rows_per_block,
)
from chainer_ssd.functions.parts.batch import as_rows
from chainer_ssd.functions.parts.confidence import background_loss
from chainer_ssd.functions.parts.mining import hard_negative_limit
from chainer_ssd.ops import hard_negative_mining

#: Largest number of boxes in a group whose maximum bounds the odds. See "Candidates".
MAX_BOXES_PER_GROUP = 32
#: With fewer boxes per candidate, exact odds of all boxes are as fast as those of candidates.
MIN_BOXES_PER_CANDIDATE = 3


def select_hard_negatives(
    mb_confs: Array, positive: Array, not_background: Array, k: float
) -> Array:
    """Return the flat indices of the hard negatives that the definition selects.

    ``docs/explanation/fast-loss.md`` explains the steps, from "Candidates" to "Ties and the
    fallback".

    Parameters
    ----------
    mb_confs : float array of shape (B, K, C)
        Logits.
    positive, not_background : int arrays
        Flat indices of positives, and of boxes that are not background.
    k : float
        Negatives per positive.

    Returns
    -------
    int array
        Indices into the B · K boxes.
    """
    n_image, n_box, _ = mb_confs.shape
    n_positive = np.bincount(positive // n_box, minlength=n_image)
    n_negative = n_box - np.bincount(not_background // n_box, minlength=n_image)
    n_hard_negative = hard_negative_limit(n_positive, n_negative, k)
    if not n_hard_negative.any():
        return np.flatnonzero(n_hard_negative)
    logits = as_rows(mb_confs)

    candidates = None
    approximate = approximate_odds(logits)
    if approximate is not None:
        candidates = find_candidates(*approximate, not_background, n_hard_negative)
    if candidates is not None and len(candidates) <= len(logits) // MIN_BOXES_PER_CANDIDATE:
        odds, error = exact_odds(logits, candidates)
    else:
        odds, error = exact_odds(logits)
        candidates = find_candidates(odds, error, not_background, n_hard_negative)
        odds = odds[candidates]

    # The n-th largest exact odds of each image bound those of the hard negatives.
    image = candidates // n_box
    nth_odds = nth_largest(group_by_image(replace_unknown(odds), image, n_image), n_hard_negative)
    candidates = candidates[odds >= error.lower_bound(nth_odds)[image]]

    # An image with more than n candidates left has ties, up to rounding, or unknown odds. There
    # the definition selects.
    image = candidates // n_box
    has_ties = np.bincount(image, minlength=n_image) > n_hard_negative
    if has_ties.any():
        is_tied = has_ties[image]
        tied = candidates[is_tied]
        loss = group_by_image(definition_loss(logits, tied), image[is_tied], n_image)
        is_padding = np.isneginf(loss)
        selected = hard_negative_mining(loss, is_padding, n_hard_negative)
        candidates = np.concatenate([candidates[~is_tied], tied[selected[~is_padding]]])
    return candidates


def find_candidates(
    odds: Array, error: RankingError, not_background: Array, n_hard_negative: Array
) -> Array:
    """Return the flat indices of boxes that may be hard negatives, and maybe of some others.

    Sets the odds of boxes that are not background to -1.
    """
    # Each of the n groups with the largest maxima contains a box that reaches the n-th largest
    # maximum. So the n-th largest odds of the image are at least that. See "Candidates".
    odds[not_background] = -1
    n_image = len(n_hard_negative)
    odds = odds.reshape(n_image, -1)
    n_box = odds.shape[1]
    n_in_group = min(max(n_box // (4 * int(n_hard_negative.max())), 1), MAX_BOXES_PER_GROUP)
    grouped = replace_unknown(odds)[:, : n_box // n_in_group * n_in_group]
    maxima = grouped.reshape(n_image, n_in_group, -1).max(axis=1)
    bound = error.lower_bound(nth_largest(maxima, n_hard_negative))
    bound = np.where(n_hard_negative > 0, bound, np.nan).astype(odds.dtype)
    return np.flatnonzero(odds >= bound[:, None])


def replace_unknown(odds: Array) -> Array:
    """Return odds with -1 for unknown (infinite) ones, which are no bound for others."""
    return odds if odds.max(initial=-1) < np.inf else np.where(odds < np.inf, odds, -1)


def nth_largest(values: Array, n: Array) -> Array:
    """Return the n-th largest element of each row of ``values``, and reorder the rows.

    Where n is 0, the result is any element.
    """
    for row, i in zip(values, n):
        row.partition(-i)
    return values[np.arange(len(values)), -n]


def group_by_image(values: Array, image: Array, n_image: int) -> Array:
    """Return one row of values per image, padded with -inf. Values are sorted by image."""
    count = np.bincount(image, minlength=n_image)
    table = np.full((n_image, count.max()), -np.inf, values.dtype)
    table[np.arange(count.max()) < count[:, None]] = values
    return table


def definition_loss(logits: Array, which: Array) -> Array:
    """Return the background loss of some rows, bit for bit as the definition computes it."""
    loss = np.empty(len(which), np.promote_types(logits.dtype, 'f'))
    step = rows_per_block(logits.shape[1], loss.dtype)
    for i in range(0, len(which), step):
        rows = logits.take(which[i : i + step], axis=0)
        # Classes first: twice as fast as max(axis=1), and a maximum is exact in any order.
        maximum = rows.T.astype(loss.dtype, order='C').max(axis=0)
        loss[i : i + step] = background_loss(rows[None], maximum[None, :, None])[0]
    return loss
