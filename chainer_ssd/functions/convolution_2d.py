"""A convolution that works in blocks, where Chainer makes the columns of the whole batch."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_choice
from chainer_ssd.functions._convolution.node import Convolution2DFunction

DTYPES = np.float16, np.float32, np.float64

#: Smaller groups are left to Chainer, which multiplies all groups at once.
MIN_CHANNELS_OF_GROUP = 8

if not hasattr(chainer.global_config, 'use_blocked_convolution'):
    chainer.global_config.use_blocked_convolution = 'auto'


def convolution_2d(
    x: chainer.Variable | Array,
    W: chainer.Variable | Array,
    b: chainer.Variable | Array | None = None,
    stride: int | tuple[int, int] = 1,
    pad: int | tuple[int, int] = 0,
    cover_all: bool = False,
    *,
    dilate: int | tuple[int, int] = 1,
    groups: int = 1,
    cudnn_fast: bool = False,
) -> chainer.Variable:
    """Return the two-dimensional convolution, as :func:`chainer.functions.convolution_2d`.

    On a CPU it takes about half of the time, and a small part of the memory. Chainer copies the
    patches of the whole batch to one array, which is kernel height times kernel width as large as
    the input. This function copies a few images or rows at a time, and multiplies them while they
    are in the cache. For 3 x 3 kernels it also needs fewer multiplications.

    Parameters
    ----------
    x : chainer.Variable or float array of shape (B, C, H, W)
        Input. B may be 0.
    W : chainer.Variable or float array of shape (OC, C / groups, kh, kw)
        Kernels.
    b : chainer.Variable or float array of shape (OC,), optional
        Biases.
    stride, pad, dilate : int or pair of int
        Step, zeros at each edge, and distance of the kernel's elements, in pixels. A pair is
        (vertical, horizontal).
    cover_all : bool
        Whether the output also covers the last pixels if they do not fill a step. Chainer's
        function computes it.
    groups : int
        Number of groups of channels that are convolved apart.
    cudnn_fast : bool
        Chainer's option for layouts of cuDNN. Chainer's function computes it.

    Returns
    -------
    chainer.Variable of shape (B, OC, H', W')
        H' = (H + 2 * pad - dilate * (kh - 1) - 1) // stride + 1, and W' likewise. In the dtype of
        ``x``. The values equal Chainer's up to rounding.

    Raises
    ------
    chainer.utils.type_check.InvalidType
        If a dtype is no float, or the shapes do not fit.
    RuntimeError
        If the output has no pixel.
    ValueError
        If ``chainer.config.use_blocked_convolution`` is neither ``'auto'`` nor ``'never'``, or if
        ``dilate`` is not positive.

    Notes
    -----
    ``chainer.config.use_blocked_convolution`` chooses. ``'auto'``, the default, uses the blocks on
    NumPy, and on CuPy without cuDNN. ``'never'`` uses Chainer's function. Chainer's function also
    computes ChainerX and iDeep arrays, groups of less than 8 channels, and double backprop.

    Sums are float32 for float16 arrays. Repeated calls give the same bits on the same machine with
    the same number of BLAS threads. Only gradients that are needed are computed.

    Winograd's algorithm is that of Lavin and Gray, "Fast Algorithms for Convolutional Neural
    Networks" (2016), with tiles of 2 x 2. An infinite or NaN pixel reaches up to 4 x 4 pixels of
    the output, where the definition reaches 3 x 3.
    """
    if cover_all or cudnn_fast or not _node_serves(groups, x, W, b):
        return F.convolution_2d(
            x, W, b, stride, pad, cover_all, dilate=dilate, groups=groups, cudnn_fast=cudnn_fast
        )
    inputs = (x, W) if b is None else (x, W, b)
    return Convolution2DFunction(stride, pad, dilate=dilate, groups=groups).apply(inputs)[0]


def uses_blocks() -> bool:
    """Return whether ``chainer.config.use_blocked_convolution`` allows our nodes.

    Returns
    -------
    bool
        False for ``'never'``.

    Raises
    ------
    ValueError
        If it is neither ``'auto'`` nor ``'never'``.
    """
    use = chainer.config.use_blocked_convolution
    check_choice('chainer.config.use_blocked_convolution', use, ('auto', 'never'))
    return use != 'never'


def _node_serves(groups: int, *inputs: Any) -> bool:
    """Return whether the node computes these inputs, and not Chainer's function."""
    arrays = [chainer.as_array(x) for x in inputs if x is not None]
    if (
        not uses_blocks()
        or any(getattr(x, 'layout', None) is not None for x in inputs)
        or any(getattr(x, 'dtype', None) not in DTYPES for x in arrays)
        or not arrays[1].size
        or not _groups_are_served(arrays[1].shape, groups)
    ):
        return False
    if all(isinstance(x, np.ndarray) for x in arrays):
        return not chainer.backends.intel64.is_ideep_available()
    are_on_gpu = all(isinstance(x, chainer.backends.cuda.ndarray) for x in arrays)
    return are_on_gpu and not chainer.should_use_cudnn('>=auto')


def _groups_are_served(W_shape: tuple[int, ...], groups: int) -> bool:
    if groups == 1:
        return True
    if len(W_shape) != 4 or groups < 1 or W_shape[0] % groups:
        return False  # an error, which Chainer raises
    return min(W_shape[0] // groups, W_shape[1]) >= MIN_CHANNELS_OF_GROUP
