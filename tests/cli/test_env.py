"""chainer-ssd env, in complete and in broken environments."""

import contextlib
import importlib.metadata
import subprocess
import sys
import types

import pytest
from chainer.backends import cuda

from chainer_ssd import __version__
from chainer_ssd.cli import _environment
from chainer_ssd.cli._environment import CUPY_MODULES
from tests.cli.command import COMMAND, ENVIRONMENT, run_command


@pytest.fixture
def environment():
    """``environment()``: the rows as a dict."""
    return lambda: dict(_environment.describe_environment())


@pytest.fixture
def hide(monkeypatch):
    """``hide(*names)``: makes modules impossible to import."""

    def hide(*names):
        for name in {*names, *(key for key in sys.modules if key.split('.')[0] in names)}:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


def test_it_prints_what_a_bug_report_needs(run_in_process):
    status, printed, errors = run_in_process('env')
    assert status == 0 and not errors
    lines = dict(line.split(None, 1) for line in printed.splitlines() if line[:5] != 'extra')
    assert lines['chainer_ssd'].startswith(__version__)
    assert lines['Python'].startswith(sys.version.split()[0]) and sys.executable in lines['Python']
    assert {'platform', 'processor', 'NumPy', 'BLAS', 'Chainer', 'CuPy', 'GPU', 'MPI'} <= set(lines)
    starts = [line.split()[1] for line in printed.splitlines() if line.startswith('extra')]
    assert {'data', 'eval', 'plot', 'mpi', 'cuda12x'} <= set(starts)


def test_openblas_is_found_in_a_folder_with_spaces():
    maps = (
        '7f00-7f01 r--p 00000000 fe:00 12 /a b/numpy.libs/libscipy_openblas64_-32a4.so\n'
        '7f01-7f02 r--p 00000000 fe:00 13 /usr/lib/libopenblas.so.0\n'
        '7f02-7f03 r--p 00000000 fe:00 14 /openblas.so/other.txt\n'
        '7f03-7f04 rw-p 00000000 00:00 0\n'
    )
    assert _environment.find_openblas_libraries(maps) == {
        '/a b/numpy.libs/libscipy_openblas64_-32a4.so',
        '/usr/lib/libopenblas.so.0',
    }


def test_blas_threads_are_counted(environment, monkeypatch):
    blas = environment()['BLAS']
    assert 'threads' in blas
    if 'openblas' in blas and sys.platform == 'linux':
        env = {**ENVIRONMENT, 'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'}
        printed = run_command('env', env=env).stdout
        assert '1 threads, OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1' in printed
    monkeypatch.setattr(_environment, 'OPENBLAS_FUNCTIONS', ())
    assert 'an unknown number of threads' in environment()['BLAS']


def test_an_active_start_up_hook(environment):
    hook = pytest.importorskip('chainer_ssd_startup')
    assert environment()['start-up hook'] == f'active, {hook.__file__}'


def test_a_start_up_hook_that_is_turned_off(environment, monkeypatch):
    monkeypatch.setenv('CHAINER_SSD_COMPAT', 'off')
    assert environment()['start-up hook'] == '- off: CHAINER_SSD_COMPAT=off'


def test_a_start_up_hook_that_was_not_loaded(environment, monkeypatch):
    monkeypatch.delitem(sys.modules, 'chainer_ssd_startup', raising=False)
    assert environment()['start-up hook'].startswith('- not active: chainer_ssd.pth was not read')
    monkeypatch.setitem(sys.modules, 'chainer_ssd_startup', types.ModuleType('hook'))
    monkeypatch.setattr(sys, 'meta_path', [])
    assert 'its finder is not in sys.meta_path' in environment()['start-up hook']


def test_active_patches_are_listed(environment, monkeypatch):
    from chainer_ssd import _compat

    patches = ['chainer.dataset.convert', 'chainer._environment_check']
    monkeypatch.setattr(_compat, 'active_patches', lambda: patches, raising=False)
    assert environment()['patches'] == ', '.join(patches)


def test_missing_packages_are_named(environment, hide, monkeypatch):
    hide('cupy', 'mpi4py', 'cv2', 'matplotlib')

    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, 'version', version)
    rows = environment()
    assert rows['CuPy'].startswith('- ModuleNotFoundError')
    assert rows['GPU'].startswith('- none: CuPy is missing: pip install')
    assert rows['mpi4py'].startswith('- ') and rows['MPI'].startswith('- ')
    assert rows['extra plot'] == '- missing: matplotlib (pip install "chainer_ssd[plot]")'


