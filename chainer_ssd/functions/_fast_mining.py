"""The definition's mining on NumPy arrays, in one pass over the logits."""
import functools
import timeit

import numpy as np

from chainer_ssd.functions._rows import background_loss, rows
from chainer_ssd.ops import hard_negative_mining

BLOCK = 1 << 20  # bytes of exponentials at work at a time: they stay in the cache
GROUP = 16  # boxes that send the largest of their losses to bound an image's threshold


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
    loss, slack = rounded_background_loss(rows(mb_confs))
    loss[not_background] = -np.inf

    def reach(threshold):
        threshold = np.clip(threshold, 0, 1e30)
        return np.where(n > 0, threshold - slack * (1 + threshold), np.inf).astype(loss.dtype)

    # Each of the n groups of largest maximum has a box at or above the least of these maxima, so
    # the n-th largest loss lies there or above: few boxes are left.
    size = min(max(n_box // (4 * int(n.max())), 1), GROUP)
    loss = loss.reshape(n_image, n_box)
    maxima = loss[:, :n_box // size * size].reshape(n_image, size, -1).max(axis=1)
    near = np.flatnonzero(loss >= reach(nth_largest(maxima, n))[:, None])
    few, image = loss.ravel()[near], near // n_box

    # Exactly the n-th largest: one row for each image again, filled up.
    count = np.bincount(image, minlength=n_image)
    table = np.full((n_image, count.max()), -np.inf, loss.dtype)
    table[np.arange(count.max()) < count[:, None]] = few
    keep = few >= reach(nth_largest(table, n))[image]
    near, image = near[keep], image[keep]

    # More than n left: they lie nearer to each other than the slack, and the definition decides.
    count = np.bincount(image, minlength=n_image)
    if count[count > n].sum() > loss.size // 4:
        mask = np.zeros(loss.shape, bool)
        mask.ravel()[not_background] = True
        return np.flatnonzero(hard_negative_mining(background_loss(mb_confs), mask, n))
    for crowded in np.flatnonzero(count > n):
        own = near[image == crowded] - crowded * n_box
        exact = background_loss(mb_confs[crowded:crowded + 1].take(own, axis=1))
        chosen = hard_negative_mining(exact, np.zeros(exact.shape, bool), n[crowded:crowded + 1])
        keep = image != crowded
        near = np.concatenate([near[keep], own[chosen[0]] + crowded * n_box])
        image = np.concatenate([image[keep], np.full(n[crowded], crowded)])
    return near


def nth_largest(x, n):
    """Of each row of ``x``, the n-th largest element; n is at least 1 (or the row's is unused)."""
    return np.array([np.partition(row, -n)[-n] for row, n in zip(x, n)], x.dtype)


def rounded_background_loss(x, exp=None):
    """``background_loss`` in one pass over the logits, with other rounding errors.

    Without the shift by the maximum exp will do, and a product with ones that adds. Rows whose sum
    has left the range where this is safe get the definition's.

    Parameters
    ----------
    x : float array of shape (N, C)
        Logits.
    exp : numpy.exp, numpy.expm1 or None
        None: the faster one, where it is exact enough.

    Returns
    -------
    loss : float array of shape (N,)
        At least float32; inf for NaN.
    slack : float
        Losses that differ by more than ``slack · (1 + loss)`` the definition ranks alike.
    """
    dtype = np.promote_types(x.dtype, 'f')
    n_class = x.shape[1]
    use = exp or faster_exp(dtype)
    loss, background = np.empty((2, len(x)), dtype)
    ones = np.ones(n_class, dtype)
    step = 1 + BLOCK // (n_class * dtype.itemsize)
    block = np.empty((min(step, len(x)), n_class), dtype)
    for i in range(0, len(x), step):
        part = x[i:i + step]
        use(part, out=block[:len(part)], dtype=dtype)
        np.dot(block[:len(part)], ones, out=loss[i:i + step])
        background[i:i + step] = part[:, 0]

    # Units in the last place: exp 3, a sum of C terms C / 2 and, of expm1, relative to C where the
    # sum is smaller; a logarithm 4, a difference 1/2. Here and in the definition, for two losses.
    number, error = np.finfo(dtype), n_class + 8
    if use is np.expm1:
        loss += n_class
        error *= 1 + n_class / loss.min()
        if not 0 < error < 100 * (n_class + 8):  # nor where it is NaN
            return rounded_background_loss(x, np.exp)
    least = number.tiny / number.eps  # above it, what underflowed did not count
    smallest, largest = loss.min(), loss.max()
    np.log(loss, out=loss)
    if smallest > least and largest < np.inf:  # not where one is NaN
        loss -= background
        log = max(-np.log(smallest), np.log(largest))
    else:
        log = -np.log(least)
        unsafe = np.flatnonzero(~((-log < loss) & (loss < np.inf)))
        loss -= background
        for i in range(0, len(unsafe), step):
            some = unsafe[i:i + step]
            exact = background_loss(x.take(some, axis=0)[None])[0]
            loss[some] = np.where(np.isnan(exact), np.inf, exact)
    return loss, number.eps * (error + n_class + 8 * log + 8 * np.log(n_class) + 16)


@functools.cache
def faster_exp(dtype):
    """``exp`` or ``expm1``: with AVX-512 NumPy's expm1 takes 3/4 of exp's time, else far more."""
    x = np.linspace(-4, 4, 1 << 14, dtype=dtype)
    out = np.empty_like(x)
    return min((np.exp, np.expm1), key=lambda f: min(timeit.repeat(
        lambda: f(x, out=out), number=1, repeat=7)))
