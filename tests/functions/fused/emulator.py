"""The CUDA source, compiled for the CPU, and a replacement of CuPy for the launchers.

``emulator.h`` tells what the emulated kernels are checked for. Arrays of :class:`Memory` lie in
pages of their own, so that an access outside of an array is noticed as well.
"""

import ctypes
import mmap
import re
import subprocess
import weakref
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / 'chainer_ssd' / 'functions' / '_fused' / 'multibox_loss.cu'

KERNELS = ('box_losses', 'choose_rows', 'gradients')
TYPES = {'f': 'float', 'd': 'double', 'e': '__half'}

# As cuLaunchKernel, each launcher takes pointers to the arguments. Each signature has one letter
# for a parameter: p for a pointer, i for an int, d for a double.
ENTRIES = r"""
template <typename... P, size_t... i>
int launch_kernel(void (*kernel)(P...), unsigned grid, unsigned block, size_t shared, void** args,
                  std::index_sequence<i...>) {
    return emulator::launch(grid, block, shared, [=] { kernel(*(P*)args[i]...); });
}
template <typename P> constexpr char letter() {
    static_assert(std::is_pointer<P>() || std::is_same<P, int>() || std::is_same<P, double>());
    return std::is_pointer<P>() ? 'p' : std::is_same<P, int>() ? 'i' : 'd';
}
template <typename... P> struct Kernel {
    void (*kernel)(P...);
    const char* signature() const { static const char s[] = {letter<P>()..., 0}; return s; }
    int launch(unsigned grid, unsigned block, size_t shared, void** args) const {
        return launch_kernel(kernel, grid, block, shared, args, std::index_sequence_for<P...>());
    }
};
template <typename... P> Kernel<P...> kernel_of(void (*kernel)(P...)) { return {kernel}; }
#define ENTRY(name) \
extern "C" const char* signature_of_##name() { return kernel_of(name).signature(); } \
extern "C" int launch_##name(unsigned grid, unsigned block, size_t shared, void** args) { \
    return kernel_of(name).launch(grid, block, shared, args); \
}
"""

FAILURES = {
    1: 'not all threads of a block reach the same barrier',
    2: 'a thread writes outside of a shared array',
    3: 'a thread reads or writes outside of an array',
}

#: Bytes that fill fresh memory. As floats they are NaN, huge, negative and tiny, and 0.
GARBAGE = {'nan': 0xFF, 'huge': 0x7F, 'tiny': 0xA5, 'zero': 0x00}

#: A byte that kernels must not change. As an int it is a label beyond all classes.
GUARD = 0x43

NO_ACCESS = 0
_protect = ctypes.CDLL(None).mprotect
_protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def compile_for_cpu(folder, source=SOURCE):
    """Compile all kernels with g++ in ``folder`` and return the library."""
    (folder / 'cuda_fp16.h').write_text('', encoding='utf-8')
    lines = [rewrite_shared_arrays(source.read_text(encoding='utf-8')), ENTRIES]
    for letter, type_name in TYPES.items():
        lines += [f'KERNELS({type_name}, {letter})']
        lines += [f'ENTRY({name}_{letter})' for name in KERNELS]
    (folder / 'kernels.cpp').write_text('\n'.join(lines), encoding='utf-8')
    return compile_library(folder / 'kernels.cpp')


def rewrite_shared_arrays(source):
    """Return a CUDA source in which each shared array is requested from the emulator.

    Examples
    --------
    >>> rewrite_shared_arrays('extern __shared__ int all[]; __shared__ int rank, bins[9];')
    'int* all = (int*)emulator::dynamic_shared(); auto& rank = emulator::shared<int, 1>(); \
auto& bins = emulator::shared<int[9], 2>();'
    """
    number = count(1)

    def declare(match):
        declarations = []
        for name, size in re.findall(r'(\w+)(\[\w+\])?', match[2]):
            array = f'emulator::shared<{match[1]}{size}, {next(number)}>()'
            declarations.append(f'auto& {name} = {array};')
        return ' '.join(declarations)

    source = re.sub(
        r'extern __shared__ (\w+) (\w+)\[\];', r'\1* \2 = (\1*)emulator::dynamic_shared();', source
    )
    source = re.sub(r'\b__shared__ (\w+) ([^;]+);', declare, source)
    assert '__shared__' not in source
    return source


def compile_library(source):
    """Compile a C++ file with the emulator's header and return the library.

    Integers wrap, as on a GPU.
    """
    library = source.with_suffix('.so')
    subprocess.run(
        [
            *('g++', '-std=c++17', '-O1', '-shared', '-fPIC', '-ffp-contract=off', '-w', '-fwrapv'),
            *('-include', str(HERE / 'emulator.h'), '-I', str(source.parent)),
            *(str(source), '-o', str(library)),
        ],
        check=True,
    )
    return ctypes.CDLL(str(library))


