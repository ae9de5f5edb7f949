"""Counts the instructions that the kernels execute, and predicts their time on an H100.

    python -m tests.cuda.count_instructions

The kernels run in the emulator, as PTX that NVRTC makes for compute capability 9.0. ``ptx/count.h``
counts how often the warps execute each basic block of a kernel. :data:`WEIGHTS` says how many
machine instructions a PTX instruction becomes. The model of the time is :func:`predict_seconds`.

A prediction is no measurement. The model has no latency, no caches, no bank conflicts and no
launches, so the true time is longer.
"""

import argparse
import ctypes
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from chainer_ssd.functions._fused import kernels
from tests.cuda.ptx.parse import Label, parse_ptx
from tests.cuda.ptx.translate import find_basic_blocks, translate_ptx
from tests.cuda.test_ptx import compile_ptx
from tests.cuda.toolchain import TOOLCHAINS
from tests.functions.fused import emulator

ARCHITECTURE = '90'
#: Images, boxes and classes.
SIZES = {
    'VOC300': (32, 8732, 21),
    'COCO300': (32, 8732, 81),
    'VOC512': (8, 24564, 21),
}
#: One in so many boxes is positive. None is ignored.
BOXES_PER_POSITIVE = 250

# H100 SXM
MULTIPROCESSORS, SCHEDULERS, CLOCK_HZ = 132, 4, 1.755e9
#: Of the memory, and of the way from the L2 cache to one multiprocessor: 64 bytes a cycle.
BYTES_PER_SECOND, BYTES_PER_SECOND_OF_ONE = 3.35e12, 64 * CLOCK_HZ
SHARED_BYTES = 227 << 10

#: Machine instructions of a PTX instruction, by the beginning of its name. The first match counts.
#: Parameters are operands, and moves are left out. Integers of 64 bits take two instructions, and
#: all others one. Exponentials and logarithms are several PTX instructions, which count one by one.
WEIGHTS = {
    'ld.param': 0,
    'cvta': 0,
    'mov.u32 %tid': 1,
    'mov': 0,
    'cvt.u64.u32': 0,
    'cvt.u32.u64': 0,
    'mul.wide': 1,
    'mad.wide': 1,
    'div.rn.ftz.f32': 9,
    'div.rn.f64': 16,
    'div.s32': 18,
    'div.u32': 18,
    'rem.s32': 18,
    'rem.u32': 18,
}
WIDE_INTEGERS = ('s64', 'u64', 'b64')
WIDE_OPERATIONS = ('add', 'sub', 'and', 'or', 'xor', 'not', 'shl', 'shr', 'setp', 'selp', 'mul')


class Count(NamedTuple):
    """What one launch executes.

    Attributes
    ----------
    grid : int
        Number of blocks.
    ptx : int
        Instructions of PTX that all warps execute.
    machine : float
        The same, weighted by :data:`WEIGHTS`.
    n_byte : int
        Bytes that must be read or written.
    """

    grid: int
    ptx: int
    machine: float
    n_byte: int


def predict_seconds(count):
    """Return the larger of the time to issue all instructions and the time to move all bytes.

    Each scheduler issues one instruction of a warp per cycle. A block runs on one multiprocessor,
    so a launch of few blocks leaves the others idle.
    """
    n_busy = min(count.grid, MULTIPROCESSORS)
    issue = count.machine / (n_busy * SCHEDULERS * CLOCK_HZ)
    return max(issue, count.n_byte / min(BYTES_PER_SECOND, n_busy * BYTES_PER_SECOND_OF_ONE))


def weigh(instruction):
    """Return how many machine instructions an instruction of PTX becomes, about."""
    text = ' '.join(['.'.join(instruction.opcode), *instruction.operands[1:2]])
    for beginning, weight in WEIGHTS.items():
        if text.startswith(beginning):
            return weight
    is_wide = instruction.type in WIDE_INTEGERS and instruction.name in WIDE_OPERATIONS
    return 2 if is_wide else 1


def find_n_byte(name, n_image, n_box, n_class, n_positive):
    """Return the bytes that a kernel must read and write at least, for float32."""
    n_row = n_image * n_box
    return {
        'box_losses': 4 * n_row * (n_class + 2),  # logits, labels, losses
        'choose_rows': 9 * n_row + 32 * n_positive,  # losses, labels, selection, offsets
        # selection, both gradients, offsets of positives, logits of about 4 rows a positive
        'gradients': n_row * (1 + 4 * (4 + n_class)) + (36 + 16 * n_class) * n_positive,
    }[name]


