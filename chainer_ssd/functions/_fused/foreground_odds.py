"""exp(loss) - 1 of boxes taken for background, by which negatives are ranked: roughly, or well."""

import math

import numpy as np

from chainer_ssd.functions._fused.memory import scratch

BLOCK = 3 << 19  # bytes of exponentials at work at a time: they stay in the cache

# One addition and one multiplication of integers make the bits of a float near 2^a · exp(x):
# where x is added to M, the last bit counts 2^-6; where the product is read as a float, it counts
# 2^-23 powers of two. A product is modulo 2^32, and 4 modulo 32 is the SCALE that makes a = 29.3.
M = np.float32(2**17 + 64)  # for -64 <= x < 64, only the last 13 bits of x + M differ
SCALE = np.uint32(189092)  # 2^17 / ln 2, nearly
ALLOWED = 2**13 - 1 | int(np.float32(2**17).view('u4'))
# Between two powers of two the float is a straight line, up to 6.15 % above; x is rounded by up to
# 2^-7. An exponential is known within a factor 1.082; odds too; of two odds, which is the larger,
# within the square.
ROUGH = 1.18


def rough_odds(x):
    """Odds within a few percent, in less time than exp takes.

    Parameters
    ----------
    x : float array of shape (N, C)
        Logits.

    Returns
    -------
    (odds, reach) or None
        float32 array of shape (N,), near Σ_{c>0} exp(x_c) / exp(x_0), inf where that is too large,
        and what :func:`reach_of` says; None if there are logits outside [-64, 64).

    Notes
    -----
    Schraudolph, "A Fast, Compact Approximation of the Exponential Function" (1999), where a
    conversion to integers stands for the addition.
    """
    n_class = x.shape[1]
    step = block_length(n_class, 'f')
    odds, ones = scratch((len(x),), 'f'), np.ones(n_class - 1, 'f')
    block = scratch((min(step, len(x)), n_class), 'f')
    bits, seen = block.view('u4'), 0
    for i in range(0, len(x), step):
        part = x[i : i + step]
        e, e_bits = block[: len(part)], bits[: len(part)]
        np.add(part, M, out=e, dtype='f', casting='same_kind')
        seen |= int(np.bitwise_or.reduce(e_bits, axis=None))
        np.multiply(e_bits, SCALE, out=e_bits)
        np.matmul(e[:, 1:], ones, out=odds[i : i + step])  # sums; others are slow
        odds[i : i + step] /= e[:, 0]
    # Other logits set other bits, but for two: x + M = 0 and 2, whose products are 0, as they
    # should be; a row of nothing else is 0 / 0.
    if seen & ~ALLOWED or np.isnan(odds.min()):
        return None
    # log Σ_c exp(x_c) is 64 + log C at most
    return odds, reach_of(rounding(x, 64 + math.log(n_class)), ROUGH)


def foreground_odds(x, which=None):
    """Odds as well as floats have them.

    Parameters
    ----------
    x : float array of shape (N, C)
        Logits.
    which : int array of shape (M,) or None
        Rows; all of them by default.

    Returns
    -------
    odds : float array of shape (M,)
        Σ_{c>0} exp(x_c) / exp(x_0), at least float32; inf where this cannot be said without a shift
        by the maximum, or where it is NaN.
    reach : callable
        See :func:`reach_of`.
    """
    dtype, n_class = np.promote_types(x.dtype, 'f'), x.shape[1]
    n = len(x) if which is None else len(which)
    step = block_length(n_class, dtype)
    foreground, odds = scratch((2, n), dtype)
    block, ones = scratch((min(step, n), n_class), dtype), np.ones(n_class - 1, dtype)
    for i in range(0, n, step):
        part = x[i : i + step] if which is None else x.take(which[i : i + step], axis=0)
        e = block[: len(part)]
        np.exp(part, out=e, dtype=dtype)
        np.matmul(e[:, 1:], ones, out=foreground[i : i + step])
        np.divide(foreground[i : i + step], e[:, 0], out=odds[i : i + step])

    # Known where exp(x_0) = foreground / odds is so large that what underflowed did not count.
    number = np.finfo(dtype)
    least, most = number.tiny / number.eps, number.max
    lowest, highest = foreground.min(), foreground.max()
    if not (odds.min() > 0 and odds.max() < np.inf and lowest >= least * max(odds.max(), 1)):
        known = (0 < odds) & (odds < np.inf) & (foreground >= least * np.maximum(odds, 1))
        odds[~known] = np.inf
        lowest, highest = least, most
    return odds, reach_of(rounding(x, max(abs(np.log(lowest)), abs(np.log(highest)))))


def block_length(n_class, dtype):
    """How many rows are at work at a time."""
    return 1 + BLOCK // (n_class * np.dtype(dtype).itemsize)


def rounding(x, log):
    """Slack that covers what is rounded, here and in the definition; ``log`` bounds its logarithms.

    Boxes whose losses differ by more than ``slack · (1 + loss)`` the definition ranks alike.
    """
    # Units in the last place: |x| + 4 an exponential, C / 2 a sum of C; 4 a logarithm, and 1/2 a
    # difference, of the definition's; what is large in x counts by its share of the sum: on average
    # no more than log(sum) + log C. For two losses, here and there.
    n_class = x.shape[1]
    return np.finfo(np.promote_types(x.dtype, 'f')).eps * (
        2 * n_class + 4 * log + 12 * np.log(n_class) + 40
    )


def reach_of(slack, factor=1):
    """What tells which odds may be those of a larger loss.

    Parameters
    ----------
    slack, factor : float
        What the losses, and the odds, are known within.

    Returns
    -------
    callable
        ``threshold`` to the least odds of a box that the definition may rank before one of odds
        ``threshold``.
    """

    def reach(threshold):
        loss = np.log1p(np.maximum(threshold, 0, dtype='d'))
        return np.expm1(loss - slack * (1 + loss)) / factor

    return reach
