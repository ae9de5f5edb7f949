"""3 x 3 convolutions with stride 1 by Winograd's algorithm, in blocks that fit in the cache.

See "Winograd's algorithm" in ``docs/explanation/fast-convolution.md``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.functions._convolution.blocks import (
    BLOCK_BYTES,
    Block,
    copy_cropped,
    copy_padded,
    make_blocks,
    scratch,
)
from chainer_ssd.functions._convolution.geometry import Geometry
from chainer_ssd.functions._convolution.winograd_kernels import sum_weights, transform_weights

#: Each tile of the output has 2 x 2 values. It depends on 4 x 4 values of the input.
N_PRODUCT = 16

#: A block has at least this many tiles if the batch has them. Fewer make slow products.
MIN_TILES = 320


def forward(x: Array, W: Array, b: Array | None, y: Array, geometry: Geometry, dtype: Any) -> None:
    """Write the convolution, see :func:`chainer_ssd.functions._convolution.columns.forward`."""
    n_out, n_in = W.shape[:2]
    height, width = geometry.out_size
    tiles_y, tiles_x = -(-height // 2), -(-width // 2)
    factor = transform_weights(W.transpose(2, 3, 1, 0), dtype)
    for block in _make_blocks(len(x), tiles_y, tiles_x, n_in + n_out, dtype):
        patches = _transform_input(x, block, tiles_x, geometry, dtype)
        product = scratch(np, 'product', (*patches.shape[:2], n_out), dtype)
        np.matmul(patches, factor, out=product)
        tiles = _sum_output(product, block, tiles_x)
        if b is not None:
            tiles += b
        copy_cropped(tiles, y[block.images], 2 * block.first_row, 0)


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
    n_out, n_in = W.shape[:2]
    height, width = geometry.out_size
    tiles_y, tiles_x = -(-height // 2), -(-width // 2)
    factor: Any = None
    carry: Any = None
    total: Any = None
    if gx is not None:
        factor = transform_weights(W.transpose(2, 3, 0, 1), dtype)
    for block in _make_blocks(len(x), tiles_y, tiles_x, n_in + n_out, dtype):
        spread = _spread_output(gy, block, tiles_x, dtype)
        if gW is not None:
            patches = _transform_input(x, block, tiles_x, geometry, dtype)
            total = _add_product(spread.transpose(0, 2, 1), patches, total)
        if gx is not None:
            product = scratch(np, 'patches', (*spread.shape[:2], n_in), dtype)
            np.matmul(spread, factor, out=product)
            carry = _add_input(product, gx, block, tiles_x, geometry, carry)
    if gW is not None:
        if total is None:
            gW[...] = 0
        else:
            sum_weights(total, gW)


def _add_product(a: Array, b: Array, total: Array | None) -> Array:
    """Return ``total + a @ b``. Writes to ``total``."""
    shape = (N_PRODUCT, a.shape[1], b.shape[2])
    product = scratch(np, 'total' if total is None else 'part', shape, b.dtype)
    np.matmul(a, b, out=product)
    if total is None:
        return product
    total += product
    return total


def _make_blocks(
    n_image: int, tiles_y: int, tiles_x: int, n_channel: int, dtype: Any
) -> list[Block]:
    tile_bytes = N_PRODUCT * n_channel * np.dtype(dtype).itemsize
    limit = max(BLOCK_BYTES, MIN_TILES * tile_bytes)
    return make_blocks(n_image, tiles_y, tiles_x * tile_bytes, limit)


def _transform_input(x: Array, block: Block, tiles_x: int, geometry: Geometry, dtype: Any) -> Array:
    """Return Bᵀ · d · B of the block's patches as (16, tiles, C)."""
    # Rows of Bᵀ: d0 - d2, d1 + d2, d2 - d1, d1 - d3
    n_in, n_row = x.shape[1], block.n_row
    padded = scratch(np, 'padded', (block.n_image, 2 * n_row + 2, 2 * tiles_x + 2, n_in), dtype)
    copy_padded(x, padded, block.images, 2 * block.first_row - geometry.ph, geometry.pw)
    half = scratch(np, 'half', (4, block.n_image, 2 * n_row + 2, tiles_x, n_in), dtype)
    _apply_transposed_b(padded[:, :, 0::2], padded[:, :, 1::2], half)
    patches = scratch(np, 'patches', (4, 4, block.n_image, n_row, tiles_x, n_in), dtype)
    _apply_transposed_b(half[:, :, 0::2], half[:, :, 1::2], patches)
    return patches.reshape(N_PRODUCT, -1, n_in)


def _apply_transposed_b(even: Array, odd: Array, out: Array) -> None:
    # The axis of the patch is the last but one of (images, rows, C), or the last but two.
    np.subtract(even[:, :, :-1], even[:, :, 1:], out=out[0])
    np.add(odd[:, :, :-1], even[:, :, 1:], out=out[1])
    np.subtract(even[:, :, 1:], odd[:, :, :-1], out=out[2])
    np.subtract(odd[:, :, :-1], odd[:, :, 1:], out=out[3])


