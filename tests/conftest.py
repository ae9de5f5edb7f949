"""Fixtures: one test body on many array modules, and jobs on many ranks."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

import chainer_ssd  # noqa: F401  (before Chainer, which it patches)

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / 'golden'
PYTHONPATH = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))

# A shell's background jobs ignore SIGINT, and so would the programs that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test fails because the machine is slow.
hypothesis.settings.register_profile('default', deadline=None)
hypothesis.settings.load_profile('default')


@pytest.fixture(autouse=True)
def seed():
    """Chainer's initial weights and random choices are the same in each run of a test."""
    np.random.seed(0)
    random.seed(0)


class _ReadOnlyNumPy:
    """NumPy whose ``asarray`` returns read-only arrays, to show that inputs stay unchanged."""

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
    """Array module. Create arrays with ``xp.asarray``, read them with ``to_numpy``."""
    if request.param == 'cupy':
        import cupy

        return cupy
    return np if request.param == 'numpy' else _ReadOnlyNumPy()


@pytest.fixture(scope='session')
def start_mpiexec():
    """``start_mpiexec(n, script, *args)`` starts a script on n ranks and returns the process.

    ``start_mpiexec(n, '-m', module, *args)`` starts a module.
    """
    beside = Path(sys.executable).with_name('mpiexec')
    command = str(beside) if beside.exists() else shutil.which('mpiexec')
    assert command, 'mpiexec is missing: pip install "chainer_ssd[mpi]"'
    started = []

    def start(n, script, *args, threads='1'):
        env = {
            **os.environ,
            'PYTHONPATH': PYTHONPATH,
            'OPENBLAS_NUM_THREADS': threads,
            'OMP_NUM_THREADS': threads,
        }
        started.append(
            subprocess.Popen(
                [
                    command,
                    '-n',
                    str(n),
                    sys.executable,
                    '-m',
                    'mpi4py',
                    str(script),
                    *map(str, args),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=env,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def mpiexec(start_mpiexec):
    """``mpiexec(n, script, *args)`` runs a script on n ranks and returns its output."""

    def run(n, script, *args, timeout=240, expect=0, threads='1'):
        process = start_mpiexec(n, script, *args, threads=threads)
        try:
            printed = process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        ended = 'fails' if process.returncode else 0
        assert ended == expect, f'{n} ranks: exit {process.returncode}\n{printed}'
        return printed

    return run
