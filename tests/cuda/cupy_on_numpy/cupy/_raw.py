"""Raw kernels: those of the package, in the emulator of its tests."""

import functools
import importlib
import os
import re
import sys
from pathlib import Path

import numpy as np

from cupy import _array, _log, cuda
from cupy._kernels import CACHE

#: Static shared memory in bytes, as nvcc reports it.
STATIC_BYTES = {'choose_rows': 8592}
DEFAULT_SHARED_BYTES = 48 << 10
MAX_THREADS = 1024


@functools.lru_cache(None)
def _emulator():
    """Return the emulator and the compiled kernels of the package."""
    root = Path(__file__).parents[4]
    if str(root) not in sys.path:
        sys.path.append(str(root))
    emulator = importlib.import_module('tests.functions.fused.emulator')
    folder = CACHE / f'kernels_{os.getpid()}'
    folder.mkdir(parents=True, exist_ok=True)
    return emulator, emulator.compile_for_cpu(folder)


class RawKernel:
    """A kernel with the limits of a device. Other kernels than the package's are refused."""

    def __init__(self, code, name, options=(), backend='nvrtc', **kwargs):
        self.code, self.name = code, name
        if not re.search(rf'\b{name.rpartition("_")[0]}\b', code):
            raise RuntimeError(f'CUDA_ERROR_NOT_FOUND: {name}')
        self.shared_size_bytes = STATIC_BYTES.get(name.rpartition('_')[0], 0)
        self._limits = {}

    @property
    def max_dynamic_shared_size_bytes(self):
        default = DEFAULT_SHARED_BYTES - self.shared_size_bytes
        return self._limits.get(cuda.get_device_id(), default)

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, n):
        if n + self.shared_size_bytes > cuda.MAX_SHARED_BYTES:
            raise RuntimeError('CUDA_ERROR_INVALID_VALUE: invalid argument')
        self._limits[cuda.get_device_id()] = n

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None):
        _array.refuse_numpy(args, self.name)
        _array.check_device(*args)
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise RuntimeError(
                f'CUDA_ERROR_INVALID_VALUE: {shared_mem} dynamic and {self.shared_size_bytes} '
                'static bytes of shared memory were not requested'
            )
        if not 1 <= block[0] <= MAX_THREADS:
            raise RuntimeError(f'CUDA_ERROR_INVALID_VALUE: {block[0]} threads')
        _log.names['kernels'].add(self.name)
        emulator, library = _emulator()
        values = [arg.numpy if isinstance(arg, _array.ndarray) else arg for arg in args]
        assert all(arg.flags.c_contiguous for arg in values if isinstance(arg, np.ndarray))
        emulator.launch(library, self.name, grid[0], block[0], values, shared_mem)


class RawModule:
    """The source of several kernels with C names."""

    def __init__(self, *, code, options=(), backend='nvrtc', **kwargs):
        assert not kwargs, f'the stand-in knows no {[*kwargs]}'
        self.code = code

    def get_function(self, name):
        return RawKernel(self.code, name)
