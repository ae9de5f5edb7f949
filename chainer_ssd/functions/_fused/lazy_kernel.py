"""A CUDA kernel that is compiled at its first launch."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class LazyKernel:
    """A kernel of a ``.cu`` file in this folder, for each dtype of the predictions.

    Nothing is compiled before the first call, and CuPy is not imported. All kernels of one file and
    dtype are compiled together. CuPy caches them per device and on disk.

    Parameters
    ----------
    file : str
        Name of the source file, without ``.cu``.
    name : str
        Name of the kernel in the file, without the letter of the dtype.
    """

    TYPES = {'e': '__half', 'f': 'float', 'd': 'double'}
    #: Shared memory, static and dynamic together, that a block has without a request.
    DEFAULT_SHARED_BYTES = 48 << 10

    def __init__(self, file: str, name: str) -> None:
        self.file, self.name = file, name
        self._kernels: dict[str, Any] = {}
        # For each dtype and device: the static bytes, and the dynamic bytes that are allowed.
        self._static_bytes: dict[tuple[str, int], int] = {}
        self._dynamic_limits: dict[tuple[str, int], int] = {}

    def __call__(
        self, dtype: Any, grid: int, block: int, args: tuple[Any, ...], shared_mem: int = 0
    ) -> None:
        """Launch the kernel on the current stream.

        Parameters
        ----------
        dtype : numpy.dtype
            float16, float32 or float64.
        grid : int
            Number of blocks.
        block : int
            Number of threads per block.
        args : tuple
            CuPy arrays and NumPy scalars, in the order of the kernel's parameters.
        shared_mem : int
            Bytes of dynamic shared memory.
        """
        import cupy

        kernel = self._kernels.get(dtype.char)
        if kernel is None:
            kernel = self._kernels[dtype.char] = self._load(dtype.char)
        if shared_mem:
            self._allow_shared_memory(kernel, (dtype.char, cupy.cuda.Device().id), shared_mem)
        kernel((grid,), (block,), args, shared_mem=shared_mem)

    def _allow_shared_memory(self, kernel: Any, key: tuple[str, int], dynamic_bytes: int) -> None:
        """Request dynamic shared memory on the current device, if the default is too small."""
        if key not in self._static_bytes:
            self._static_bytes[key] = kernel.shared_size_bytes
        default = self.DEFAULT_SHARED_BYTES - self._static_bytes[key]
        if dynamic_bytes > self._dynamic_limits.get(key, default):
            kernel.max_dynamic_shared_size_bytes = dynamic_bytes
            self._dynamic_limits[key] = dynamic_bytes

    def _load(self, letter: str) -> Any:
        import cupy

        source = Path(__file__).with_name(f'{self.file}.cu').read_text(encoding='utf-8')
        # Kernels with C names, because CuPy 13.6 and 14.0 compile templates again in each process.
        source += f'KERNELS({self.TYPES[letter]}, {letter})\n'
        module = cupy.RawModule(code=source, options=('--std=c++11',))
        return module.get_function(f'{self.name}_{letter}')
