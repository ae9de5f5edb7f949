"""Blocks of images and rows whose intermediate results fit in the cache, and their memory."""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._array import Array, get_array_module

#: Intermediate results of one block on a CPU, in bytes.
BLOCK_BYTES = 1 << 20

#: Larger scratch arrays are not kept. Their products take much longer than the page faults.
MAX_WARM_BYTES = 8 << 20

#: NumPy's innermost loop is over channels. If it is short, one copy for each channel is faster.
MIN_CHANNELS_IN_ONE_COPY = 8

#: The same on a GPU, as a fraction of its memory. It must not depend on the free memory, because
#: the order of sums depends on the blocks.
BLOCK_FRACTION_OF_GPU = 1 / 64


class Block(NamedTuple):
    """A range of images and, if one image is too large, of its rows."""

    first_image: int
    end_image: int
    first_row: int
    end_row: int

    @property
    def images(self) -> slice:
        return slice(self.first_image, self.end_image)

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.end_row)

    @property
    def n_image(self) -> int:
        return self.end_image - self.first_image

    @property
    def n_row(self) -> int:
        return self.end_row - self.first_row


def make_blocks(n_image: int, n_row: int, row_bytes: int, limit: int) -> list[Block]:
    """Return blocks of nearly equal size, image by image.

    Parameters
    ----------
    n_image, n_row : int
        Number of images, and of rows of each.
    row_bytes : int
        Bytes that a row needs.
    limit : int
        Bytes that a block needs, if it has more than one row.
    """
    image_bytes = n_row * row_bytes
    n_step = max(limit // max(image_bytes, 1), 1)
    image_step = _divide(n_image, n_step)
    row_step = _divide(n_row, max(limit // row_bytes, 1)) if image_bytes > limit else n_row
    return [
        Block(image, min(image + image_step, n_image), row, min(row + row_step, n_row))
        for image in range(0, n_image, image_step)
        for row in range(0, n_row, row_step)
    ]


def block_bytes(x: Array) -> int:
    """Return the number of bytes for the columns of one block."""
    xp = get_array_module(x)
    if xp is np:
        return BLOCK_BYTES
    with x.device:
        return int(xp.cuda.Device().mem_info[1] * BLOCK_FRACTION_OF_GPU)


def _divide(total: int, most: int) -> int:
    """Return the size of the smallest number of nearly equal parts with at most ``most`` each."""
    return max(-(-total // max(-(-total // most), 1)), 1)


def copy_padded(x: Array, out: Array, images: slice, first_row: int, pad_x: int) -> None:
    """Copy rows of (B, C, H, W) to (images, rows, columns, C), with zeros around the input.

    Parameters
    ----------
    x, out : float arrays
        Source and destination. The destination may need fewer columns than the input has.
    images : slice
        Which images.
    first_row : int
        Row of the input that becomes the first one. Negative: above the input.
    pad_x : int
        Columns of zeros on the left.
    """
    height, width = x.shape[2:]
    n_row, n_column = out.shape[1:3]
    top = min(max(-first_row, 0), n_row)
    end = max(min(height - first_row, n_row), top)
    stop = max(min(pad_x + width, n_column), pad_x)
    out[:, :top] = 0
    out[:, end:] = 0
    out[:, top:end, :pad_x] = 0
    out[:, top:end, stop:] = 0
    inner = out[:, top:end, pad_x:stop]
    x = x[images, :, first_row + top : first_row + end, : stop - pad_x]
    xp = get_array_module(x)
    if xp is np and out.shape[3] < MIN_CHANNELS_IN_ONE_COPY:
        for i in range(out.shape[3]):
            np.copyto(inner[..., i], x[:, i])
    else:
        xp.copyto(inner, x.transpose(0, 2, 3, 1))


def copy_cropped(padded: Array, x: Array, first_row: int, pad_x: int, add: bool = False) -> None:
    """Copy (B, rows, columns, C) without what lies outside to rows of (B, C, H, W).

    Parameters
    ----------
    padded, x : float arrays
        Source and destination.
    first_row, pad_x : int
        As for :func:`copy_padded`.
    add : bool
        Whether to add to the destination.
    """
    height, width = x.shape[2:]
    n_row, n_column = padded.shape[1:3]
    top = max(first_row, 0)
    end = max(min(first_row + n_row, height), top)
    n_column = max(min(n_column - pad_x, width), 0)
    source = padded[:, top - first_row : end - first_row, pad_x : pad_x + n_column]
    source, x = source.transpose(0, 3, 1, 2), x[:, :, top:end, :n_column]
    if add:
        x += source
    else:
        get_array_module(x).copyto(x, source, casting='same_kind')


class _Memory(threading.local):
    """Buffers of this thread that are used again, because page faults are slow."""

    def __init__(self) -> None:
        self.buffers: dict[str, Array] = {}


_memory = _Memory()


def scratch(xp: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array with any values, in the memory of the last array of that name.

    Parameters
    ----------
    xp : module
        ``numpy`` or ``cupy``. CuPy has a pool of memory, and the name does not matter.
    name : str
        Arrays of this thread with the same name share memory.
    shape : tuple of int
        Shape of the array.
    dtype : dtype
        Type of its elements.
    """
    if xp is not np:
        return xp.empty(shape, dtype)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > MAX_WARM_BYTES:
        return np.empty(shape, dtype)
    buffer = _memory.buffers.get(name)
    if buffer is None or buffer.size < size:
        buffer = _memory.buffers[name] = np.empty(size, 'u1')
    return buffer[:size].view(dtype).reshape(shape)


def clear_scratch() -> None:
    """Free this thread's scratch memory."""
    _memory.buffers.clear()
