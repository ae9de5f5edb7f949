"""A CUDA kernel that is compiled when it is first launched."""

from pathlib import Path


class LazyKernel:
    """A template of one of this folder's ``.cu`` files, for one dtype of the predictions.

    Nothing is compiled, nor CuPy imported, before the first call; CuPy keeps what it has compiled
    for each device, and on disk.

    Parameters
    ----------
    file : str
        Name of the source, without ``.cu``.
    name : str
        Name of the kernel, a template over one type.
    """

    TYPES = {'e': '__half', 'f': 'float', 'd': 'double'}

    def __init__(self, file, name):
        self.file, self.name = file, name
        self._kernels, self._shared_mem = {}, {}

    def __call__(self, dtype, grid, block, args, shared_mem=0):
        """Launches the kernel on the current stream.

        Parameters
        ----------
        dtype : numpy.dtype
            float16, float32 or float64.
        grid, block : int
            Number of blocks, and of threads in each.
        args : tuple
            CuPy arrays and NumPy scalars, in the order of the kernel's parameters.
        shared_mem : int
            Bytes of dynamic shared memory.
        """
        import cupy

        kernel = self._kernels.get(dtype.char)
        if kernel is None:
            kernel = self._kernels[dtype.char] = self._compile(self.TYPES[dtype.char])
        if shared_mem > 48 << 10:  # more than that is asked for, on each device
            device = cupy.cuda.Device().id
            if self._shared_mem.get((dtype.char, device), 0) < shared_mem:
                kernel.max_dynamic_shared_size_bytes = shared_mem
                self._shared_mem[dtype.char, device] = shared_mem
        kernel((grid,), (block,), args, shared_mem=shared_mem)

    def _compile(self, type_):
        import cupy

        name = f'{self.name}<{type_}>'
        source = Path(__file__).with_name(f'{self.file}.cu').read_text(encoding='utf-8')
        module = cupy.RawModule(code=source, options=('--std=c++11',), name_expressions=[name])
        return module.get_function(name)
