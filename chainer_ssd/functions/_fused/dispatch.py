"""The choice between the node and the definition."""

from __future__ import annotations

import chainer
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_choice
from chainer_ssd.functions._fused import kernels

#: Whether the CUDA kernels have passed ``pytest -m gpu`` on a GPU. So far, tests run them in an
#: emulator only, and ``'auto'`` leaves CuPy arrays to the definition. ``'always'`` runs them.
KERNELS_TESTED_ON_GPU = False

if not hasattr(chainer.global_config, 'use_fused_multibox'):
    chainer.global_config.use_fused_multibox = 'auto'


def node_serves(*arrays: Array, parts_fit: bool = True, is_plain: bool = True) -> bool:
    """Return whether the node computes the loss of these arrays, and not the definition.

    Parameters
    ----------
    *arrays : arrays
        Predictions first, then targets.
    parts_fit : bool
        Whether the node computes what the parts of the objective define.
    is_plain : bool
        Whether the losses are those of the paper. The CUDA kernels compute no others.

    Returns
    -------
    bool
        Depends on ``chainer.config.use_fused_multibox`` and on the arrays. The definition computes
        ChainerX and iDeep arrays, and CuPy arrays that the kernels do not support. It also computes
        a batch without images whose parts do not fit.

    Raises
    ------
    ValueError
        If ``chainer.config.use_fused_multibox`` is not ``'auto'``, ``'always'`` or ``'never'``. If
        it is ``'always'`` and the node cannot compute the loss.
    """
    use = chainer.config.use_fused_multibox
    check_choice('chainer.config.use_fused_multibox', use, ('auto', 'always', 'never'))
    if use == 'never':
        return False
    obstacle = _find_obstacle(arrays, parts_fit, is_plain)
    if obstacle is None:
        return use == 'always' or KERNELS_TESTED_ON_GPU or isinstance(arrays[0], np.ndarray)
    if use == 'always' and len(arrays[0]):
        raise ValueError(
            "chainer.config.use_fused_multibox = 'always', but the fast function cannot compute "
            f"this loss: {obstacle}. Expected 'auto', which uses the definition here"
        )
    return False


def _find_obstacle(arrays: tuple[Array, ...], parts_fit: bool, is_plain: bool) -> str | None:
    """Return why the node cannot compute the loss of these arrays, or None."""
    if not parts_fit:
        return 'the objective has parts or weights that only the definition computes'
    if arrays[0].dtype not in (np.float16, np.float32, np.float64):
        return f'the predictions are {arrays[0].dtype}, not float16, float32 or float64'
    if all(isinstance(array, np.ndarray) for array in arrays):
        return None
    if not all(isinstance(array, chainer.backends.cuda.ndarray) for array in arrays):
        return 'the arrays are neither all of NumPy nor all of CuPy'
    if not is_plain:
        return 'the CUDA kernels have no class weights, no label smoothing and no beta but 1'
    return kernels.find_obstacle(*arrays)
