"""The CUDA source, compiled for the CPU, and a replacement of CuPy for the launchers."""

import ctypes
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / 'chainer_ssd' / 'functions' / '_fused' / 'multibox_loss.cu'

# extern "C" functions for the templates, because ctypes has no C++ names.
ENTRIES = r"""
template <typename... P, typename... Q>
int run(void (*kernel)(P...), unsigned grid, unsigned block, size_t shared, Q... args) {
    return emulator::launch(grid, block, shared, [=] { kernel((P)args...); });
}
typedef void* p;
#define ENTRY(type, letter) \
extern "C" int box_losses_##letter(unsigned grid, unsigned block, size_t shared, \
        p a, p b, int c, int d, int e, p f, p g) { \
    return run(box_losses<type>, grid, block, shared, a, b, c, d, e, f, g); \
} \
extern "C" int choose_rows_##letter(unsigned grid, unsigned block, size_t shared, \
        p a, p b, p c, p d, int e, double f, int g, int h, p i, p j, p k, p l, p m) { \
    return run(choose_rows<type>, grid, block, shared, a, b, c, d, e, f, g, h, i, j, k, l, m); \
} \
extern "C" int gradients_##letter(unsigned grid, unsigned block, size_t shared, \
        p a, p b, p c, p d, p e, int f, int g, int h, p i, p j, p k, p l, p m) { \
    return run(gradients<type>, grid, block, shared, a, b, c, d, e, f, g, h, i, j, k, l, m); \
}
ENTRY(float, f)
ENTRY(double, d)
ENTRY(__half, e)
"""


def compile_for_cpu(folder):
    """Compile all kernels with g++ in ``folder`` and return the library."""
    dynamic = 'extern __shared__ uint64 dynamic[];'
    source = SOURCE.read_text(encoding='utf-8')
    assert source.count(dynamic) == 1
    source = source.replace(dynamic, 'uint64* dynamic = (uint64*)emulator::dynamic_memory.data();')
    (folder / 'cuda_fp16.h').write_text('', encoding='utf-8')
    (folder / 'kernels.cpp').write_text(source + ENTRIES, encoding='utf-8')
    subprocess.run(
        [
            'g++',
            '-std=c++17',
            '-O2',
            '-shared',
            '-fPIC',
            '-ffp-contract=off',
            '-w',
            '-include',
            str(HERE / 'emulator.h'),
            '-I',
            str(folder),
            str(folder / 'kernels.cpp'),
            '-o',
            str(folder / 'kernels.so'),
        ],
        check=True,
    )
    return ctypes.CDLL(str(folder / 'kernels.so'))


class EmulatedKernel:
    """Replaces ``LazyKernel`` for NumPy arrays."""

    def __init__(self, library, name):
        self.library, self.name, self.launches = library, name, 0

    def __call__(self, dtype, grid, block, args, shared_mem=0):
        assert block % 32 == 0 and 0 < block <= 1024 and grid > 0
        self.launches += 1
        failed = getattr(self.library, f'{self.name}_{dtype.char}')(
            ctypes.c_uint(grid),
            ctypes.c_uint(block),
            ctypes.c_size_t(shared_mem),
            *map(_as_c, args),
        )
        assert not failed, f'{self.name}: not all threads of a block reach the same barrier'


def _as_c(arg):
    if isinstance(arg, np.ndarray):
        assert arg.flags.c_contiguous
        return ctypes.c_void_p(arg.ctypes.data)
    return {np.int32: ctypes.c_int, np.float64: ctypes.c_double, np.uintp: ctypes.c_void_p}[
        type(arg)
    ](arg.item())


def fake_cupy(shared_memory):
    """Return the parts of CuPy that the launchers use. New arrays hold arbitrary values."""

    def empty(shape, dtype='d'):
        return (
            np.frombuffer(b'\xa5' * max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype)[
                : int(np.prod(shape))
            ]
            .reshape(shape)
            .copy()
        )

    runtime = SimpleNamespace(
        cudaDevAttrMaxSharedMemoryPerBlockOptin=97,
        getDevice=lambda: 0,
        deviceGetAttribute=lambda attribute, device: {(97, 0): shared_memory}[attribute, device],
    )
    return SimpleNamespace(
        empty=empty,
        empty_like=lambda a: empty(a.shape, a.dtype),
        ndarray=type(None),
        cuda=SimpleNamespace(runtime=runtime),
    )
