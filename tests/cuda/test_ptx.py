"""The kernels as NVRTC compiles them: their PTX, translated to C++ and emulated on the CPU.

All tests of ``tests/functions/fused/test_emulated_kernels.py`` run on it. They run the C++ source
there, and here what two versions of NVRTC make of it: contracted multiplications and additions,
flushed subnormal numbers, unrolled loops, vector instructions, and instructions that moved.

Between PTX and the GPU stands the assembler, which is not executed here. Neither are approximations
of the hardware: ``ex2.approx`` is exact to its last bits here. Several architectures have the same
PTX. Each PTX is executed once, as :func:`test_each_ptx_is_executed` checks.
"""

import re
import shutil

import numpy as np
import pytest

from chainer_ssd.functions._fused.lazy_kernel import LazyKernel
from chainer_ssd.ops import hard_negative_mining
from tests.cuda.ptx.translate import translate_ptx
from tests.cuda.toolchain import TOOLCHAINS, Job
from tests.functions.fused import emulator, test_emulated_kernels
from tests.functions.fused.test_emulated_kernels import (
    LARGE,
    SMALL,
    assert_right,
    choose_rows,
    emulated,  # noqa: F401  (a fixture)
    make_real,
)

pytestmark = pytest.mark.cuda

#: Of each toolchain, the architectures whose PTX differs. The others have that of one of them.
ARCHITECTURES = {'cuda12': ('75', '120'), 'cuda13': ('75', '100', '120')}
#: Tests of the launchers, which need no kernel.
NO_KERNEL = ('test_each_thread_has_a_row', 'test_cupy_is_asked_for_c_names')
#: Tests that take too long five times, or that are different on PTX. They have others here.
REPLACED = ('test_real_sizes', 'test_any_loss_has_its_rank')

globals().update(
    {
        name: value
        for name, value in vars(test_emulated_kernels).items()
        if name.lower().startswith('test') and name not in NO_KERNEL + REPLACED
    }
)


def compile_ptx(toolchain, architectures, letters, source=None):
    """Return the PTX of the kernels, as text, for each architecture."""
    source = source or emulator.SOURCE.read_text(encoding='utf-8')
    source += ''.join(f'KERNELS({LazyKernel.TYPES[letter]}, {letter})\n' for letter in letters)
    jobs = [Job(source, each, options=('--std=c++11',), ptx=True) for each in architectures]
    results = toolchain.compile(jobs)
    for result in results:
        assert not result.error, result.error
    return [result.binary.decode('ascii').rstrip('\0') for result in results]


def build_library(ptx, folder):
    """Return the emulated kernels of a PTX text."""
    source = folder / 'ptx.cpp'
    source.write_text(translate_ptx(ptx), encoding='utf-8')
    return emulator.compile_library(source)


def choose_toolchain(toolchain):
    if toolchain.reason_to_skip:
        pytest.skip(toolchain.reason_to_skip)
    if shutil.which('g++') is None:
        pytest.skip('g++ is missing: PTX is not executed')
    return toolchain


@pytest.fixture(
    scope='module',
    params=[(each, arch) for each in TOOLCHAINS for arch in ARCHITECTURES[each.name]],
    ids=lambda param: f'{param[0].name}-compute_{param[1]}',
)
def library(request, tmp_path_factory):
    toolchain, architecture = request.param
    (ptx,) = compile_ptx(choose_toolchain(toolchain), [architecture], LazyKernel.TYPES)
    return build_library(ptx, tmp_path_factory.mktemp('ptx'))


