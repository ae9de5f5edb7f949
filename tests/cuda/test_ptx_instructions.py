"""The rules that translate PTX, one instruction at a time, against what NVIDIA's manual says.

The expected bits were derived by hand from "Parallel Thread Execution ISA", version 9.
"""

import shutil
import struct

import numpy as np
import pytest

from tests.cuda.ptx.instructions import UnknownInstruction
from tests.cuda.ptx.parse import parse_ptx
from tests.cuda.ptx.translate import translate_ptx
from tests.functions.fused import emulator

pytestmark = pytest.mark.cuda

KERNEL = """
.visible .entry {name}(
    .param .u64 .ptr .align 1 {name}_param_0,
    .param .u64 {name}_param_1
)
{{
    .reg .pred %p<4>;
    .reg .b16 %rs<4>;
    .reg .b32 %r<8>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<16>;
    .reg .f64 %fd<4>;
    ld.param.u64 %rd10, [{name}_param_0];
    ld.param.b64 %rd11, [{name}_param_1];
    ld.global.u64 %rd1, [%rd10];
    ld.global.u64 %rd2, [%rd10+8];
    ld.global.u64 %rd3, [%rd10+16];
    ld.global.b32 %r1, [%rd10];
    ld.global.b32 %r2, [%rd10+8];
    ld.global.b32 %r3, [%rd10+16];
    ld.global.f32 %f1, [%rd10];
    ld.global.f32 %f2, [%rd10+8];
    ld.global.f32 %f3, [%rd10+16];
    ld.global.f64 %fd1, [%rd10];
    ld.global.f64 %fd2, [%rd10+8];
    ld.global.b16 %rs1, [%rd10];
    mov.b64 %rd4, 0;
    {code}
    st.global.b64 [%rd11], %rd4;
    ret;
}}
"""


def f32(x):
    """Return the bits of a float32."""
    return struct.unpack('<I', struct.pack('<f', x))[0]


def f64(x):
    """Return the bits of a float64."""
    return struct.unpack('<Q', struct.pack('<d', x))[0]


NAN, NAN64, TINY = 0x7FC00000, 0x7FF8000000000000, 0x00000001
TO_32, TO_F32 = ' cvt.u64.u32 %rd4, %r4;', ' mov.b32 %r4, %f0; cvt.u64.u32 %rd4, %r4;'
TO_PRED, TO_F64 = ' selp.b64 %rd4, 1, 0, %p1;', ' mov.b64 %rd4, %fd0;'

