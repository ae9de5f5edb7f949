"""Launchers of the CUDA kernels of the multibox loss. They do not synchronize.

See "CUDA kernels" in ``docs/explanation/fast-loss.md``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.functions._fused.lazy_kernel import LazyKernel

box_losses = LazyKernel('multibox_loss', 'box_losses')
choose_rows = LazyKernel('multibox_loss', 'choose_rows')
gradients = LazyKernel('multibox_loss', 'gradients')

THREADS_PER_BLOCK = 256
MAX_BLOCKS = 1 << 16
#: Kernels index the offsets of all boxes with 32 bits.
MAX_BOXES = 1 << 30
#: The tests compile the kernels for compute capability 7.0 and above.
MIN_COMPUTE_CAPABILITY = 70
#: An upper bound of the shared memory that ``choose_rows`` uses without keys (8.5 KiB).
STATIC_SHARED_BYTES = 12 << 10
NULL = np.uintp(0)


def find_obstacle(*arrays: Array) -> str | None:
    """Return why the kernels do not support these CuPy arrays, predictions first, or None.

    They must be on one device of compute capability 7.0, with fewer than 2**30 boxes.
    """
    device = arrays[0].device
    if any(array.device != device for array in arrays):
        return 'the arrays are on several devices'
    if int(device.compute_capability) < MIN_COMPUTE_CAPABILITY:
        return f'the GPU has compute capability {device.compute_capability}, below 70'
    if arrays[0].size // 4 >= MAX_BOXES:
        return f'the batch has {arrays[0].size // 4} boxes, {MAX_BOXES} or more'
    return None


def forward(
    mb_locs: Array,
    mb_confs: Array,
    gt_mb_locs: Array,
    gt_mb_labels: Array,
    k: float,
    divide: bool,
) -> tuple[Array, Array, Array]:
    """Return both losses, the number of positives, and the selected rows.

    Parameters
    ----------
    mb_locs, mb_confs : contiguous float arrays of shape (B, K, 4) and (B, K, C)
        Predictions. B and K are at least 1.
    gt_mb_locs : contiguous array of shape (B, K, 4)
        Targets, in the dtype of the sums: float32, or float64 for float64 predictions.
    gt_mb_labels : contiguous int32 array of shape (B, K)
        0 background, -1 ignored, else foreground.
    k : float
        Negatives per positive.
    divide : bool
        Whether the losses are divided by the number of positives.

    Returns
    -------
    losses : array of shape (2,)
        Localization and confidence loss, in the dtype of ``gt_mb_locs``.
    n_positive : float64 array of shape ()
        Number of positives.
    selected : uint8 array of shape (B, K)
        1 for positives and hard negatives.
    """
    import cupy

    n_image, n_box, n_class = mb_confs.shape
    loss = cupy.empty((n_image, n_box), gt_mb_locs.dtype)
    selected = cupy.empty((n_image, n_box), 'u1')
    sums, n_positive = cupy.empty((n_image, 3)), cupy.empty(())
    losses, n_finished = cupy.empty(2, gt_mb_locs.dtype), cupy.empty((), 'u4')

    box_losses(
        mb_confs.dtype,
        _count_blocks(n_image * n_box),
        THREADS_PER_BLOCK,
        (
            mb_confs,
            gt_mb_labels,
            np.int32(loss.size),
            np.int32(n_class),
            loss,
            n_finished,
        ),
    )

    key_bytes = (loss.dtype.itemsize * n_box + 7) // 8 * 8
    keys_in_shared = key_bytes <= _max_key_bytes()
    block = min(1024, (n_box + 31) // 32 * 32)
    choose_rows(
        mb_confs.dtype,
        n_image,
        block,
        (
            mb_locs,
            gt_mb_locs,
            gt_mb_labels,
            loss,
            np.int32(n_box),
            np.float64(k),
            np.int32(keys_in_shared),
            np.int32(divide),
            selected,
            sums,
            n_finished,
            losses,
            n_positive,
        ),
        shared_mem=key_bytes if keys_in_shared else 0,
    )
    return losses, n_positive, selected


def backward(
    mb_locs: Array,
    mb_confs: Array,
    gt_mb_locs: Array,
    gt_mb_labels: Array,
    selected: Array,
    normalizer: Array,
    grad_loc_loss: Array | None,
    grad_conf_loss: Array | None,
) -> tuple[Array | None, Array | None]:
    """Return the gradients of the predictions.

    Parameters
    ----------
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels
        As in :func:`forward`.
    selected : uint8 array of shape (B, K)
        As :func:`forward` returns it.
    normalizer : float64 array of shape ()
        Divisor of both losses. 0 means 1.
    grad_loc_loss, grad_conf_loss : arrays of shape (), or None
        Gradients of the losses, in the dtype of ``gt_mb_locs``.

    Returns
    -------
    tuple of two arrays or None
        Gradients of ``mb_locs`` and ``mb_confs``. None where the loss has no gradient.
    """
    import cupy

    n_image, n_box, n_class = mb_confs.shape
    grad_locs = None if grad_loc_loss is None else cupy.empty_like(mb_locs)
    grad_confs = None if grad_conf_loss is None else cupy.empty_like(mb_confs)
    gradients(
        mb_confs.dtype,
        _count_blocks(n_image * n_box),
        THREADS_PER_BLOCK,
        (
            mb_locs,
            mb_confs,
            gt_mb_locs,
            gt_mb_labels,
            selected,
            np.int32(n_image * n_box),
            np.int32(n_class),
            *(NULL if array is None else array for array in (grad_loc_loss, grad_conf_loss)),
            normalizer,
            *(NULL if array is None else array for array in (grad_locs, grad_confs)),
        ),
    )
    return grad_locs, grad_confs


def _count_blocks(n_row: int) -> int:
    """Return the number of blocks of a kernel in which each thread has a row."""
    return min(-(-n_row // THREADS_PER_BLOCK), MAX_BLOCKS)


def _max_key_bytes() -> Any:
    """Return the shared memory that a block can use for keys on the current device."""
    import cupy

    runtime = cupy.cuda.runtime
    shared_bytes = runtime.deviceGetAttribute(
        runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, runtime.getDevice()
    )
    return shared_bytes - STATIC_SHARED_BYTES
