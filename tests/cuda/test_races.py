"""The kernels under ThreadSanitizer, with each CUDA thread a thread of its own, in random order.

ThreadSanitizer reports two accesses to the same memory that no barrier and no fence orders, even
where they happen in a harmless order. ``races/fibers.h`` says what orders accesses.

It sees the C++ source, and the PTX that NVRTC makes of it. So it shows that NVRTC moves no access
over a barrier or a fence. The assembler could still do so. ``volatile`` is an ordinary access here.
All threads and blocks run on one processor.
"""

import re
import sys

import numpy as np
import pytest

from chainer_ssd.functions._fused import kernels
from tests.cuda.ptx.translate import translate_ptx
from tests.cuda.races import sanitizer
from tests.cuda.test_ptx import ARCHITECTURES as PTX_ARCHITECTURES
from tests.cuda.test_ptx import choose_toolchain, compile_ptx
from tests.cuda.toolchain import TOOLCHAINS
from tests.functions.fused import emulator
from tests.functions.fused.test_emulated_kernels import LARGE, SMALL, make_real
from tests.functions.fused.test_kernels import assert_equals_definition

pytestmark = pytest.mark.cuda

#: Few threads, since each one costs a thread of ThreadSanitizer. There are more boxes than threads.
THREADS = 64
#: The number of images, of boxes and of classes, the dtype, the losses, and the shared memory.
CASES = {
    'ties': (2, 90, 3, 'f', 'tied', LARGE),
    'many blocks': (4, 130, 9, 'f', 'normal', LARGE),
    'global memory': (2, 150, 5, 'e', 'tied', SMALL),
    'double': (3, 100, 4, 'd', 'zero', LARGE),
}


class SanitizedKernel:
    """Replaces ``LazyKernel``: each launch is a process under ThreadSanitizer."""

    def __init__(self, program, name, seed):
        self.program, self.name, self.seed = program, name, seed

    def __call__(self, dtype, grid, block, args, shared_mem=0):
        # Loops over boxes run more than once.
        name, block = f'{self.name}_{dtype.char}', min(block, THREADS)
        sanitizer.run(self.program, name, grid, block, shared_mem, args, self.seed)


@pytest.fixture(scope='module')
def build(tmp_path_factory):
    """Return a function that builds a program: ``build(source, names_of_kernels)``."""
    if sanitizer.reason_to_skip():
        pytest.skip(sanitizer.reason_to_skip())
    folder = tmp_path_factory.mktemp('races')
    return lambda source, names: sanitizer.build_program(folder, source, names)


@pytest.fixture
def run_case(monkeypatch):
    """Return a function that runs all kernels on a case, and compares with the definition."""
    monkeypatch.setattr(kernels, 'THREADS_PER_BLOCK', THREADS)
    monkeypatch.setattr(kernels, 'MAX_BLOCKS', 3)

    def run(program, case, seed):
        n_image, n_box, n_class, dtype, losses, shared_memory = CASES[case]
        arrays = make_real(n_box, n_class, n_image, dtype, losses)
        arrays[3][:, :3] = 1  # every image has positives
        memory = emulator.Memory(emulator.GARBAGE['nan'])
        monkeypatch.setitem(sys.modules, 'cupy', emulator.fake_cupy(shared_memory, memory))
        for name in emulator.KERNELS:
            monkeypatch.setattr(kernels, name, SanitizedKernel(program, name, seed))
        losses, count, selected = kernels.forward(*arrays, 3.0, divide=True)
        scales = np.array([1, 2], losses.dtype)
        gradients = kernels.backward(*arrays, selected, count, scales[:1], scales[1:])
        assert_equals_definition((*arrays, 3.0), selected, losses, gradients)
        return [array.tobytes() for array in (losses, count, selected, *gradients)]

    return run


def read_source():
    return emulator.SOURCE.read_text(encoding='utf-8')


def build_kernels(build, source, letters):
    """Return the program of the kernels for some dtypes."""
    instances = ''.join(f'KERNELS({emulator.TYPES[letter]}, {letter})\n' for letter in letters)
    names = [f'{name}_{letter}' for name in emulator.KERNELS for letter in letters]
    return build(sanitizer.write_source(source + instances, names), names)


@pytest.fixture(scope='module')
def program(build):
    return build_kernels(build, read_source(), 'fde')


