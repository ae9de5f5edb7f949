"""The choice between the node and the definition."""

from __future__ import annotations

import chainer
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_choice
from chainer_ssd.functions._fused import kernels

#: Whether the CUDA kernels have passed ``pytest -m gpu`` on a GPU. So far, tests run them in an
#: emulator only, and ``'auto'`` leaves CuPy arrays to the definition.
KERNELS_TESTED_ON_GPU = False

if not hasattr(chainer.global_config, 'use_fused_multibox'):
    chainer.global_config.use_fused_multibox = 'auto'


def node_serves(*arrays: Array, is_plain: bool = True) -> bool:
    """Return whether the node computes the loss of these arrays, and not the definition.

    Parameters
    ----------
    *arrays : arrays
        Predictions first, then targets.
    is_plain : bool
        Whether the losses are those of the paper. The CUDA kernels compute no others.

    Returns
    -------
    bool
        Depends on ``chainer.config.use_fused_multibox`` and on the arrays. The definition computes
        ChainerX and iDeep arrays, and CuPy arrays that the kernels do not support.

    Raises
    ------
    ValueError
        If ``chainer.config.use_fused_multibox`` is neither ``'auto'`` nor ``'never'``.
    """
    use = chainer.config.use_fused_multibox
    check_choice('chainer.config.use_fused_multibox', use, ('auto', 'never'))
    if use == 'never' or arrays[0].dtype not in (np.float16, np.float32, np.float64):
        return False
    if all(isinstance(array, np.ndarray) for array in arrays):
        return True
    return (
        KERNELS_TESTED_ON_GPU
        and is_plain
        and all(isinstance(array, chainer.backends.cuda.ndarray) for array in arrays)
        and kernels.can_run(*arrays)
    )
