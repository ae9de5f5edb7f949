"""1 x 1 convolutions as products with the input itself."""

from __future__ import annotations

from typing import Any

from chainer_ssd._array import Array, get_array_module
from chainer_ssd.functions._convolution.columns import add_products, multiply
from chainer_ssd.functions._convolution.geometry import Geometry


def forward(x: Array, W: Array, b: Array | None, y: Array, geometry: Geometry, dtype: Any) -> None:
    """Write the convolution, see :func:`chainer_ssd.functions._convolution.columns.forward`."""
    weights = _as_matrix(W, dtype)
    for pixels, out in zip(_skip(x, geometry), y):
        multiply(weights, _as_matrix(pixels, dtype), out)
        if b is not None:
            out += b.reshape(-1, 1, 1)


def gradients(
    x: Array,
    W: Array,
    gy: Array,
    gx: Array | None,
    gW: Array | None,
    geometry: Geometry,
    dtype: Any,
) -> None:
    """Write the gradients, see :func:`chainer_ssd.functions._convolution.columns.gradients`."""
    weights = _as_matrix(W, dtype)
    total = None
    for i in range(len(x)):
        grad = _as_matrix(gy[i], dtype)
        if gW is not None:
            pixels = _as_matrix(_skip(x[i], geometry), dtype)
            total = add_products(grad[None], pixels.T[None], total)
        if gx is not None:
            multiply(weights.T, grad, _skip(gx[i], geometry))
    if gW is not None:
        gW[...] = 0 if total is None else total.reshape(gW.shape)


def _as_matrix(array: Array, dtype: Any) -> Array:
    """Return kernels or an image as (OC, C) or (C, P)."""
    return get_array_module(array).ascontiguousarray(array, dtype).reshape(len(array), -1)


def _skip(x: Array, geometry: Geometry) -> Array:
    """Return the pixels that the strides reach."""
    return x[..., :: geometry.sy, :: geometry.sx]
