"""Foreground odds of boxes, approximate and exact. They rank boxes as the confidence loss does.

o = Σ_{c>0} exp(x_c) / exp(x_0) = exp(loss) − 1, where the loss is that of the background class.
``docs/explanation/fast-loss.md`` derives the constants.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.functions._fused.memory import scratch

#: Size of the exponentials of one block of rows, so that they stay in the cache.
BLOCK_BYTES = 3 << 19

# Approximate exponentials: (bits(x + OFFSET) · SLOPE) mod 2^32 are the bits of a float near
# 2^29.3 · exp(x). See "Approximate exponentials".
#: M = 2^17 + 64. Adding it rounds x to a multiple of 2^-6.
EXPONENTIAL_OFFSET = np.float32(2**17 + 64)
#: S ≈ 2^17 / ln 2, in units of 2^-23 powers of two per step of 2^-6.
EXPONENTIAL_SLOPE = np.uint32(189092)
#: The bits that x + M can have for x in [-64, 64). See "Range check".
IN_RANGE_BITS = 2**13 - 1 | int(EXPONENTIAL_OFFSET.view('u4'))
#: The ratio of two approximate odds is known within this factor. See "Error bound".
ODDS_RATIO_ERROR = 1.18


class RankingError(NamedTuple):
    """How far the order of odds may differ from the definition's order of losses.

    See "Rounding slack" in ``docs/explanation/fast-loss.md``.
    """

    #: Two losses whose difference is above slack · (1 + loss) have the same order in both.
    slack: Any
    #: The ratio of two odds is known within this factor.
    odds_ratio_error: float = 1

    def lower_bound(self, odds: Array) -> Array:
        """Return the lowest odds that the definition may rank before ``odds``, in float64."""
        # (exp(loss − slack · (1 + loss)) − 1) / odds_ratio_error,  loss = log(1 + odds)
        loss = np.log1p(np.maximum(odds, 0, dtype='d'))
        return np.expm1(loss - self.slack * (1 + loss)) / self.odds_ratio_error


def approximate_odds(logits: Array) -> tuple[Array, RankingError] | None:
    """Return odds within a factor of 1.082, in less time than exponentials take.

    Parameters
    ----------
    logits : float array of shape (N, C)
        Rows of all boxes.

    Returns
    -------
    (odds, error) or None
        float32 array of shape (N,), infinite where a sum overflows, and its :class:`RankingError`.
        None if a logit is outside [-64, 64).
    """
    n_class = logits.shape[1]
    step = rows_per_block(n_class, 'f')
    odds, ones = scratch((len(logits),), 'f'), np.ones(n_class - 1, 'f')
    block = scratch((min(step, len(logits)), n_class), 'f')
    block_bits, used_bits = block.view('u4'), 0
    for i in range(0, len(logits), step):
        part = logits[i : i + step]
        exponentials, bits = block[: len(part)], block_bits[: len(part)]
        np.add(part, EXPONENTIAL_OFFSET, out=exponentials, dtype='f', casting='same_kind')
        used_bits |= int(np.bitwise_or.reduce(bits, axis=None))
        np.multiply(bits, EXPONENTIAL_SLOPE, out=bits)
        # A product with ones, because NumPy's sums along a short last axis are slow.
        np.matmul(exponentials[:, 1:], ones, out=odds[i : i + step])
        odds[i : i + step] /= exponentials[:, 0]
    # The check of NaN is for rows of x = −M and 2 − M only, which set no other bit.
    if used_bits & ~IN_RANGE_BITS or np.isnan(odds.min()):
        return None
    max_log_sum = 64 + math.log(n_class)  # log Σ_c exp(x_c) of logits below 64
    return odds, RankingError(rounding_slack(logits, max_log_sum), ODDS_RATIO_ERROR)


def exact_odds(logits: Array, which: Array | None = None) -> tuple[Array, RankingError]:
    """Return odds with floating point accuracy.

    Parameters
    ----------
    logits : float array of shape (N, C)
        Rows of all boxes.
    which : int array of shape (M,) or None
        Rows whose odds are computed. Default: all.

    Returns
    -------
    odds : float array of shape (M,)
        At least float32. Infinite where they are unknown: NaN, or an exponential that overflows
        or loses weight by underflow.
    error : RankingError
        For these odds.
    """
    dtype, n_class = np.promote_types(logits.dtype, 'f'), logits.shape[1]
    n_row = len(logits) if which is None else len(which)
    step = rows_per_block(n_class, dtype)
    foreground, odds = scratch((2, n_row), dtype)
    block, ones = scratch((min(step, n_row), n_class), dtype), np.ones(n_class - 1, dtype)
    for i in range(0, n_row, step):
        if which is None:
            part = logits[i : i + step]
        else:
            part = logits.take(which[i : i + step], axis=0)
        exponentials = block[: len(part)]
        np.exp(part, out=exponentials, dtype=dtype)
        np.matmul(exponentials[:, 1:], ones, out=foreground[i : i + step])
        np.divide(foreground[i : i + step], exponentials[:, 0], out=odds[i : i + step])

    # Odds are known if the foreground and exp(x_0) = foreground / odds are so large that
    # underflow had no effect. See "Rounding slack".
    limits = np.finfo(dtype)
    min_sum, max_sum = limits.tiny / limits.eps, limits.max
    lowest, highest = foreground.min(), foreground.max()
    if not (odds.min() > 0 and odds.max() < np.inf and lowest >= min_sum * max(odds.max(), 1)):
        known = (0 < odds) & (odds < np.inf) & (foreground >= min_sum * np.maximum(odds, 1))
        odds[~known] = np.inf
        lowest, highest = min_sum, max_sum
    max_log_sum = max(abs(np.log(lowest)), abs(np.log(highest)))
    return odds, RankingError(rounding_slack(logits, max_log_sum))


def rows_per_block(n_class: int, dtype: Any) -> int:
    """Return the number of rows whose exponentials are computed at a time."""
    return 1 + BLOCK_BYTES // (n_class * np.dtype(dtype).itemsize)


def rounding_slack(logits: Array, max_log_sum: Any) -> Any:
    """Return eps · (2 C + 4 L + 12 ln C + 40), see "Rounding slack".

    Parameters
    ----------
    logits : float array of shape (N, C)
        Only their dtype and C are used.
    max_log_sum : float
        L, a bound of |log| of the sums of exponentials.
    """
    n_class = logits.shape[1]
    return np.finfo(np.promote_types(logits.dtype, 'f')).eps * (
        2 * n_class + 4 * max_log_sum + 12 * np.log(n_class) + 40
    )