# Code, inputs (the bits of %r1 or %f1 and so on), and the bits of the result.
CASES = {
    'shl.b32 of the width': ('shl.b32 %r4, %r1, %r2;' + TO_32, [1, 32], 0),
    'shl.b32': ('shl.b32 %r4, %r1, %r2;' + TO_32, [3, 31], 0x80000000),
    'shr.u32 of the width': ('shr.u32 %r4, %r1, 40;' + TO_32, [0x80000000], 0),
    'shr.s32 of the width': ('shr.s32 %r4, %r1, 40;' + TO_32, [0x80000000], 0xFFFFFFFF),
    'shr.s32': ('shr.s32 %r4, %r1, 4;' + TO_32, [0x80000000], 0xF8000000),
    'bfi.b32': ('bfi.b32 %r4, %r1, %r2, 4, 8;' + TO_32, [0xABCD, 0x12345678], 0x12345CD8),
    'bfi.b64': ('bfi.b64 %rd4, %rd1, %rd2, 32, 32;', [7, 5], (7 << 32) + 5),
    'mul.hi.u32': ('mul.hi.u32 %r4, %r1, %r2;' + TO_32, [0xFFFFFFFF, 0xFFFFFFFF], 0xFFFFFFFE),
    'mul.hi.s32': ('mul.hi.s32 %r4, %r1, %r2;' + TO_32, [0xFFFFFFFF, 2], 0xFFFFFFFF),
    'mul.wide.s32': ('mul.wide.s32 %rd4, %r1, 4;', [0xFFFFFFFF], 2**64 - 4),
    'mul.wide.u32': ('mul.wide.u32 %rd4, %r1, 4;', [0xFFFFFFFF], 4 * (2**32 - 1)),
    'mad.lo.s32': ('mad.lo.s32 %r4, %r1, %r2, %r3;' + TO_32, [0xFFFFFFFF, 3, 5], 2),
    'add.s32 wraps': ('add.s32 %r4, %r1, 1;' + TO_32, [0x7FFFFFFF], 0x80000000),
    'div.u32': ('div.u32 %r4, %r1, 2;' + TO_32, [0xFFFFFFFF], 0x7FFFFFFF),
    'rem.u32': ('rem.u32 %r4, %r1, 7;' + TO_32, [0xFFFFFFFF], 3),
    'popc.b32': ('popc.b32 %r4, %r1;' + TO_32, [0xF0F0000F], 12),
    'brev.b32': ('brev.b32 %r4, %r1;' + TO_32, [0x0000000D], 0xB0000000),
    'bfind.shiftamt.u32': ('bfind.shiftamt.u32 %r4, %r1;' + TO_32, [0x00010001], 15),
    'bfind.shiftamt.u32 of 0': ('bfind.shiftamt.u32 %r4, %r1;' + TO_32, [0], 0xFFFFFFFF),
    'vote.ballot': (
        'mov.u32 %r5, %tid.x; setp.lt.u32 %p1, %r5, %r1; vote.sync.ballot.b32 %r4, %p1, -1;'
        + TO_32,
        [3],
        7,
    ),
    'not.b32': ('not.b32 %r4, %r1;' + TO_32, [0xF0F0F0F0], 0x0F0F0F0F),
    'min.s32': ('min.s32 %r4, %r1, %r2;' + TO_32, [0xFFFFFFFF, 1], 0xFFFFFFFF),
    'min.u32': ('min.u32 %r4, %r1, %r2;' + TO_32, [0xFFFFFFFF, 1], 1),
    'ld.s8 extends the sign': ('ld.global.s8 %r4, [%rd10];' + TO_32, [0x80], 0xFFFFFF80),
    'ld.u8 does not': ('ld.global.u8 %r4, [%rd10];' + TO_32, [0x180], 0x80),
    'ld.v2': ('ld.global.v2.b64 {%rd5, %rd6}, [%rd10]; sub.s64 %rd4, %rd6, %rd5;', [3, 10], 7),
    'ld.v4': (
        'ld.global.v4.b32 {%r4, %r5, %r6, %r7}, [%rd10]; add.s32 %r4, %r4, %r6;' + TO_32,
        [3, 10],
        13,
    ),
    'st.u8 changes one byte': (
        'st.global.u8 [%rd10+1], %r2; ld.global.b32 %r4, [%rd10];' + TO_32,
        [0x11223344, 0xAABB],
        0x1122BB44,
    ),
    'cvt.s64.s32': ('cvt.s64.s32 %rd4, %r1;', [0x80000000], 0xFFFFFFFF80000000),
    'cvt.u64.u32': ('cvt.u64.u32 %rd4, %r1;', [0x80000000], 0x80000000),
    'mov packs': ('mov.b64 %rd4, {%r1, %r2};', [1, 2], (2 << 32) + 1),
    'mov unpacks': ('mov.b64 {_, %r4}, %rd1;' + TO_32, [5 << 32], 5),
    'mov to %temp': ('{ .reg .b32 %temp; mov.b64 {%r4, %temp}, %rd1; }' + TO_32, [5], 5),
    'setp.eq.f32 of a NaN': ('setp.eq.f32 %p1, %f1, %f1;' + TO_PRED, [NAN], 0),
    'setp.ne.f32 of a NaN': ('setp.ne.f32 %p1, %f1, %f1;' + TO_PRED, [NAN], 0),
    'setp.neu.f32 of a NaN': ('setp.neu.f32 %p1, %f1, %f1;' + TO_PRED, [NAN], 1),
    'setp.geu.f32 of a NaN': ('setp.geu.f32 %p1, %f1, %f2;' + TO_PRED, [NAN, 0], 1),
    'setp.geu.f32': ('setp.geu.f32 %p1, %f1, %f2;' + TO_PRED, [f32(1), f32(2)], 0),
    'setp.nan.f64': ('setp.nan.f64 %p1, %fd1, %fd2;' + TO_PRED, [0, NAN64], 1),
    'setp.gt.ftz.f32 flushes': ('setp.gt.ftz.f32 %p1, %f1, 0f00000000;' + TO_PRED, [TINY], 0),
    'setp.gt.f32 does not': ('setp.gt.f32 %p1, %f1, 0f00000000;' + TO_PRED, [TINY], 1),
    'setp.lt.s32': ('setp.lt.s32 %p1, %r1, %r2;' + TO_PRED, [0xFFFFFFFF, 0], 1),
    'setp.lt.u32': ('setp.lt.u32 %p1, %r1, %r2;' + TO_PRED, [0xFFFFFFFF, 0], 0),
    'a predicate that is negated': (
        'setp.lt.u32 %p1, %r1, %r2; @!%p1 mov.b64 %rd4, 9;',
        [5, 3],
        9,
    ),
    'max.f32 ignores a NaN': ('max.f32 %f0, %f1, %f2;' + TO_F32, [NAN, f32(-1)], f32(-1)),
    'min.f32 ignores a NaN': ('min.f32 %f0, %f1, %f2;' + TO_F32, [f32(3), NAN], f32(3)),
    'add.ftz.f32 flushes inputs': ('add.ftz.f32 %f0, %f1, %f1;' + TO_F32, [0x007FFFFF], 0),
    'mul.ftz.f32 flushes results': (
        'mul.ftz.f32 %f0, %f1, 0f3F000000;' + TO_F32,
        [0x80800000],
        0x80000000,
    ),
    'fma.rn.f32 rounds once': (
        'fma.rn.f32 %f0, %f1, %f1, %f2;' + TO_F32,
        [f32(1 + 2**-12), f32(-1 - 2**-11)],
        f32(2**-24),
    ),
    'fma.rm.f32 rounds down': (
        'fma.rm.f32 %f0, %f1, %f2, %f3;' + TO_F32,
        [f32(1), f32(-(2**-30)), f32(1)],
        f32(1 - 2**-24),
    ),
    'cvt.sat of a NaN': ('cvt.sat.f32.f32 %f0, %f1;' + TO_F32, [NAN], 0),
    'cvt.sat': ('cvt.ftz.sat.f32.f32 %f0, %f1;' + TO_F32, [f32(7)], f32(1)),
    'cvt.rzi.s32.f32 of a NaN': ('cvt.rzi.s32.f32 %r4, %f1;' + TO_32, [NAN], 0),
    'cvt.rzi.s32.f64 of a NaN': ('cvt.rzi.s32.f64 %r4, %fd1;' + TO_32, [NAN64], 0x80000000),
    'cvt.rzi.s32.f64 saturates': ('cvt.rzi.s32.f64 %r4, %fd1;' + TO_32, [f64(1e20)], 0x7FFFFFFF),
    'cvt.rzi.s32.f64': ('cvt.rzi.s32.f64 %r4, %fd1;' + TO_32, [f64(-3.9)], 2**32 - 3),
    'cvt.rpi.f64.f64': ('cvt.rpi.f64.f64 %fd0, %fd1;' + TO_F64, [f64(2.1)], f64(3)),
    'cvt.rn.f16.f32 overflows': (
        'cvt.rn.f16.f32 %rs1, %f1; cvt.u64.u16 %rd4, %rs1;',
        [f32(7e4)],
        0x7C00,
    ),
    'cvt.f32.f16': ('cvt.f32.f16 %f0, %rs1;' + TO_F32, [0x3C00], f32(1)),
    'rcp.approx.ftz.f64': ('rcp.approx.ftz.f64 %fd0, %fd1;' + TO_F64, [f64(4)], f64(0.25)),
    'ex2.approx.ftz.f32': ('ex2.approx.ftz.f32 %f0, %f1;' + TO_F32, [f32(-3)], f32(0.125)),
    'atom.add returns the old value': (
        'atom.global.add.u32 %r4, [%rd10], %r2;' + TO_32,
        [40, 2],
        40 + 31 * 2,  # of the last one of 32 threads
    ),
}


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    if shutil.which('g++') is None:
        pytest.skip('g++ is missing: PTX is not executed')
    ptx = '\n'.join(
        KERNEL.format(name=f'case_{i}', code=code) for i, (code, *_) in enumerate(CASES.values())
    )
    source = tmp_path_factory.mktemp('instructions') / 'instructions.cpp'
    source.write_text(translate_ptx(ptx), encoding='utf-8')
    return emulator.compile_library(source)


