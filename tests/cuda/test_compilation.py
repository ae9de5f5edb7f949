"""The kernels, compiled by two CuPys and two NVRTCs for each architecture, without a GPU.

CuPy's own functions compile, with the options that CuPy passes. Only the driver is missing: it
loads the binary and launches the kernels. So nothing here shows that a launch works.
"""

import re

import pytest

from chainer_ssd.functions._fused import kernels
from chainer_ssd.functions._fused.lazy_kernel import LazyKernel
from tests.cuda.toolchain import TOOLCHAINS, Job
from tests.functions.fused import emulator

pytestmark = pytest.mark.cuda

REGISTERS_OF_MULTIPROCESSOR = 65536
#: Registers are given to a warp in units of 8 per thread.
REGISTER_UNIT = 8
#: Threads that a multiprocessor must be able to hold, by the type of the sums. With 1,024 of 2,048
#: there is other work while a warp waits for memory. float64 needs twice the registers.
MIN_RESIDENT_THREADS = {'f': 1024, 'e': 1024, 'd': 512}
#: ``choose_rows`` is launched with up to so many threads in a block.
MAX_BLOCK = {'choose_rows': 1024}
#: NVRTC hands it to the assembler, which then reports what each kernel uses.
VERBOSE = '--ptxas-options=-v'


def make_job(architecture, source=None, **other):
    """Return the job that compiles as ``LazyKernel`` does, for all dtypes."""
    instances = ''.join(f'KERNELS({name}, {letter})\n' for letter, name in LazyKernel.TYPES.items())
    source = emulator.SOURCE.read_text(encoding='utf-8') + instances if source is None else source
    return Job(source, architecture, options=('--std=c++11', VERBOSE), **other)


def read_usage(log):
    """Return what each kernel uses, from the report of the assembler.

    Returns
    -------
    dict
        For each kernel a dict with the numbers of registers, and the bytes of the stack frame, of
        spilled registers, and of static shared memory.
    """
    usage = {}
    for part in log.split('Compiling entry function ')[1:]:
        numbers = {
            'registers': r'Used (\d+) registers',
            'stack': r'(\d+) bytes stack frame',
            'spilled': r'(\d+) bytes spill stores',
            'shared': r'(\d+) bytes smem',
        }
        found = {name: re.search(pattern, part) for name, pattern in numbers.items()}
        usage[part.split("'")[1]] = {
            name: int(match[1]) if match else 0 for name, match in found.items()
        }
    return usage


def find_warnings(log):
    """Return the lines of a log that are neither a report nor about an old architecture."""
    expected = re.compile(
        r'\s*$|ptxas (info    :|        \.) |'
        r'nvrtc: warning: Architectures prior to .* are deprecated and may be removed'
    )
    return [line for line in log.splitlines() if not expected.match(line)]


