"""A pool of array memory that the process has used before, because page faults are slow.

See "Memory that is already mapped" in ``docs/explanation/fast-loss.md``.
"""

from __future__ import annotations

import collections
from typing import Any, Callable

import numpy as np

from chainer_ssd._array import Array

#: Free buffers. A loss needs two, one per gradient, so no more are kept.
_free_buffers: collections.deque[Array] = collections.deque(maxlen=2)


def zeros(shape: tuple[int, ...] | int, dtype: Any) -> Array:
    """Return an array of zeros, like ``numpy.zeros``, in a free buffer of that size if possible.

    The buffer becomes free again when the array and all its views are deleted.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the array.
    dtype : dtype
        Type of its elements.
    """
    n_byte = _count_bytes(shape, dtype)
    buffer = _take_buffer(lambda free: free.size == n_byte)
    if buffer is None:
        buffer = np.empty(n_byte, 'u1')
    buffer.fill(0)  # bytes, because memset is faster than a loop over floats
    return np.asarray(_PooledBuffer(buffer)).view(dtype).reshape(shape)


def scratch(shape: tuple[int, ...] | int, dtype: Any) -> Array:
    """Return an array for intermediate results, like ``numpy.empty``, in a free buffer if possible.

    A new array does not join the pool. Delete the array before the gradients need the buffer.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the array.
    dtype : dtype
        Type of its elements.
    """
    n_byte = _count_bytes(shape, dtype)
    buffer = _take_buffer(lambda free: free.size >= n_byte)
    if buffer is None:
        return np.empty(shape, dtype)
    return np.asarray(_PooledBuffer(buffer))[:n_byte].view(dtype).reshape(shape)


def clear() -> None:
    """Free all buffers of the pool."""
    _free_buffers.clear()


def _count_bytes(shape: tuple[int, ...] | int, dtype: Any) -> int:
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _take_buffer(fits: Callable[[Array], bool]) -> Array | None:
    """Remove a buffer that fits from the pool and return it. Threads never get the same one."""
    try:
        for _ in range(len(_free_buffers)):
            buffer = _free_buffers.popleft()
            if fits(buffer):
                return buffer
            _free_buffers.append(buffer)
    except IndexError:  # another thread took the last buffer
        pass
    return None


class _PooledBuffer:
    """The base object of an array and its views. Its deletion returns the buffer to the pool."""

    def __init__(self, buffer: Array) -> None:
        self._buffer, self._release = buffer, _free_buffers.append
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        self._release(self._buffer)