def test_a_package_that_cannot_be_imported_is_named(environment, hide):
    pytest.importorskip('cv2')
    hide('cv2')
    assert '(cannot be imported: ModuleNotFoundError: ' in environment()['extra data']


def test_another_distribution_of_opencv_counts(environment, monkeypatch):
    versions = {'opencv-python': '4.1'}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, 'version', version)
    assert 'opencv-python-headless 4.1 (as opencv-python)' in environment()['extra data']


def test_a_package_that_is_not_installed_has_no_extras(environment, monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, 'requires', requires)
    assert environment()['extras'].startswith('- PackageNotFoundError')


class Runtime:
    """As much of CuPy's runtime as is read."""

    def __init__(self, n_gpu=2, cuda=12080, driver=13000):
        self.n_gpu, self.cuda, self.driver = n_gpu, cuda, driver

    def getDeviceCount(self):
        if self.n_gpu is None:
            raise RuntimeError('cudaErrorNoDevice: no CUDA-capable device is detected')
        return self.n_gpu

    def getDeviceProperties(self, i):
        return {'name': b'Some GPU', 'totalGlobalMem': 80 * 2**30}

    def runtimeGetVersion(self):
        return self.cuda

    def driverGetVersion(self):
        return self.driver


@pytest.fixture
def gpu_row(environment, monkeypatch):
    """A function that returns the row of a fake CuPy."""

    def describe(runtime, missing=(), total=6):
        cupy = types.ModuleType('cupy')
        cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=contextlib.nullcontext)
        cupy.arange = lambda n: types.SimpleNamespace(sum=lambda: total)
        monkeypatch.setitem(sys.modules, 'cupy', cupy)
        for name in CUPY_MODULES:
            module = None if name in missing else types.ModuleType(name)
            monkeypatch.setitem(sys.modules, f'cupy.cuda.{name}', module)
        return environment()['GPU']

    return describe


@pytest.mark.parametrize(
    ('runtime', 'expected'),
    [
        (
            Runtime(),
            '0: Some GPU of 80 GiB, 1: Some GPU of 80 GiB '
            '(CUDA 12.8, the driver supports 13.0, without cuDNN)',
        ),
        (Runtime(0), '- none (CUDA 12.8, the driver supports 13.0, without cuDNN)'),
        (Runtime(None), '- RuntimeError: cudaErrorNoDevice: no CUDA-capable device is detected'),
        (Runtime(driver=0), '- none can be used: the driver of NVIDIA is missing'),
        (
            Runtime(driver=11040),
            '- none can be used: this CuPy needs CUDA 12, the driver supports CUDA 11: '
            'update the driver',
        ),
        (
            Runtime(cuda=13000, driver=12080),
            '- none can be used: this CuPy needs CUDA 13, the driver supports CUDA 12: '
            'pip install "chainer_ssd[cuda12x]"',
        ),
    ],
)
def test_gpus(gpu_row, runtime, expected):
    assert gpu_row(runtime) == expected


def test_missing_libraries_of_cuda_are_named(gpu_row):
    assert gpu_row(Runtime(), missing=['cublas', 'curand']) == (
        '- none can be used: CuPy does not find cublas, curand of CUDA: '
        'pip install "chainer_ssd[cuda12x]"'
    )


def test_a_gpu_that_computes_wrongly_is_named(gpu_row):
    assert gpu_row(Runtime(), total=5) == '- RuntimeError: GPU 0 computes 0 + 1 + 2 + 3 wrongly'


def test_cudnn_is_named(gpu_row, monkeypatch):
    monkeypatch.setattr(cuda, 'cudnn_enabled', True)
    library = types.SimpleNamespace(getVersion=lambda: 8907)
    monkeypatch.setattr(cuda, 'libcudnn', library, raising=False)
    assert gpu_row(Runtime(1)).endswith('the driver supports 13.0, cuDNN 8907)')


def test_a_cupy_that_cannot_be_imported_is_not_a_missing_one(environment, monkeypatch, tmp_path):
    (tmp_path / 'cupy.py').write_text('import a_module_that_cupy_needs')
    monkeypatch.delitem(sys.modules, 'cupy', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert environment()['GPU'] == (
        "- ModuleNotFoundError: No module named 'a_module_that_cupy_needs'"
    )


def test_mpi_is_not_started():
    pytest.importorskip('mpi4py')
    code = (
        'from chainer_ssd.cli import main; main(["env"])\n'
        'from mpi4py import MPI; print("started", MPI.Is_initialized())'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=ENVIRONMENT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == 'started False'


@pytest.mark.mpi
def test_it_runs_under_mpiexec(mpiexec):
    assert mpiexec(2, *COMMAND, 'env').count('\nMPI ') == 2
