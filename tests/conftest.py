"""One test body, many array modules; and many ranks."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainer_ssd  # noqa: F401  (before chainer: it mends Chainer where no start-up hook does)

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / 'golden'


class _ReadOnlyNumPy:
    """NumPy whose ``asarray`` hands out arrays that nobody may write to: it proves purity."""

    __name__ = 'read-only numpy'

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def asarray(*args, **kwargs):
        array = np.array(*args, **kwargs)
        array.flags.writeable = False
        return array


@pytest.fixture(params=['numpy', 'read-only numpy', pytest.param('cupy', marks=pytest.mark.gpu)])
def xp(request):
    """An array module; make arrays with ``xp.asarray``, read them with ``to_numpy``."""
    if request.param == 'cupy':
        import cupy
        return cupy
    return np if request.param == 'numpy' else _ReadOnlyNumPy()


@pytest.fixture
def mpiexec():
    """``mpiexec(n, script, *args)``: runs a script on n ranks and returns what it printed."""
    beside = Path(sys.executable).with_name('mpiexec')
    command = str(beside) if beside.exists() else shutil.which('mpiexec')
    assert command, 'mpiexec is missing: pip install "chainer_ssd[mpi]"'

    def run(n, script, *args, timeout=240):
        env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OPENBLAS_NUM_THREADS': '1',
               'OMP_NUM_THREADS': '1'}
        done = subprocess.run(
            [command, '-n', str(n), sys.executable, '-m', 'mpi4py', str(script), *map(str, args)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, timeout=timeout)
        assert done.returncode == 0, f'{n} ranks: exit {done.returncode}\n{done.stdout}'
        return done.stdout

    return run
