"""The definition's mining on NumPy arrays, in one pass over the logits."""

import numpy as np

from chainer_ssd.functions._fused.foreground_odds import block_length, foreground_odds, rough_odds
from chainer_ssd.functions.objective import background_loss, rows
from chainer_ssd.ops import hard_negative_mining

GROUP = 32  # boxes that send the largest of their odds to bound an image's threshold
MANY = 3  # one candidate in so many boxes, and all boxes are as fast as the candidates


def mine(mb_confs, positive, not_background, k):
    """Flat indices of what the definition's mining selects.

    Parameters
    ----------
    mb_confs : float array of shape (B, K, C)
        Logits.
    positive, not_background : int arrays
        Flat indices of the boxes that are foreground, and of all that are not background.
    k : float
        Negatives for each positive.

    Returns
    -------
    int array
        Indices into the B · K boxes.
    """
    n_image, n_box, _ = mb_confs.shape
    n_positive = np.bincount(positive // n_box, minlength=n_image)
    n_negative = n_box - np.bincount(not_background // n_box, minlength=n_image)
    n = np.minimum(np.ceil(k * n_positive), n_negative).astype(int)
    if not n.any():
        return np.flatnonzero(n)
    x = rows(mb_confs)

    def candidates(odds, reach):
        # Each of the n groups of largest maximum has a box at or above the least of these maxima,
        # so the n-th largest odds lie there or above: few boxes are left.
        odds[not_background] = -1
        odds = odds.reshape(n_image, n_box)
        size = min(max(n_box // (4 * int(n.max())), 1), GROUP)
        maxima = bounding(odds)[:, : n_box // size * size].reshape(n_image, size, -1).max(axis=1)
        least = np.where(n > 0, reach(nth_largest(maxima, n)), np.nan).astype(odds.dtype)
        return np.flatnonzero(odds >= least[:, None])

    rough = rough_odds(x)
    near = rough and candidates(*rough)
    if rough and len(near) <= len(x) // MANY:
        odds, reach = foreground_odds(x, near)
    else:
        odds, reach = foreground_odds(x)
        near = candidates(odds, reach)
        odds = odds[near]

    # Exactly the n-th largest.
    image = near // n_box
    few = table_of(bounding(odds), image, n_image)
    near = near[odds >= reach(nth_largest(few, n))[image]]

    # More than n left: some lie nearer to each other than the slack, or are not known, and the
    # definition decides.
    image = near // n_box
    crowded = np.bincount(image, minlength=n_image) > n
    if crowded.any():
        among = crowded[image]
        loss = table_of(exact_loss(x, near[among]), image[among], n_image)
        nobody = np.isneginf(loss)
        chosen = hard_negative_mining(loss, nobody, n)
        near = np.concatenate([near[~among], near[among][chosen[~nobody]]])
    return near


def bounding(odds):
    """Odds to bound others with: what is not known bounds nothing."""
    return odds if odds.max(initial=-1) < np.inf else np.where(odds < np.inf, odds, -1)


def nth_largest(x, n):
    """Of each row of ``x``, which loses its order, the n-th largest element; n = 0: any."""
    for row, i in zip(x, n):
        row.partition(-i)
    return x[np.arange(len(x)), -n]


def table_of(values, image, n_image):
    """A row for each image's values, which stand image by image; -inf where there are no more."""
    count = np.bincount(image, minlength=n_image)
    table = np.full((n_image, count.max()), -np.inf, values.dtype)
    table[np.arange(count.max()) < count[:, None]] = values
    return table


def exact_loss(x, which):
    """The definition's loss of some rows, bit for bit."""
    loss = np.empty(len(which), np.promote_types(x.dtype, 'f'))
    step = block_length(x.shape[1], loss.dtype)
    for i in range(0, len(which), step):
        some = x.take(which[i : i + step], axis=0)
        maximum = some.T.astype(loss.dtype, order='C').max(axis=0)  # in half of max(axis=1)'s time
        loss[i : i + step] = background_loss(some[None], maximum[None, :, None])[0]
    return loss