def find_faults(usage):
    """Return what is wrong with the usage of each kernel, as a list of sentences."""
    faults = []
    for name, used in usage.items():
        kernel, letter = name.rsplit('_', 1)
        if used['stack'] or used['spilled']:
            faults.append(f'{name}: {used["stack"]} bytes of stack, {used["spilled"]} spilled')
        registers = -(-used['registers'] // REGISTER_UNIT) * REGISTER_UNIT
        resident = REGISTERS_OF_MULTIPROCESSOR // max(registers, 1)
        wanted = MAX_BLOCK.get(kernel, MIN_RESIDENT_THREADS.get(letter, 0))
        if resident < wanted:
            faults.append(f'{name}: {used["registers"]} registers, so {resident} threads at once')
        if used['shared'] > kernels.STATIC_SHARED_BYTES:
            faults.append(f'{name}: {used["shared"]} bytes of static shared memory')
    return faults


@pytest.fixture(scope='module', params=TOOLCHAINS, ids=lambda toolchain: toolchain.name)
def toolchain(request):
    if request.param.reason_to_skip:
        pytest.skip(request.param.reason_to_skip)
    return request.param


@pytest.fixture(scope='module')
def compiled(toolchain):
    """The result of each architecture."""
    results = toolchain.compile([make_job(each) for each in toolchain.architectures])
    return dict(zip(toolchain.architectures, results))


def test_versions_are_those_of_the_requirements(toolchain):
    versions = toolchain.run_worker([])['versions']
    requirements = toolchain.requirements.read_text(encoding='utf-8')
    print(versions)
    assert f'=={versions["cupy"]}\n' in requirements
    assert re.search(rf'nvidia-cuda-nvrtc\S*=={re.escape(versions["nvrtc"])}\.', requirements)


def test_compiles_for_each_architecture(toolchain, compiled):
    for architecture, result in compiled.items():
        assert not result.error, f'sm_{architecture}: {result.error}'
        assert result.binary.startswith(b'\x7fELF')
        assert f'-arch=sm_{architecture}' in result.options
        assert '-ftz=true' in result.options
        assert not find_warnings(result.log)
        expected = {
            f'{kernel}_{letter}' for kernel in emulator.KERNELS for letter in LazyKernel.TYPES
        }
        assert read_usage(result.log).keys() == expected
        for name in expected:
            assert f'.text.{name}\0'.encode() in result.binary


def test_few_registers_no_spills_no_stack(toolchain, compiled):
    faults = {}
    for architecture, result in compiled.items():
        usage = read_usage(result.log)
        print(f'sm_{architecture}', {name: used['registers'] for name, used in usage.items()})
        faults[f'sm_{architecture}'] = find_faults(usage)
    assert not any(faults.values()), faults


def test_an_error_of_the_compiler_is_reported(toolchain):
    result = toolchain.compile([make_job('80', 'extern "C" __global__ void k() { missing(); }')])[0]
    assert 'missing' in result.error and not result.binary


STACK = """
extern "C" __global__ void gradients_f(const int* a, int* b, int n) {
    int x[64];
    for (int i = 0; i < 64; i++) x[i] = a[i];
    for (int i = 0; i < n; i++) x[b[i] & 63] += x[a[i] & 63];
    b[threadIdx.x] = x[b[threadIdx.x] & 63];
}"""
REGISTERS = """
extern "C" __global__ void __launch_bounds__(256) %s(const float* a, float* b) {
    float x[160];
    #pragma unroll
    for (int i = 0; i < 160; i++) x[i] = a[i * 256 + threadIdx.x];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 160; i++) b[i * 256 + threadIdx.x] = x[i] * x[(i * 7 + 3) %% 160];
}"""
SHARED = """
extern "C" __global__ void choose_rows_f(int* a) {
    __shared__ int x[3100];
    for (int i = threadIdx.x; i < 3100; i += blockDim.x) x[i] = a[i];
    __syncthreads();
    a[threadIdx.x] = x[3099 - threadIdx.x];
}"""
WARNING = """
extern "C" __global__ void gradients_f(float* a) { int unused = 1; a[0] = 1; }"""


@pytest.mark.parametrize(
    ('source', 'fault'),
    [
        (STACK, '256 bytes of stack'),
        (REGISTERS % 'gradients_f', 'threads at once'),
        (REGISTERS % 'choose_rows_d', 'threads at once'),
        (SHARED, '12400 bytes of static shared memory'),
    ],
    ids=['stack', 'registers', 'block', 'shared'],
)
def test_the_limits_find_a_kernel_that_needs_too_much(toolchain, source, fault):
    result = toolchain.compile([make_job('80', source)])[0]
    assert not result.error
    assert fault in ' '.join(find_faults(read_usage(result.log)))


def test_spilled_registers_are_found(toolchain):
    source = (REGISTERS % 'gradients_f').replace('(256)', '(256, 8)')  # leaves 32 registers
    result = toolchain.compile([make_job('80', source)])[0]
    assert re.search(r'[1-9]\d* spilled', ' '.join(find_faults(read_usage(result.log))))


def test_warnings_are_found(toolchain):
    result = toolchain.compile([make_job('80', WARNING)])[0]
    assert any('unused' in line for line in find_warnings(result.log))
