"""The kernels of Winograd's algorithm, and their gradients.

Each pass applies 2 G, which has only the factors 1 and 2. Two passes need the factor 1/4, and one
multiplication applies it while the kernels are copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.functions._convolution.blocks import scratch

#: Kernels (pairs of an input and an output channel) that are transformed at once.
MAX_WEIGHTS_IN_CACHE = 8192


def transform_weights(weights: Array, dtype: Any) -> Array:
    """Return G · w · Gᵀ as (16, A, B).

    Parameters
    ----------
    weights : float array of shape (3, 3, A, B)
        Kernels.
    dtype : dtype
        Type of the result.
    """
    n_row, n_column = weights.shape[2:]
    factor = scratch(np, 'factor', (4, 4, n_row, n_column), dtype)
    for rows in _split_rows(n_row, n_column):
        w = scratch(np, 'weights', (3, 3, rows.stop - rows.start, n_column), dtype)
        np.multiply(weights[:, :, rows], 0.25, out=w, casting='same_kind')
        half = scratch(np, 'half', (4, *w.shape[1:]), dtype)
        _apply_doubled_g(w, half)
        _apply_doubled_g(half.swapaxes(0, 1), factor[:, :, rows].swapaxes(0, 1))
    return factor.reshape(-1, n_row, n_column)


def _split_rows(n_row: int, n_column: int) -> list[slice]:
    """Return ranges of rows of which a transform stays in the cache."""
    step = max(MAX_WEIGHTS_IN_CACHE // n_column, 1)
    return [slice(row, min(row + step, n_row)) for row in range(0, n_row, step)]


def _apply_doubled_g(w: Array, out: Array) -> None:
    # Rows of G: w0, (w0 + w1 + w2) / 2, (w0 - w1 + w2) / 2, w2
    np.multiply(w[0], 2, out=out[0])
    np.multiply(w[2], 2, out=out[3])
    np.add(w[0], w[2], out=out[1])
    np.subtract(out[1], w[1], out=out[2])
    out[1] += w[1]


def sum_weights(total: Array, gW: Array) -> None:
    """Write Gᵀ · total · G, the gradient of kernels.

    Parameters
    ----------
    total : float array of shape (16, A, B)
        Gradient of the transformed kernels, with opposite signs where one of the two indexes of
        0 to 3 is 3. Its values change.
    gW : float array of shape (A, B, 3, 3)
        Result.
    """
    n_row, n_column = total.shape[1:]
    total = total.reshape(4, 4, n_row, n_column)
    for rows in _split_rows(n_row, n_column):
        half = scratch(np, 'half', (3, 4, rows.stop - rows.start, n_column), total.dtype)
        _apply_doubled_transposed_g(total[:, :, rows], half)
        w = scratch(np, 'weights', (3, *half.shape[:1], *half.shape[2:]), total.dtype)
        _apply_doubled_transposed_g(half.swapaxes(0, 1), w.swapaxes(0, 1))
        np.multiply(w.transpose(2, 3, 0, 1), 0.25, out=gW[rows], casting='same_kind')


def _apply_doubled_transposed_g(u: Array, out: Array) -> None:
    # Rows of 2 Gᵀ: 2 u0 + u1 + u2, u1 - u2, u1 + u2 + 2 u3. Here u[3] has the opposite sign.
    # Changes u.
    np.subtract(u[1], u[2], out=out[1])
    u[1] += u[2]
    u[0] *= 2
    u[3] *= 2
    np.add(u[0], u[1], out=out[0])
    np.subtract(u[1], u[3], out=out[2])
