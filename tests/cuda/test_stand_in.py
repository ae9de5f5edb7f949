"""The tests of CuPy arrays, run on a stand-in for CuPy on NumPy."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda.toolchain import BUILD_FOLDER
from tests.functions.fused.emulator import KERNELS

pytestmark = pytest.mark.cuda
ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
STAND_IN = HERE / 'cupy_on_numpy'
KERNEL_TESTS = 'tests/functions/fused/test_kernels.py'
#: Tests of CuPy arrays that the stand-in cannot run, with the reason.
LEFT_OUT = {
    f'{KERNEL_TESTS}::test_on_a_gpu_no_synchronization_and_few_kernels': 'needs the driver',
    'tests/gpu/test_chainer.py::test_custom_kernels': 'has a CUDA kernel of its own',
    'tests/gpu/test_distributed.py': 'needs NCCL',
    # Each shard takes 40 s in the emulator. `test_emulated_kernels.py` has shapes of its own.
    **{
        f'{KERNEL_TESTS}::test_on_a_gpu_thousands_of_shapes[{shard}]': 'one shard of 50 runs'
        for shard in range(1, 50)
    },
}
CONVOLUTION = (
    'tests/functions/test_convolution_2d.py',
    'tests/functions/test_max_pooling_2d.py',
    'tests/links/test_convolution_2d.py',
)


def run(folder, *args):
    """Run Python with the stand-in. Returns what it printed and what it asked of CuPy."""
    log = folder / 'log.json'
    env = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(STAND_IN), str(ROOT)]),
        'CUPY_ON_NUMPY_CACHE': str(BUILD_FOLDER),
        'CUPY_ON_NUMPY_LOG': str(log),
    }
    done = subprocess.run(
        [sys.executable, *args], env=env, cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    return done, json.loads(log.read_text()) if log.exists() else None


@pytest.fixture(scope='module')
def tested(tmp_path_factory):
    """The outcome of the tests of CuPy arrays."""
    return run(
        tmp_path_factory.mktemp('stand_in'),
        *('-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider', '-m', 'gpu', 'tests'),
        *(f'--deselect={test}' for test in LEFT_OUT),
    )


def count(done, word):
    return sum(map(int, re.findall(rf'(\d+) {word}', done.stdout.splitlines()[-1])))


def test_the_tests_of_cupy_arrays_pass(tested):
    done, _ = tested
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert count(done, 'passed') >= 863
    assert not count(done, 'skipped'), done.stdout


def test_convolution_and_pooling_pass(tmp_path):
    done, asked = run(
        tmp_path, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-m', 'gpu', *CONVOLUTION
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert count(done, 'passed') >= 100
    assert 'matmul' in asked['functions']


def test_the_kernels_run_where_they_are_asked_for(tmp_path):
    options = '-q', '-p', 'no:cacheprovider', '-m', 'gpu', '-k', 'any_dtype'
    done, asked = run(tmp_path, '-m', 'pytest', *options, KERNEL_TESTS)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert count(done, 'passed') == 12
    kernels = {f'{name}_{dtype}' for name in KERNELS for dtype in 'efd'}
    assert set(asked['kernels']) == kernels


def test_how_often_the_host_waits_for_the_device(tmp_path):
    done, asked = run(tmp_path, HERE / 'count_waits.py')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        'multibox_loss, kernels': 0,
        'multibox_loss': 6,
        'ssd_match': 0,
        'ssd_loss': 11,
        'MultiBoxLoss': 6,
        'decode_batch': 2,
    }
    assert 'choose_rows_f' in asked['kernels']


def test_a_training_has_the_log_of_the_cpu(tmp_path):
    logs = []
    for device in '@numpy', '@cupy:0':
        done, _ = run(tmp_path, HERE / 'train.py', device)
        assert done.returncode == 0, done.stderr
        logs.append(json.loads(done.stdout))
    on_cpu, on_device = logs
    assert len(on_cpu) == len(on_device) == 8
    assert on_cpu[-1]['main/loss'] < on_cpu[0]['main/loss']
    for expected, found in zip(on_cpu, on_device):
        assert found.keys() == expected.keys()
        for name in expected.keys() - {'elapsed_time'}:
            assert found[name] == pytest.approx(expected[name], rel=2e-6), name


def test_cupy_has_what_the_tests_asked_of_the_stand_in(tested):
    python = BUILD_FOLDER / 'cuda13' / 'bin' / 'python'
    if not python.exists():
        pytest.skip('CuPy for CUDA 13 is missing: make test-cuda installs it')
    _, asked = tested
    program = (
        'import cupy, json, sys; asked = json.load(sys.stdin); '
        'print([n for n in asked["functions"] if not hasattr(cupy, n)]'
        ' + [n for n in asked["methods"] if not hasattr(cupy.ndarray, n)])'
    )
    done = subprocess.run(
        [python, '-W', 'ignore', '-c', program],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == '[]'
    assert len(asked['functions']) >= 40 and len(asked['methods']) >= 10


@pytest.mark.parametrize(
    ('program', 'message'),
    [
        ('cupy.zeros(3) + numpy.zeros(3)', 'Unsupported type'),
        ('numpy.asarray(cupy.zeros(3))', 'Implicit conversion'),
        ('x = cupy.zeros(3); cupy.cuda.Device(1).use(); x + 1', 'array of device 0 is used'),
        ('cupy.concatenate([cupy.zeros(3), numpy.zeros(3)])', 'Unsupported type'),
        ('cupy.exp([1.0])', 'Unsupported type'),
        ("cupy.argsort(cupy.zeros(3), kind='mergesort')", 'kind can only be'),
        ("cupy.array(['a'])", 'Unsupported dtype'),
        (
            "cupy.ElementwiseKernel('T x, T y', 'T z', 'z = x + y')"
            "(cupy.zeros(3, 'f'), cupy.zeros(3, 'd'))",
            'Type is mismatched',
        ),
    ],
)
def test_what_cupy_refuses_is_refused(tmp_path, program, message):
    done, _ = run(tmp_path, '-c', f'import cupy, numpy; {program}')
    assert done.returncode and message in done.stderr


@pytest.mark.parametrize(
    ('program', 'waits'),
    [
        ('x.sum() + x', {}),
        ('x.get(); x.get()', {'get': 2}),
        ('float(x.sum())', {'float': 1}),
        ('x[x > 0]', {'boolean index': 1}),
        ('cupy.flatnonzero(x)', {'flatnonzero': 1}),
        ('bool(x.any())', {'bool': 1}),
    ],
)
def test_waits_of_the_host_are_counted(tmp_path, program, waits):
    done, asked = run(tmp_path, '-c', f"import cupy; x = cupy.ones(5, 'f'); {program}")
    assert done.returncode == 0, done.stderr
    assert asked['waits'] == waits