@pytest.mark.parametrize(
    ('n_box', 'n_class', 'dtype', 'losses', 'shared_memory'),
    [
        (8732, 21, 'f', 'normal', LARGE),
        (8732, 81, 'e', 'normal', SMALL),
        (12240, 4, 'd', 'tied', LARGE),
        (24564, 21, 'f', 'tied', SMALL),
    ],
)
def test_one_real_size_of_each_model(emulated, n_box, n_class, dtype, losses, shared_memory):  # noqa: F811
    arrays = make_real(n_box, n_class, 1, dtype, losses)
    assert_right(emulated(shared_memory, n_box), *arrays)


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('block', [32, 96])
def test_any_loss_has_its_rank(emulated, dtype, block):  # noqa: F811
    # CuPy compiles with -ftz=true: float32 below the smallest normal number equals 0. The losses
    # of `box_losses` are never so small, but 0.
    rng = np.random.default_rng(block)
    normal = [0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1, -1, 1.5, 1 + np.finfo(dtype).eps]
    pool = np.array([*normal, 1e-40, -1e-40, -np.finfo(dtype).max], dtype)
    for n_box in (1, 31, 150, 400):
        loss = rng.choice(pool, (2, n_box))
        label = rng.choice([-1, 0, 1], (2, n_box), p=[0.1, 0.75, 0.15]).astype('i')
        positive = label > 0
        comparable = np.where(loss == -np.inf, -np.finfo('d').max, loss.astype('d'))
        if dtype == 'f':
            comparable[abs(comparable) < np.finfo('f').tiny] = 0
        for k in (0, 0.5, 2, 1e9):
            n_negative = np.minimum(np.ceil(k * positive.sum(axis=1)), n_box).astype('i')
            expected = positive | hard_negative_mining(comparable, positive, n_negative, label < 0)
            for in_shared in (True, False):
                memory = emulated(seed=n_box)
                selected, *_ = choose_rows(memory, loss, label, k, block, in_shared)
                np.testing.assert_array_equal(selected, expected)


@pytest.mark.parametrize('toolchain', TOOLCHAINS, ids=lambda toolchain: toolchain.name)
def test_each_ptx_is_executed(toolchain):
    choose_toolchain(toolchain)
    all_ptx = compile_ptx(toolchain, toolchain.architectures, LazyKernel.TYPES)
    body = {
        architecture: re.sub(r'\.target \w+|//[^\n]*', '', ptx)
        for architecture, ptx in zip(toolchain.architectures, all_ptx)
    }
    executed = {body[architecture] for architecture in ARCHITECTURES[toolchain.name]}
    assert len(executed) == len(ARCHITECTURES[toolchain.name])
    assert executed == set(body.values())


# What the tests above find. A fault is put into the PTX of one kernel.
FAULTS = {
    'no fault': (r'$^', ''),
    'parameter': (r'(ld\.param\.\w+ \s*%r\d+, \[box_losses_f_param_)3\]', r'\g<1>2]'),
    'pointer': (r'(ld\.param\.\w+ \s*%rd\d+, \[gradients_f_param_)0\]', r'\g<1>2]'),
    'comparison': (r'setp\.gt\.s32', 'setp.ge.s32'),
    'sign': (r'sub\.ftz\.f32', 'add.ftz.f32'),
    'power': (r'ex2\.approx\.ftz\.f32(\s+%\w+), %\w+;', r'mov.b32\1, 0f3F800000;'),
    'barriers': (r'bar\.sync\s+0;', ''),
    'shuffle': (r'(shfl\.sync\.bfly\.b32\s+\S+, \S+), 1,', r'\1, 2,'),
    'predicate': (r'@%p(\d+) bra', r'@!%p\1 bra'),
    'shared address': (r'(st\.shared\.\w+\s+\[)(\w+)\]', r'\1\2+16384]'),
    'global address': (r'(st\.global\.\w+\s+\[%rd\d+)\]', r'\1+4]'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_in_the_ptx_is_found(fault, tmp_path, request, monkeypatch):
    toolchain = choose_toolchain(TOOLCHAINS[-1])
    (ptx,) = compile_ptx(toolchain, toolchain.architectures[-1:], 'f')
    wrong, number = re.subn(*FAULTS[fault], ptx)
    assert bool(number) == (fault != 'no fault')
    library = build_library(wrong, tmp_path)  # noqa: F811
    replace_kernels = emulated.__wrapped__(library, monkeypatch)
    arrays = make_real(300, 5, 3, 'f', 'tied')

    def run_all():
        for seed in range(4):
            for shared_memory in (LARGE, SMALL):
                assert_right(replace_kernels(shared_memory, seed), *arrays)

    if fault == 'no fault':
        run_all()
    else:
        with pytest.raises(AssertionError):
            run_all()
