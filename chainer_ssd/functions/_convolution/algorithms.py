"""The choice of the algorithm, and groups."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Callable

import numpy as np

from chainer_ssd._array import Array, get_array_module
from chainer_ssd.functions._convolution import columns, pointwise, winograd
from chainer_ssd.functions._convolution.geometry import Geometry
from chainer_ssd.functions._convolution.threads import map_parts

#: Winograd's algorithm pays off with this many channels, and with this many tiles in the batch.
MIN_WINOGRAD_CHANNELS, MIN_WINOGRAD_TILES = 16, 64

#: It needs at most this fraction of the multiplications of the definition. At the edge of the
#: output, tiles are incomplete.
MAX_WINOGRAD_PRODUCTS = 0.75


def convolve(x: Array, W: Array, b: Array | None, geometry: Geometry) -> Array:
    """Return the convolution of arrays, in the dtype of ``x``."""
    y = get_array_module(x).empty((len(x), len(W), *geometry.out_size), x.dtype)
    dtype = np.result_type(x.dtype, W.dtype, np.float32)
    algorithm = choose_algorithm(x, W, geometry)

    def convolve_part(images: slice) -> None:
        for inputs, outputs in _split_channels(W, geometry.groups):
            algorithm.forward(
                x[images, inputs],
                W[outputs],
                None if b is None else b[outputs],
                y[images, outputs],
                geometry,
                dtype,
            )

    _map_parts(convolve_part, x, W, geometry)
    return y


def compute_gradients(
    x: Array, W: Array, gy: Array, geometry: Geometry, needs_gx: bool, needs_gW: bool
) -> tuple[Array | None, Array | None]:
    """Return the gradients of the input and of the kernels, None where they are not needed."""
    xp = get_array_module(x)
    gx = xp.zeros(x.shape, x.dtype) if needs_gx else None
    dtype = np.result_type(x.dtype, W.dtype, np.float32)
    algorithm = choose_algorithm(x, W, geometry)

    def compute_part(images: slice) -> Array | None:
        gW = xp.empty(W.shape, dtype) if needs_gW else None
        for inputs, outputs in _split_channels(W, geometry.groups):
            algorithm.gradients(
                x[images, inputs],
                W[outputs],
                gy[images, outputs],
                None if gx is None else gx[images, inputs],
                None if gW is None else gW[outputs],
                geometry,
                dtype,
            )
        return gW

    gW, *others = _map_parts(compute_part, x, W, geometry)
    for other in others:
        if gW is not None:
            gW += other
    return gx, None if gW is None else gW.astype(W.dtype, copy=False)


def _map_parts(function: Callable[[slice], Any], x: Array, W: Array, geometry: Geometry) -> Any:
    if not isinstance(x, np.ndarray):
        return [function(slice(0, len(x)))]
    n_product = len(x) * geometry.out_size[0] * geometry.out_size[1] * W.size
    return map_parts(function, len(x), n_product)


def choose_algorithm(x: Array, W: Array, geometry: Geometry) -> ModuleType:
    """Return the module that computes the convolution, the same for forward and backward."""
    kernel = W.shape[2:]
    if kernel == (1, 1) and (geometry.ph, geometry.pw) == (0, 0):
        return pointwise
    height, width = geometry.out_size
    n_tile = -(-height // 2) * -(-width // 2)
    if (
        isinstance(x, np.ndarray)
        and kernel == (3, 3)
        and (geometry.sy, geometry.sx, geometry.dy, geometry.dx) == (1, 1, 1, 1)
        and min(len(W) // geometry.groups, W.shape[1]) >= MIN_WINOGRAD_CHANNELS
        and len(x) * n_tile >= MIN_WINOGRAD_TILES
        and winograd.N_PRODUCT * n_tile <= MAX_WINOGRAD_PRODUCTS * 9 * height * width
    ):
        return winograd
    return columns


def _split_channels(W: Array, groups: int) -> list[tuple[slice, slice]]:
    """Return the input channels and the output channels of each group."""
    n_out, n_in = len(W) // groups, W.shape[1]
    return [
        (slice(i * n_in, (i + 1) * n_in), slice(i * n_out, (i + 1) * n_out)) for i in range(groups)
    ]