def _sum_output(product: Array, block: Block, tiles_x: int) -> Array:
    """Return Aᵀ · m · A of (16, tiles, C) as (images, rows, columns, C)."""
    # Rows of Aᵀ: m0 + m1 + m2, m1 - m2 - m3
    n_image, n_row, n_out = block.n_image, block.n_row, product.shape[-1]
    m = product.reshape(4, 4, n_image, n_row, tiles_x, n_out)
    half = scratch(np, 'half', (2, 4, n_image, n_row, tiles_x, n_out), product.dtype)
    tiles = scratch(np, 'padded', (n_image, n_row, 2, tiles_x, 2, n_out), product.dtype)
    _apply_transposed_a(m, half[0], half[1])
    for i in range(2):
        _apply_transposed_a(half[i], tiles[:, :, i, :, 0], tiles[:, :, i, :, 1])
    return tiles.reshape(n_image, 2 * n_row, 2 * tiles_x, n_out)


def _apply_transposed_a(m: Array, first: Array, second: Array) -> None:
    np.subtract(m[1], m[2], out=second)
    np.add(m[1], m[2], out=first)
    first += m[0]
    second -= m[3]


def _spread_output(gy: Array, block: Block, tiles_x: int, dtype: Any) -> Array:
    """Return A · g · Aᵀ of the block's tiles as (16, tiles, C), with one sign changed.

    The last row of A is taken as ``g1`` and not as ``-g1``.
    """
    n_out, n_image, n_row = gy.shape[1], block.n_image, block.n_row
    tiles = scratch(np, 'padded', (n_image, 2 * n_row, 2 * tiles_x, n_out), dtype)
    copy_padded(gy, tiles, block.images, 2 * block.first_row, 0)
    half = scratch(np, 'half', (2, n_image, 2 * n_row, tiles_x, n_out), dtype)
    even, odd = tiles[:, :, 0::2], tiles[:, :, 1::2]
    np.add(even, odd, out=half[0])
    np.subtract(even, odd, out=half[1])
    spread = scratch(np, 'spread', (4, 4, n_image, n_row, tiles_x, n_out), dtype)
    for k, column in enumerate((even, half[0], half[1], odd)):
        top, bottom = column[:, 0::2], column[:, 1::2]
        np.copyto(spread[0, k], top)
        np.add(top, bottom, out=spread[1, k])
        np.subtract(top, bottom, out=spread[2, k])
        np.copyto(spread[3, k], bottom)
    return spread.reshape(N_PRODUCT, -1, n_out)


def _add_input(
    product: Array, gx: Array, block: Block, tiles_x: int, geometry: Geometry, carry: Array
) -> Array:
    """Write B · m · Bᵀ of overlapping patches (16, tiles, C) to the block's rows of ``gx``.

    ``carry`` is what the call for the block above returned, the part of the rows in common.
    """
    n_image, n_row, n_in = block.n_image, block.n_row, product.shape[-1]
    m = product.reshape(4, 4, n_image, n_row, tiles_x, n_in)
    half = scratch(np, 'half', (4, n_image, n_row + 1, 2, tiles_x, n_in), product.dtype)
    rows = half.transpose(3, 2, 0, 1, 4, 5)
    _apply_b(m.transpose(0, 3, 1, 2, 4, 5), rows[0], rows[1])
    padded = scratch(np, 'padded', (n_image, 2 * n_row + 2, tiles_x + 1, 2, n_in), product.dtype)
    half = half.reshape(4, n_image, 2 * n_row + 2, tiles_x, n_in)
    columns = padded.transpose(3, 2, 0, 1, 4)
    _apply_b(half.transpose(0, 3, 1, 2, 4), columns[0], columns[1])
    padded = padded.reshape(n_image, 2 * n_row + 2, 2 * tiles_x + 2, n_in)

    # The last two rows also have a part from the next block of the same images. It writes them.
    if block.first_row:
        padded[:, :2] += carry
    rest = padded[:, -2:].copy()
    copy_cropped(padded, gx[block.images], 2 * block.first_row - geometry.ph, geometry.pw)
    return rest


def _apply_b(m: Array, even: Array, odd: Array) -> None:
    # Rows of B: m0, m1 - m2 + m3, m1 + m2 - m0, -m3. The last two overlap the next tile's first
    # two. The sign of m[3] is the opposite one, see _spread_output. Changes m.
    np.subtract(m[1], m[2], out=odd[:-1])
    odd[:-1] -= m[3]
    odd[1:-1] += m[3, :-1]
    odd[-1] = m[3, -1]
    m[1] += m[2]
    m[1] -= m[0]
    even[0] = m[0, 0]
    np.add(m[0, 1:], m[1, :-1], out=even[1:-1])
    even[-1] = m[1, -1]
