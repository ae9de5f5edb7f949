"""The array module of given arrays, and whether their values may be read."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

#: Type of an array in signatures: ``numpy.ndarray`` or ``cupy.ndarray``, which share no base.
Array = Any


def get_array_module(*arrays: Array) -> Any:
    """Return ``cupy`` if one of ``arrays`` is a CuPy array, else ``numpy``."""
    cupy = sys.modules.get('cupy')
    if cupy is not None and any(isinstance(array, cupy.ndarray) for array in arrays):
        return cupy
    return np


def checks_values(xp: Any) -> bool:
    """Return whether array values are checked: reading a CuPy array synchronizes."""
    chainer = sys.modules.get('chainer')
    return xp is np or (chainer is not None and bool(chainer.config.debug))
