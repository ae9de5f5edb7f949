"""The definition's mining on NumPy arrays, in one pass over the logits."""
import functools
import math
import timeit

import numpy as np

from chainer_ssd.functions._rows import background_loss, rows
from chainer_ssd.ops import hard_negative_mining

BLOCK = 3 << 19  # bytes of exponentials at work at a time: they stay in the cache
GROUP = 32  # boxes that send the largest of their odds to bound an image's threshold


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
    odds, slack = foreground_odds(rows(mb_confs))
    odds[not_background] = -1
    odds = odds.reshape(n_image, n_box)
    # What is not known bounds nothing.
    bound = odds if odds.max() < np.inf else np.where(odds < np.inf, odds, -1)

    def reach(threshold):
        loss = np.log1p(np.maximum(threshold, 0, dtype='d'))
        least = np.expm1(loss - slack * (1 + loss))
        return np.where(n > 0, least, np.nan).astype(odds.dtype)

    # Each of the n groups of largest maximum has a box at or above the least of these maxima, so
    # the n-th largest odds lie there or above: few boxes are left.
    size = min(max(n_box // (4 * int(n.max())), 1), GROUP)
    maxima = bound[:, :n_box // size * size].reshape(n_image, size, -1).max(axis=1)
    near = np.flatnonzero(odds >= reach(nth_largest(maxima, n))[:, None])
    # Exactly the n-th largest.
    few = table_of(bound.ravel()[near], near // n_box, n_image)
    near = near[odds.ravel()[near] >= reach(nth_largest(few, n))[near // n_box]]

    # More than n left: some lie nearer to each other than the slack, or are not known, and the
    # definition decides.
    image = near // n_box
    crowded = np.bincount(image, minlength=n_image) > n
    if crowded.any():
        among = crowded[image]
        loss = table_of(exact_loss(rows(mb_confs), near[among]), image[among], n_image)
        nobody = np.isneginf(loss)
        chosen = hard_negative_mining(loss, nobody, n)
        near = np.concatenate([near[~among], near[among][chosen[~nobody]]])
    return near


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
    step = block_length(x)
    for i in range(0, len(which), step):
        some = x.take(which[i:i + step], axis=0)
        maximum = some.T.astype(loss.dtype, order='C').max(axis=0)  # in half of max(axis=1)'s time
        loss[i:i + step] = background_loss(some[None], maximum[None, :, None])[0]
    return loss


def block_length(x):
    """How many rows are at work at a time."""
    return 1 + BLOCK // (x.shape[1] * max(x.itemsize, 4))


def foreground_odds(x):
    """exp(loss) - 1 of each row, where loss is ``background_loss``, in one pass over the logits.

    Parameters
    ----------
    x : float array of shape (N, C)
        Logits.

    Returns
    -------
    odds : float array of shape (N,)
        Σ_{c>0} exp(x_c) / exp(x_0), at least float32; inf where this cannot be said without a shift
        by the maximum, or where it is NaN.
    slack : float
        Boxes whose losses differ by more than ``slack · (1 + loss)`` the definition ranks alike.
    """
    dtype, n_class = np.promote_types(x.dtype, 'f'), x.shape[1]
    step = block_length(x)
    exp = fastest_exp(dtype) if mild(x[:1000]) else np.exp
    foreground, odds = np.empty((2, len(x)), dtype)
    block = np.empty((min(step, len(x)), n_class), dtype)
    ones = np.ones(n_class - 1, dtype)
    for i in range(0, len(x), step):
        part = x[i:i + step]
        e = block[:len(part)]
        exp(part, out=e, dtype=dtype)
        np.matmul(e[:, 1:], ones, out=foreground[i:i + step])  # sums; others are slow
        np.divide(foreground[i:i + step], e[:, 0], out=odds[i:i + step])

    # Known where exp(x_0) = foreground / odds is so large that what underflowed did not count.
    number = np.finfo(dtype)
    least, most = number.tiny / number.eps, number.max
    lowest, highest = foreground.min(), foreground.max()
    if not (odds.min() > 0 and odds.max() < np.inf and lowest >= least * max(odds.max(), 1)):
        known = (0 < odds) & (odds < np.inf) & (foreground >= least * np.maximum(odds, 1))
        odds[~known] = np.inf
        lowest, highest = least, most
    # Units in the last place: |x| + 4 an exponential, C / 2 a sum of C; 4 a logarithm, and 1/2 a
    # difference, of the definition's; what is large in x counts by its share of the sum: on average
    # no more than log(sum) + log C. For two losses, here and there.
    log = max(abs(np.log(lowest)), abs(np.log(highest)))
    return odds, number.eps * (2 * n_class + 4 * log + 12 * np.log(n_class) + 40)


def exp_by_exp2(x, out, dtype):
    """exp(x) = 2^(x · log2 e)."""
    np.multiply(x, math.log2(math.e), out=out, dtype=dtype)
    np.exp2(out, out=out)


def mild(x):
    """Whether exp can neither overflow nor underflow: where it does, exp2 is slow."""
    return -80 < x.min() and x.max() < 80


@functools.cache
def fastest_exp(dtype):
    """``numpy.exp`` or ``exp_by_exp2``, which takes 3/4 of the time where there is AVX-512."""
    x = np.linspace(-4, 4, 1 << 14, dtype=dtype)
    out = np.empty_like(x)
    return min((np.exp, exp_by_exp2), key=lambda f: min(timeit.repeat(
        lambda: f(x, out=out, dtype=dtype), number=1, repeat=7)))
