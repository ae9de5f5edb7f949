"""CuPy 13 gets the CUDA libraries of NVIDIA's wheels, and CuPy 14 is left alone."""

import _ctypes  # a shared library
import shutil
import sys
from pathlib import Path

import pytest

from chainer_ssd._compat import cuda_libraries


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty folder of packages, the only one that Python searches."""
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    return tmp_path


@pytest.fixture
def loaded(monkeypatch):
    """The paths that were given to the dynamic linker."""
    paths = []
    monkeypatch.setattr(cuda_libraries.ctypes, 'CDLL', paths.append)
    return paths


def install(site, wheel, version):
    folder = site / f'{wheel.replace("-", "_")}-{version}.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {wheel}\nVersion: {version}\n')


def add_libraries(site, *names):
    paths = [site / 'nvidia' / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    return [str(path) for path in paths]


def test_cupy_13_gets_the_libraries_of_its_cuda(site, loaded):
    install(site, 'cupy-cuda12x', '13.6.0')
    paths = add_libraries(site, *cuda_libraries.LIBRARIES['cupy-cuda12x'])
    add_libraries(site, *cuda_libraries.LIBRARIES['cupy-cuda13x'])  # as PyTorch may install them
    assert cuda_libraries.load_cuda_libraries() == paths == loaded
    assert len(paths) == 7


def test_cuda_13(site, loaded):
    install(site, 'cupy-cuda13x', '13.6.0')
    paths = add_libraries(site, *cuda_libraries.LIBRARIES['cupy-cuda13x'])
    assert cuda_libraries.load_cuda_libraries() == paths == loaded


@pytest.mark.parametrize('version', [None, '14.2.0', '12.3.0'])
def test_no_other_cupy_does(site, loaded, version):
    add_libraries(site, *cuda_libraries.LIBRARIES['cupy-cuda12x'])
    if version:
        install(site, 'cupy-cuda12x', version)
    assert cuda_libraries.load_cuda_libraries() == loaded == []


def test_what_is_missing_or_damaged_is_left_out(site):
    install(site, 'cupy-cuda12x', '13.6.0')
    damaged, whole = add_libraries(site, 'cublas/lib/libcublas.so.12', 'cudnn/lib/libcudnn.so.8')
    Path(damaged).write_bytes(b'no library')
    shutil.copy(_ctypes.__file__, whole)
    assert cuda_libraries.load_cuda_libraries() == [whole]
