"""CUDA libraries of wheels for CuPy 13, which does not find them. CuPy 14 does.

CuPy 13 asks the dynamic linker for names such as ``libcublas.so.12``. The linker first looks among
the libraries of the process. So each of them is loaded before CuPy asks.
"""

from __future__ import annotations

import ctypes
import os
import sys

#: For each wheel of CuPy 13: what NVIDIA's wheels install below ``nvidia`` in site-packages.
LIBRARIES = {
    'cupy-cuda12x': (
        'cuda_nvrtc/lib/libnvrtc.so.12',
        'cublas/lib/libcublas.so.12',
        'cufft/lib/libcufft.so.11',
        'curand/lib/libcurand.so.10',
        'cusparse/lib/libcusparse.so.12',
        'cusolver/lib/libcusolver.so.11',
        'cudnn/lib/libcudnn.so.8',
    ),
    'cupy-cuda13x': (
        'cu13/lib/libnvrtc.so.13',
        'cu13/lib/libcublas.so.13',
        'cu13/lib/libcufft.so.12',
        'cu13/lib/libcurand.so.10',
        'cu13/lib/libcusparse.so.12',
        'cu13/lib/libcusolver.so.12',
    ),
}


def load_cuda_libraries() -> list[str]:
    """Load what an installed CuPy 13 needs and return the paths. What is missing is left out."""
    loaded: list[str] = []
    for wheel, libraries in LIBRARIES.items():
        paths = [
            os.path.join(folder, 'nvidia', library) for library in libraries for folder in sys.path
        ]
        paths = list(filter(os.path.isfile, paths))
        if paths and _is_cupy_13(wheel):
            loaded += filter(_load, paths)
    return loaded


def _is_cupy_13(wheel: str) -> bool:
    import importlib.metadata  # takes 20 ms, and most machines have no CUDA

    try:
        return importlib.metadata.version(wheel).startswith('13.')
    except importlib.metadata.PackageNotFoundError:
        return False


def _load(path: str) -> bool:
    try:
        ctypes.CDLL(path)
    except OSError:  # CuPy reports it, where it needs the library
        return False
    return True
