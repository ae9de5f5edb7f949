"""Whose arrays these are, and whether their values may be looked at, without importing anybody."""
import sys

import numpy as np


def get_array_module(*arrays):
    """``cupy`` if one of ``arrays`` is CuPy's, else ``numpy``."""
    cupy = sys.modules.get('cupy')
    if cupy is not None and any(isinstance(array, cupy.ndarray) for array in arrays):
        return cupy
    return np


def checks_values(xp):
    """Whether array values are checked: a look at a CuPy array costs a synchronisation."""
    chainer = sys.modules.get('chainer')
    return xp is np or (chainer is not None and bool(chainer.config.debug))
