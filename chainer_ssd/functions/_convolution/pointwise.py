"""1 x 1 convolutions as products with the input itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._array import Array, get_array_module
from chainer_ssd.functions._convolution.blocks import block_bytes, make_blocks
from chainer_ssd.functions._convolution.columns import add_products, multiply
from chainer_ssd.functions._convolution.geometry import Geometry


def forward(x: Array, W: Array, b: Array | None, y: Array, geometry: Geometry, dtype: Any) -> None:
    """Write the convolution, see :func:`chainer_ssd.functions._convolution.columns.forward`."""
    weights = _as_matrix(W, dtype)
    for images in _split_images(x, W, geometry, dtype):
        out = y[images]
        multiply(weights, _as_matrices(_skip(x[images], geometry), dtype), out)
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
    for images in _split_images(x, W, geometry, dtype):
        grads = _as_matrices(gy[images], dtype)
        if gW is not None:
            pixels = _as_matrices(_skip(x[images], geometry), dtype)
            total = add_products(grads, pixels.swapaxes(1, 2), total)
        if gx is not None:
            multiply(weights.T, grads, _skip(gx[images], geometry))
    if gW is not None:
        gW[...] = 0 if total is None else total.reshape(gW.shape)


def _split_images(x: Array, W: Array, geometry: Geometry, dtype: Any) -> list[slice]:
    """Return ranges of images that fit in the cache."""
    n_pixel = geometry.out_size[0] * geometry.out_size[1]
    image_bytes = (len(W) + W.shape[1]) * n_pixel * np.dtype(dtype).itemsize
    return [block.images for block in make_blocks(len(x), 1, image_bytes, block_bytes(x))]


def _as_matrix(W: Array, dtype: Any) -> Array:
    """Return the kernels as (OC, C)."""
    return get_array_module(W).ascontiguousarray(W, dtype).reshape(W.shape[:2])


def _as_matrices(x: Array, dtype: Any) -> Array:
    """Return images as (images, C, P)."""
    return get_array_module(x).ascontiguousarray(x, dtype).reshape(*x.shape[:2], -1)


def _skip(x: Array, geometry: Geometry) -> Array:
    """Return the pixels that the strides reach."""
    return x[..., :: geometry.sy, :: geometry.sx]