class CountingKernel:
    """Replaces ``LazyKernel``: counts what the emulator executes."""

    def __init__(self, library, kernel, counts):
        self.library, self.counts = library, counts
        self.name = kernel.name.rsplit('_', 1)[0]
        self.n_instruction = np.zeros(find_basic_blocks(kernel)[-1] + 1, int)
        self.weight = np.zeros(len(self.n_instruction))
        for basic_block, statement in zip(find_basic_blocks(kernel), kernel.statements):
            if not isinstance(statement, Label):
                self.n_instruction[basic_block] += 1
                self.weight[basic_block] += weigh(statement)

    def __call__(self, dtype, grid, block, args, shared_mem=0):
        emulator.launch(self.library, f'{self.name}_{dtype.char}', grid, block, args, shared_mem)
        times = np.zeros(len(self.weight), np.uint64)
        self.library.take_counts(times.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(times)))
        times = times.astype(np.int64)
        self.counts[self.name] = grid, int(times @ self.n_instruction), float(times @ self.weight)


def count_size(library, ptx_kernels, size):
    """Return the count of each kernel for a number of images, boxes and classes, in float32."""
    n_image, n_box, n_class = size
    counts, memory = {}, emulator.Memory(emulator.GARBAGE['nan'])
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((n_image, n_box, n), 'f') for n in (4, n_class, 4)]
    label = (rng.random((n_image, n_box)) < 1 / BOXES_PER_POSITIVE).astype('i')
    mb_locs, mb_confs, gt_mb_locs, label = map(memory.asarray, (*arrays, label))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'cupy', emulator.fake_cupy(SHARED_BYTES, memory))
        for kernel in ptx_kernels:
            counting = CountingKernel(library, kernel, counts)
            patch.setattr(kernels, counting.name, counting)
        _, count, selected = kernels.forward(mb_locs, mb_confs, gt_mb_locs, label, 3.0, divide=True)
        one = memory.asarray(np.float32(1))
        kernels.backward(mb_locs, mb_confs, gt_mb_locs, label, selected, count, one, one)
    n_positive = int((label > 0).sum())
    return {
        name: Count(*each, find_n_byte(name, *size, n_positive)) for name, each in counts.items()
    }


def build(source, folder):
    """Return the emulated kernels of a CUDA source, which count, and what was read of their PTX."""
    (ptx,) = compile_ptx(TOOLCHAINS[-1], [ARCHITECTURE], 'f', source.read_text(encoding='utf-8'))
    path = Path(folder, 'counting.cpp')
    path.write_text(translate_ptx(ptx, count=True), encoding='utf-8')
    library = emulator.compile_library(path)
    library.set_order(ctypes.c_uint64(0), 1)
    return library, parse_ptx(ptx)[0]


def main():
    """Print a table for each size."""
    parser = argparse.ArgumentParser(prog='python -m tests.cuda.count_instructions')
    parser.add_argument('--source', type=Path, default=emulator.SOURCE, help='the CUDA source')
    args = parser.parse_args()
    if TOOLCHAINS[-1].reason_to_skip:
        parser.error(TOOLCHAINS[-1].reason_to_skip)
    with tempfile.TemporaryDirectory() as folder:
        library, ptx_kernels = build(args.source, folder)
    for name, size in SIZES.items():
        counts, total = count_size(library, ptx_kernels, size), 0
        print(f'{name}, {size[0]} images, {size[1]} boxes, {size[2]} classes')
        for kernel, count in counts.items():
            microseconds = 1e6 * predict_seconds(count)
            total += microseconds
            per_32_rows = count.ptx / (size[0] * size[1] / 32)
            print(
                f'  {kernel:12} {count.ptx / 1e6:7.3f} M PTX instructions of warps, '
                f'{per_32_rows:6.0f} for 32 boxes, {count.machine / 1e6:7.3f} M machine, '
                f'{count.n_byte / 1e6:6.1f} MB, {microseconds:6.1f} µs',
                flush=True,
            )
        print(f'  {"sum":12} {total:6.1f} µs')


if __name__ == '__main__':
    main()