def launch(library, name, grid, block, args, shared_mem=0):
    """Run a kernel of a library that :func:`compile_for_cpu` returned.

    Parameters
    ----------
    library : ctypes.CDLL
        The kernels.
    name : str
        Name of the kernel with the letter of its dtype, for example ``'gradients_f'``.
    grid, block : int
        Number of blocks, and of threads per block.
    args : sequence
        Contiguous NumPy arrays, ``numpy.int32``, ``numpy.float64``, and ``numpy.uintp`` for null.
    shared_mem : int
        Bytes of dynamic shared memory.
    """
    assert block % 32 == 0 and 0 < block <= 1024 and grid > 0
    signature_of = library[f'signature_of_{name}']
    signature_of.restype = ctypes.c_char_p
    letters, values = zip(*map(_as_c, args))
    assert ''.join(letters) == signature_of().decode()
    pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
    failure = library[f'launch_{name}'](
        ctypes.c_uint(grid), ctypes.c_uint(block), ctypes.c_size_t(shared_mem), pointers
    )
    assert not failure, f'{name}: {FAILURES[failure]}'


def _as_c(arg):
    """Return the letter of the signature, and the value as C has it."""
    if isinstance(arg, np.ndarray):
        assert arg.flags.c_contiguous
        return 'p', ctypes.c_void_p(arg.ctypes.data)
    letter, as_c = {
        np.int32: ('i', ctypes.c_int),
        np.float64: ('d', ctypes.c_double),
        np.uintp: ('p', ctypes.c_void_p),
    }[type(arg)]
    return letter, as_c(arg.item())


class EmulatedKernel:
    """Replaces ``LazyKernel`` for NumPy arrays."""

    def __init__(self, library, name, memory, shared_memory):
        self.library, self.name, self.memory = library, name, memory
        self.shared_memory, self.launches = shared_memory, 0

    def __call__(self, dtype, grid, block, args, shared_mem=0):
        self.launches += 1
        launch(self.library, f'{self.name}_{dtype.char}', grid, block, args, shared_mem)
        self.memory.check(self.name)
        n_byte = self.library.get_static_shared_bytes() + shared_mem
        assert n_byte <= self.shared_memory, f'{self.name}: {n_byte} bytes of shared memory'


class Memory:
    """Arrays between pages that nobody may read or write.

    One array ends at such a page and the next one begins at it, in turn. The rest of its pages
    holds bytes that :meth:`check` compares.

    Parameters
    ----------
    garbage : int
        The byte that fills new arrays.
    """

    ALIGNMENT = 16

    def __init__(self, garbage):
        self.garbage = garbage
        self.n_array = 0
        self.places = []  # of each array: its pages, first byte, last byte + 1

    def empty(self, shape, dtype='d'):
        """Return a new array that holds arbitrary values."""
        dtype, self.n_array = np.dtype(dtype), self.n_array + 1
        n_byte = int(np.prod(shape)) * dtype.itemsize
        padded = -(-max(n_byte, 1) // self.ALIGNMENT) * self.ALIGNMENT
        n_all = 2 * mmap.PAGESIZE + -(-padded // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = mmap.mmap(-1, n_all)
        start = n_all - mmap.PAGESIZE - padded if self.n_array % 2 else mmap.PAGESIZE
        all_bytes = np.frombuffer(pages, 'u1')
        all_bytes[:] = GUARD
        all_bytes[start : start + n_byte] = self.garbage
        for page in 0, n_all - mmap.PAGESIZE:
            assert not _protect(all_bytes.ctypes.data + page, mmap.PAGESIZE, NO_ACCESS)
        self.places.append((weakref.ref(pages), start, start + n_byte))
        return np.ndarray(shape, dtype, pages, start)

    def asarray(self, array):
        """Return a copy."""
        array = np.asarray(array)
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def check(self, kernel):
        """Raise if a byte beside an array has changed."""
        self.places = [place for place in self.places if place[0]() is not None]
        for pages, start, end in self.places:
            all_bytes = np.frombuffer(pages(), 'u1')
            before = all_bytes[mmap.PAGESIZE : start]
            after = all_bytes[end : -mmap.PAGESIZE]
            is_intact = (before == GUARD).all() and (after == GUARD).all()
            assert is_intact, f'{kernel}: a thread writes outside of an array'


def fake_cupy(shared_memory, memory):
    """Return the parts of CuPy that the launchers use."""
    runtime = SimpleNamespace(
        cudaDevAttrMaxSharedMemoryPerBlockOptin=97,
        getDevice=lambda: 0,
        deviceGetAttribute=lambda attribute, device: {(97, 0): shared_memory}[attribute, device],
    )
    return SimpleNamespace(
        empty=memory.empty,
        empty_like=lambda a: memory.empty(a.shape, a.dtype),
        ndarray=type(None),
        cuda=SimpleNamespace(runtime=runtime),
    )
