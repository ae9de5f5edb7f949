"""Convolutions of any kernel as products with columns, which are made block by block.

See "Columns" in ``docs/explanation/fast-convolution.md``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainer_ssd._array import Array, get_array_module
from chainer_ssd.functions._convolution.blocks import (
    Block,
    block_bytes,
    copy_cropped,
    copy_padded,
    make_blocks,
    scratch,
)
from chainer_ssd.functions._convolution.geometry import Geometry

#: Images with fewer pixels are multiplied together, because small products are slow.
MIN_PIXELS = 128

#: A block has about this many pixels at least, if the batch has them. Sums over blocks would
#: otherwise take longer than products.
MIN_PIXELS_OF_BLOCK = 320


def forward(x: Array, W: Array, b: Array | None, y: Array, geometry: Geometry, dtype: Any) -> None:
    """Write the convolution to ``y``.

    Parameters
    ----------
    x : float array of shape (B, C, H, W)
        Input.
    W : float array of shape (OC, C, kh, kw)
        Kernels.
    b : float array of shape (OC,) or None
        Biases.
    y : float array of shape (B, OC, *geometry.out_size)
        Output. The last two axes are contiguous.
    geometry : Geometry
        Strides and so on.
    dtype : dtype
        Type of the products and sums.
    """
    xp = get_array_module(x)
    weights = _as_rows(W, dtype).T
    for block in _make_blocks(x, W, geometry, dtype):
        columns = _make_columns(x, block, W.shape, geometry, dtype)
        out = y[block.images, :, block.rows].transpose(0, 2, 3, 1)
        product = scratch(xp, 'product', out.shape, dtype)
        xp.matmul(columns.reshape(-1, columns.shape[2]), weights, out=product.reshape(-1, len(W)))
        if b is not None:
            product += b
        xp.copyto(out, product, casting='same_kind')


def gradients(
    x: Array,
    W: Array,
    gy: Array,
    gx: Array | None,
    gW: Array | None,
    geometry: Geometry,
    dtype: Any,
) -> None:
    """Write the gradients of a loss to ``gx`` and ``gW``.

    Parameters
    ----------
    x, W, geometry, dtype
        As for :func:`forward`.
    gy : float array of shape (B, OC, *geometry.out_size)
        Gradient of the output.
    gx : float array of shape (B, C, H, W) or None
        Zeros. None: the gradient is not needed.
    gW : float array of shape (OC, C, kh, kw) or None
        Any values. None: the gradient is not needed.
    """
    xp = get_array_module(x)
    weights = None if gx is None else _as_rows(W, dtype)
    shape = len(W), math.prod(W.shape[1:])
    total = None
    for block in _make_blocks(x, W, geometry, dtype):
        grads = _as_matrices(gy[block.images, :, block.rows], dtype)
        if gW is not None:
            columns = _make_columns(x, block, W.shape, geometry, dtype)
            total = add_products(grads, columns.reshape(len(grads), -1, shape[1]), total)
        if gx is not None:
            columns = scratch(xp, 'columns', (len(grads), grads.shape[2], shape[1]), dtype)
            xp.matmul(grads.swapaxes(1, 2), weights, out=columns)
            _add_columns(columns, gx, block, W.shape, geometry)
    if gW is not None:
        if total is None:
            gW[...] = 0
        else:
            n_out, n_in, kh, kw = W.shape
            rows = total.reshape(n_out, kh, kw, n_in).transpose(0, 3, 1, 2)
            xp.copyto(gW, rows, casting='same_kind')


def multiply(a: Array, b: Array, out: Array) -> None:
    """Write ``a @ b`` to an array (..., C, H, W) of any float dtype and strides."""
    xp = get_array_module(out)
    shape = (*out.shape[:-2], out.shape[-2] * out.shape[-1])
    row, column = out.strides[-2:]
    if out.dtype == b.dtype and column == out.itemsize and row == column * out.shape[-1]:
        xp.matmul(a, b, out=out.reshape(shape))  # no copy
    else:
        product = scratch(xp, 'product', shape, b.dtype)
        xp.matmul(a, b, out=product)
        xp.copyto(out, product.reshape(out.shape), casting='same_kind')


def add_products(a: Array, b: Array, total: Array | None) -> Array:
    """Return the total of other blocks and ``a[i] @ b[i]`` of all images. Writes to ``total``."""
    xp = get_array_module(b)
    shape = a.shape[1], b.shape[2]
    for i in range(len(a)):
        product = scratch(xp, 'total' if total is None else 'part', shape, b.dtype)
        xp.matmul(a[i], b[i], out=product)
        if total is None:
            total = product
        else:
            total += product
    return total


def _as_matrices(gy: Array, dtype: Any) -> Array:
    """Return gradients as (images, OC, P), or small images side by side as (1, OC, P)."""
    xp = get_array_module(gy)
    n_image, n_out, height, width = gy.shape
    if height * width >= MIN_PIXELS:
        return xp.ascontiguousarray(gy, dtype).reshape(n_image, n_out, -1)
    grads = scratch(xp, 'grads', (n_image, height, width, n_out), dtype)
    xp.copyto(grads, gy.transpose(0, 2, 3, 1))
    return grads.reshape(1, -1, n_out).swapaxes(1, 2)


def _as_rows(W: Array, dtype: Any) -> Array:
    """Return the kernels as (OC, kh * kw * C)."""
    xp = get_array_module(W)
    n_out, n_in, kh, kw = W.shape
    rows = scratch(xp, 'weights', (n_out, kh, kw, n_in), dtype)
    xp.copyto(rows, W.transpose(0, 2, 3, 1))
    return rows.reshape(n_out, -1)


def _make_blocks(x: Array, W: Array, geometry: Geometry, dtype: Any) -> list[Block]:
    height, width = geometry.out_size
    pixel_bytes = math.prod(W.shape[1:]) * np.dtype(dtype).itemsize
    limit = max(block_bytes(x), MIN_PIXELS_OF_BLOCK * pixel_bytes)
    return make_blocks(len(x), height, width * pixel_bytes, limit)


def _make_padded(
    xp: Any, block: Block, W_shape: tuple[int, ...], geometry: Geometry, dtype: Any
) -> Array:
    """Return memory for the rows and columns of the padded input that a block needs."""
    _, n_in, kh, kw = W_shape
    shape = (
        block.n_image,
        (block.n_row - 1) * geometry.sy + (kh - 1) * geometry.dy + 1,
        (geometry.out_size[1] - 1) * geometry.sx + (kw - 1) * geometry.dx + 1,
        n_in,
    )
    return scratch(xp, 'padded', shape, dtype)


def _make_columns(
    x: Array, block: Block, W_shape: tuple[int, ...], geometry: Geometry, dtype: Any
) -> Array:
    """Return the patches of a block as (images, P, kh * kw * C)."""
    xp = get_array_module(x)
    _, n_in, kh, kw = W_shape
    padded = _make_padded(xp, block, W_shape, geometry, dtype)
    copy_padded(x, padded, block.images, block.first_row * geometry.sy - geometry.ph, geometry.pw)
    image, row, column, channel = padded.strides
    patches = xp.lib.stride_tricks.as_strided(
        padded,
        (block.n_image, block.n_row, geometry.out_size[1], kh, kw, n_in),
        (
            image,
            row * geometry.sy,
            column * geometry.sx,
            row * geometry.dy,
            column * geometry.dx,
            channel,
        ),
    )
    columns = scratch(xp, 'columns', patches.shape, dtype)
    xp.copyto(columns, patches)
    return columns.reshape(block.n_image, -1, kh * kw * n_in)


def _add_columns(
    columns: Array, gx: Array, block: Block, W_shape: tuple[int, ...], geometry: Geometry
) -> None:
    """Write the sums of overlapping patches (images, P, kh * kw * C) to ``gx``."""
    xp = get_array_module(gx)
    _, n_in, kh, kw = W_shape
    g = geometry
    columns = columns.reshape(block.n_image, block.n_row, g.out_size[1], kh, kw, n_in)
    padded = _make_padded(xp, block, W_shape, geometry, columns.dtype)
    # If patches fill the padded input without overlap, no sum is needed.
    is_sum = (kh, kw) != (g.sy, g.sx) or (g.dy, g.dx) != (1, 1)
    if is_sum:
        padded[...] = 0
    for i in range(kh):
        rows = slice(i * g.dy, i * g.dy + (block.n_row - 1) * g.sy + 1, g.sy)
        for j in range(kw):
            start = j * g.dx
            stop = start + (g.out_size[1] - 1) * g.sx + 1
            out = padded[:, rows, start : stop : g.sx]
            if is_sum:
                out += columns[:, :, :, i, j]
            else:
                xp.copyto(out, columns[:, :, :, i, j])
    copy_cropped(
        padded,
        gx[block.images],
        block.first_row * g.sy - g.ph,
        g.pw,
        add=block.n_row < g.out_size[0],
    )