@pytest.mark.parametrize('case', CASES)
def test_no_race_and_the_same_bits_in_any_order(program, run_case, case):
    first = run_case(program, case, 0)
    for seed in range(1, 5):
        assert run_case(program, case, seed) == first


@pytest.mark.parametrize(
    ('toolchain', 'architecture'),
    [(each, arch) for each in TOOLCHAINS for arch in PTX_ARCHITECTURES[each.name]],
    ids=lambda param: getattr(param, 'name', param),
)
def test_no_race_in_the_ptx(build, run_case, toolchain, architecture):
    choose_toolchain(toolchain)
    (ptx,) = compile_ptx(toolchain, [architecture], 'f')
    ptx_program = build(translate_ptx(ptx), [f'{name}_f' for name in emulator.KERNELS])
    for seed, case in enumerate(['ties', 'many blocks']):
        run_case(ptx_program, case, seed)


def test_each_fence_of_the_ptx_is_needed(build, run_case):
    # A barrier has several copies in the PTX, and not all of them are needed where they stand.
    toolchain = choose_toolchain(TOOLCHAINS[-1])
    (ptx,) = compile_ptx(toolchain, toolchain.architectures[-1:], 'f')
    fences = [match.span() for match in re.finditer(r'\b(fence|membar)\.[^;]*;', ptx)]
    assert len(fences) >= 2
    for start, end in fences:
        wrong = translate_ptx(ptx[:start] + ptx[end:])
        wrong_program = build(wrong, [f'{name}_f' for name in emulator.KERNELS])
        with pytest.raises(sanitizer.RaceFound):
            for seed in range(6):
                run_case(wrong_program, 'many blocks', seed)


def find_statements():
    """Return the position, the text, and the replacement of all that orders threads."""
    source = read_source()
    found = [
        (match.start(), match[0], '')
        for match in re.finditer(r'\b__(?:syncthreads|threadfence|syncwarp)\(\w*\);', source)
    ]
    for match in re.finditer(r'atomicAdd\(&?([^,;]+), ([^;]*?)\)(?=;| ==)', source):
        target = match[1] if '[' in match[1] else f'*{match[1]}'
        found.append((match.start(), match[0], f'(({target} += {match[2]}) - {match[2]})'))
    return found


def describe(statement):
    return f'line {read_source()[: statement[0]].count(chr(10)) + 1} {statement[1].split("(")[0]}'


@pytest.mark.parametrize('statement', find_statements(), ids=describe)
def test_each_barrier_fence_and_atomic_operation_is_needed(build, run_case, statement):
    # Without it, either a race is found, or threads wait at different barriers, or values change.
    # A statement that is not needed costs time, and is a fault as well.
    position, text, replacement = statement
    source = read_source()
    wrong = source[:position] + replacement + source[position + len(text) :]
    wrong_program = build_kernels(build, wrong, 'f')
    with pytest.raises((sanitizer.RaceFound, sanitizer.BarrierMissed)) as found:
        for seed in range(6):
            for case in ('ties', 'many blocks'):
                run_case(wrong_program, case, seed)
    print(found.value)


OTHER_FAULTS = {
    'a barrier that not all threads reach': (
        '    __syncthreads();\n    if (threadIdx.x % 32 == 0) scratch',
        '    if (threadIdx.x % 32) __syncthreads();\n    if (threadIdx.x % 32 == 0) scratch',
    ),
    'all threads write the sums': (
        'if (threadIdx.x == 0) {\n        double* own_sums',
        '{\n        double* own_sums',
    ),
    'every block sums over images': ('if (!shared_int) return;', ''),
    'two threads of a warp write its sum': ('if (lane == 31)', 'if (lane >= 30)'),
    'two threads write where the ties end': (
        'if (before < rank && rank <= before + own_count)',
        'if (before <= rank && rank <= before + own_count)',
    ),
    'two threads write the offsets of a row': (
        'size_t i = 4 * (size_t)own_row + c;',
        'size_t i = 4 * (size_t)(own_row / 2 * 2) + c;',
    ),
    'two warps write the gradients of a row': (
        'int row = base + (__ffs(rows) - 1) * n_warp + warp;',
        'int row = base + (__ffs(rows) - 1) * n_warp + 1;',
    ),
}


