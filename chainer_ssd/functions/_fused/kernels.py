"""The multibox loss on a GPU: three kernels forward and backward, no look from the host."""

import numpy as np

from chainer_ssd.functions._fused.lazy_kernel import LazyKernel

box_losses = LazyKernel('multibox_loss', 'box_losses')
choose_rows = LazyKernel('multibox_loss', 'choose_rows')
gradients = LazyKernel('multibox_loss', 'gradients')

BLOCK = 256
NULL = np.uintp(0)


def can_run(*arrays):
    """Whether the kernels take these CuPy arrays, predictions first.

    Returns
    -------
    bool
        If all lie on one device, which votes within a warp (compute capability 7.0), and an int
        can count their boxes.
    """
    device = arrays[0].device
    return (
        all(array.device == device for array in arrays)
        and int(device.compute_capability) >= 70
        and arrays[0].size // 4 < 1 << 30
    )


def forward(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k, divide):
    """Losses, their number of positives, and the rows that have been selected.

    Parameters
    ----------
    mb_locs, mb_confs : contiguous float arrays of shape (B, K, 4) and (B, K, C)
        Predictions; B and K are at least 1.
    gt_mb_locs : contiguous array of shape (B, K, 4)
        Targets, in the dtype that sums are made in: float32, or float64 for float64.
    gt_mb_labels : contiguous int32 array of shape (B, K)
        0 background, -1 ignored, else foreground.
    k : float
        Negatives for each positive.
    divide : bool
        Whether the losses are divided by the number of positives.

    Returns
    -------
    losses : array of shape (2,)
        Localisation and confidence loss, in the dtype of ``gt_mb_locs``.
    count : float64 array of shape ()
        Number of positives.
    selected : uint8 array of shape (B, K)
        1 for positives and hard negatives.
    """
    import cupy

    n_image, n_box, n_class = mb_confs.shape
    loss = cupy.empty((n_image, n_box), gt_mb_locs.dtype)
    selected = cupy.empty((n_image, n_box), 'u1')
    sums, count = cupy.empty((n_image, 3)), cupy.empty(())
    losses, finished = cupy.empty(2, gt_mb_locs.dtype), cupy.empty((), 'u4')

    lanes, grid = _layout(n_image * n_box, n_class)
    box_losses(
        mb_confs.dtype,
        grid,
        BLOCK,
        (
            mb_confs,
            gt_mb_labels,
            np.int32(loss.size),
            np.int32(n_class),
            np.int32(lanes),
            loss,
            finished,
        ),
    )

    keys = (loss.dtype.itemsize * n_box + 7) // 8 * 8
    in_shared = keys <= _shared_memory()
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
            np.int32(in_shared),
            np.int32(divide),
            selected,
            sums,
            finished,
            losses,
            count,
        ),
        shared_mem=keys if in_shared else 0,
    )
    return losses, count, selected


def backward(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, selected, count, g_loc, g_conf):
    """Gradients of both losses, in one kernel.

    Parameters
    ----------
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels
        As in :func:`forward`.
    selected : uint8 array of shape (B, K)
        What it returned.
    count : float64 array of shape ()
        What the sums have been divided by; 0 stands for 1.
    g_loc, g_conf : arrays of shape (), or None
        Gradients of the losses, in the dtype of ``gt_mb_locs``.

    Returns
    -------
    tuple of two arrays or None
        Gradients of ``mb_locs`` and ``mb_confs``; None where the loss has none.
    """
    import cupy

    n_image, n_box, n_class = mb_confs.shape
    lanes, grid = _layout(n_image * n_box, n_class)
    g_locs = None if g_loc is None else cupy.empty_like(mb_locs)
    g_confs = None if g_conf is None else cupy.empty_like(mb_confs)
    gradients(
        mb_confs.dtype,
        grid,
        BLOCK,
        (
            mb_locs,
            mb_confs,
            gt_mb_locs,
            gt_mb_labels,
            selected,
            np.int32(n_image * n_box),
            np.int32(n_class),
            np.int32(lanes),
            *(NULL if array is None else array for array in (g_loc, g_conf)),
            count,
            *(NULL if array is None else array for array in (g_locs, g_confs)),
        ),
    )
    return g_locs, g_confs


def _layout(n_row, n_class):
    # Threads for a row: few enough that most have work, many enough to read whole sectors.
    lanes = 8 if n_class <= 32 else 16 if n_class <= 64 else 32
    return lanes, min(-(-n_row * lanes // BLOCK), 1 << 16)


def _shared_memory():
    # What a block may have beyond its own 8.5 KiB of tables.
    import cupy

    runtime = cupy.cuda.runtime
    return runtime.deviceGetAttribute(
        runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, runtime.getDevice()
    ) - (12 << 10)
