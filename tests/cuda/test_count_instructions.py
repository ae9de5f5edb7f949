"""The counter of instructions counts what warps execute, and the predictions are those we claim."""

import ctypes
import shutil

import numpy as np
import pytest

from tests.cuda import count_instructions
from tests.cuda.count_instructions import Count, predict_seconds, weigh
from tests.cuda.ptx.parse import Instruction, Label, parse_ptx
from tests.cuda.ptx.translate import find_basic_blocks, translate_ptx
from tests.cuda.test_ptx import choose_toolchain
from tests.cuda.toolchain import TOOLCHAINS
from tests.functions.fused import emulator

pytestmark = pytest.mark.cuda

#: The basic blocks 0 to 6. Threads below 3 take `rare`. Each thread runs `loop` tid % 32 / 8 + 1
#: times.
PTX = """
.visible .entry k(
    .param .u64 k_param_0
)
{
    .reg .pred %p<4>;
    .reg .b32 %r<8>;
    mov.u32 %r1, %tid.x;
    setp.lt.u32 %p1, %r1, 3;
    @%p1 bra $rare;
    add.s32 %r2, %r1, 1;
    bra $start;
$rare:
    add.s32 %r2, %r1, 2;
    add.s32 %r2, %r1, 3;
$start:
    and.b32 %r3, %r1, 31;
    shr.u32 %r3, %r3, 3;
    add.s32 %r3, %r3, 1;
$loop:
    sub.s32 %r3, %r3, 1;
    setp.gt.s32 %p2, %r3, 0;
    @%p2 bra $loop;
    shfl.sync.bfly.b32 %r4|%p3, %r1, 1, 31, -1;
$end:
    ret;
}
"""


@pytest.fixture
def gxx():
    if shutil.which('g++') is None:
        pytest.skip('g++ is missing: PTX is not executed')


def test_basic_blocks_are_counted_once_a_warp(gxx, tmp_path):
    source = tmp_path / 'count.cpp'
    source.write_text(translate_ptx(PTX, count=True), encoding='utf-8')
    library = emulator.compile_library(source)
    library.set_order(ctypes.c_uint64(0), 1)
    (kernel,), _ = parse_ptx(PTX)
    for _ in range(2):  # the second launch begins at 0
        emulator.launch(library, 'k', 3, 64, [np.zeros(1)])
        counts = np.zeros(find_basic_blocks(kernel)[-1] + 1, np.uint64)
        library.take_counts(counts.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(counts)))
        # Six warps. The first one of each block has threads below 3. Threads leave the loop after
        # 1 to 4 rounds, and count apart until they meet in the exchange.
        assert counts.tolist() == [6, 6, 3, 6, 24, 24, 6]
    sizes = np.bincount(
        find_basic_blocks(kernel), [not isinstance(s, Label) for s in kernel.statements]
    )
    assert sizes.tolist() == [3, 2, 2, 3, 3, 1, 1]


@pytest.mark.parametrize(
    ('opcode', 'operands', 'weight'),
    [
        ('add.s32', '%r1 %r2 %r3', 1),
        ('add.s64', '%rd1 %rd2 %rd3', 2),
        ('mov.u32', '%r1 %r2', 0),
        ('mov.u32', '%r1 %tid.x', 1),
        ('ld.param.u64', '%rd1 [k_param_0]', 0),
        ('ld.global.u64', '%rd1 [%rd2]', 1),
        ('mul.wide.s32', '%rd1 %r2 4', 1),
        ('div.rn.ftz.f32', '%f1 %f2 %f3', 9),
    ],
)
def test_weights(opcode, operands, weight):
    assert weigh(Instruction('', '', False, tuple(opcode.split('.')), operands.split())) == weight


def test_the_slower_of_issue_and_memory_decides():
    cycle = 1 / count_instructions.CLOCK_HZ
    assert np.isclose(predict_seconds(Count(132, 0, 528.0, 0)), cycle)
    assert np.isclose(predict_seconds(Count(1000, 0, 528.0, 0)), cycle)
    assert np.isclose(predict_seconds(Count(8, 0, 528.0, 0)), 528 / 32 * cycle)
    assert np.isclose(predict_seconds(Count(132, 0, 528.0, 3350)), 1e-9)
    assert np.isclose(predict_seconds(Count(1, 0, 4.0, 6400)), 100 * cycle)


#: Limits of the predicted time of all three kernels, in microseconds.
LIMITS = {'VOC300': 30, 'COCO300': 80, 'VOC512': 25}


def test_predicted_times(tmp_path):
    choose_toolchain(TOOLCHAINS[-1])
    library, kernels = count_instructions.build(emulator.SOURCE, tmp_path)
    for name, size in count_instructions.SIZES.items():
        counts = count_instructions.count_size(library, kernels, size)
        assert list(counts) == list(emulator.KERNELS)  # one launch each
        assert 1e6 * sum(map(predict_seconds, counts.values())) <= LIMITS[name]