@pytest.mark.parametrize('fault', OTHER_FAULTS)
def test_other_faults_are_found(build, run_case, fault):
    right, wrong = OTHER_FAULTS[fault]
    assert read_source().count(right) == 1
    wrong_program = build_kernels(build, read_source().replace(right, wrong), 'f')
    with pytest.raises((sanitizer.RaceFound, sanitizer.BarrierMissed)):
        for seed in range(6):
            for case in ('ties', 'many blocks'):
                run_case(wrong_program, case, seed)


# What orders two accesses. Thread 0 of block 0 writes, thread 1 of the same warp, thread 40 of the
# same block, or the other block reads.
WRITE, READ_IN_WARP = 'if (t == 0) x = 1;', 'if (t == 1) y[blockIdx.x] = x;'
READ_IN_BLOCK = 'if (t == 40) y[blockIdx.x] = x;'
PUBLISH = 'if (t == 0) { y[blockIdx.x] = 1; __threadfence(); last = atomicAdd(n, 1) == 1;'
COLLECT = '__syncthreads(); if (last && t == 40) z[0] = y[0] + y[1];'
MODEL = {
    'a barrier orders a block': (f'{WRITE} __syncthreads(); {READ_IN_BLOCK}', False),
    'a warp barrier orders a warp': (f'{WRITE} __syncwarp(); {READ_IN_WARP}', False),
    'a warp barrier does not order a block': (f'{WRITE} __syncwarp(); {READ_IN_BLOCK}', True),
    'an exchange orders nothing': (f'{WRITE} __shfl_xor_sync(~0u, t, 1); {READ_IN_WARP}', True),
    'a vote orders nothing': (f'{WRITE} __any_sync(~0u, t); {READ_IN_WARP}', True),
    'a fence alone orders nothing': (f'{WRITE} __threadfence(); {READ_IN_BLOCK}', True),
    'no order in a warp': (f'{WRITE} {READ_IN_WARP}', True),
    'no order of a barrier that comes too late': (
        f'{WRITE} {READ_IN_BLOCK} __syncthreads();',
        True,
    ),
    'the next barrier orders nothing before': (
        f'__syncthreads(); {WRITE} {READ_IN_BLOCK} __syncthreads();',
        True,
    ),
    'atomic operations do not race': ('atomicAdd(n, 1);', False),
    'an atomic and an ordinary one race': (
        'if (t == 0) atomicAdd(n, 1); if (t == 40) n[0]++;',
        True,
    ),
    'fence, atomic, fence': (f'{PUBLISH} __threadfence(); }} {COLLECT}', False),
    'no fence after the atomic': (f'{PUBLISH} }} {COLLECT}', True),
    'no fence before the atomic': (
        f'{PUBLISH.replace("__threadfence();", "")} __threadfence(); }} {COLLECT}',
        True,
    ),
    'a write between fence and atomic': (
        f'{PUBLISH.replace("last =", "y[blockIdx.x] = 2; last =")} __threadfence(); }} {COLLECT}',
        True,
    ),
    'blocks have shared memory of their own': (
        'if (t == 0) x = 1; if (t == 0) z[blockIdx.x] = x;',
        False,
    ),
    'blocks share global memory': ('if (t == 0) z[0] = 1;', True),
}


@pytest.fixture(scope='module')
def model_program(build):
    kernels_of_model = [
        f'extern "C" __global__ void model_{i}(int* n, int* y, int* z) {{'
        f'__shared__ int x; __shared__ bool last; int t = threadIdx.x;\n{body}\n}}'
        for i, (body, _) in enumerate(MODEL.values())
    ]
    names = [f'model_{i}' for i in range(len(MODEL))]
    return build(sanitizer.write_source('\n'.join(kernels_of_model), names), names)


@pytest.mark.parametrize('case', MODEL)
def test_what_orders_two_accesses(model_program, case):
    _, is_race = MODEL[case]
    found = []
    for seed in range(4):
        args = [np.zeros(2, 'i') for _ in range(3)]
        name = f'model_{list(MODEL).index(case)}'
        try:
            sanitizer.run(model_program, name, 2, 64, 0, args, seed)
            found.append(False)
        except sanitizer.RaceFound:
            found.append(True)
    assert any(found) == is_race