@pytest.mark.parametrize('name', CASES)
def test_instruction(library, name):
    _, inputs, expected = CASES[name]
    arrays = np.array((inputs + [0, 0])[:3], 'u8'), np.zeros(1, 'u8')
    emulator.launch(library, f'case_{list(CASES).index(name)}', 1, 32, arrays)
    assert hex(int(arrays[1][0])) == hex(expected)


@pytest.mark.parametrize(
    'code',
    [
        'frobnicate.f32 %f1, %f2;',
        'div.approx.f32 %f1, %f2, %f3;',
        'ld.const.b32 %r1, [%rd1];',
        'cvta.to.shared.u64 %rd1, %rd2;',
        'bar.sync 1, 64;',
        'mov.b32 %r1, %clock;',
        'setp.lt.and.f32 %p1, %f1, %f2, %p2;',
        'vote.sync.all.pred %p1, %p2, -1;',
        'bar.warp.sync -1;',
        'bfind.u32 %r1, %r2;',
        'brev.b64 %rd1, %rd2;',
        'ex2.approx.f32 %f1, %f2;',
        'ld.global.v2.b32 {%r1, %r2, %r3}, [%rd10];',
        'fma.rz.f32 %f1, %f2, %f2, %f2;',
    ],
)
def test_what_has_no_rule_is_refused(code):
    with pytest.raises(UnknownInstruction):
        translate_ptx(KERNEL.format(name='k', code=code))


@pytest.mark.parametrize(
    ('ptx', 'message'),
    [
        ('.global .align 4 .b8 table[8];' + KERNEL.format(name='k', code=''), 'global'),
        (KERNEL.format(name='k', code='.local .align 4 .b8 depot[8];'), 'stack frame'),
        (KERNEL.format(name='k', code='ld.local.b32 %r1, [%rd1];'), 'stack frame'),
        (KERNEL.format(name='k', code='').replace('.u64 k_p', '.align 8 .b8 k_p'), 'parameter'),
    ],
)
def test_what_cannot_be_read_is_refused(ptx, message):
    with pytest.raises(ValueError, match=message):
        parse_ptx(ptx)
