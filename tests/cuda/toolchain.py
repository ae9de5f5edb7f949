"""Environments with CuPy and NVRTC, which compile the kernels without a GPU.

``make test-cuda`` creates them in ``build/cuda`` from the files in ``requirements/``. A CuPy in
the environment of the other tests would change what these tests do, so each CuPy has its own.
"""

import base64
import dataclasses
import hashlib
import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
#: Holds the environments and what was compiled. Nothing in it is kept by hand.
BUILD_FOLDER = HERE.parents[1] / 'build' / 'cuda'
WORKER = HERE / 'compile_with_cupy.py'


@dataclasses.dataclass(frozen=True)
class Job:
    """What CuPy is asked to compile.

    Attributes
    ----------
    source : str
        CUDA source.
    architecture : str
        Compute capability without a point, such as ``'90'``.
    names : tuple of str
        Template instances of the kernels, such as ``'box_losses<float>'``.
    options : tuple of str
        Options of the caller, as for ``cupy.RawModule``. CuPy adds its own.
    ptx : bool
        Whether the result is PTX. Otherwise it is machine code.
    cupy_headers : bool
        Whether CuPy's headers come first, as in its own kernels.
    """

    source: str
    architecture: str
    names: tuple = ()
    options: tuple = ()
    ptx: bool = False
    cupy_headers: bool = False


@dataclasses.dataclass(frozen=True)
class ElementwiseJob:
    """An elementwise kernel, for which CuPy writes the source.

    Attributes
    ----------
    definition : str
        JSON of the arguments of ``cupy.ElementwiseKernel`` by name, and of ``arguments``. These
        are dtype, number of dimensions and contiguity of each array, or null for a number.
    architecture : str
        Compute capability without a point.
    options : tuple of str
        Options of the caller.
    """

    definition: str
    architecture: str
    options: tuple = ()


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A result of :meth:`Toolchain.compile`. ``binary`` is empty where there is an ``error``."""

    binary: bytes = b''
    lowered_names: dict = dataclasses.field(default_factory=dict)
    options: tuple = ()
    log: str = ''
    error: str = ''


@dataclasses.dataclass(frozen=True)
class Toolchain:
    """An environment with a CuPy and an NVRTC, and the architectures that it compiles for."""

    name: str
    architectures: tuple

    @property
    def requirements(self):
        return HERE / 'requirements' / f'{self.name}.txt'

    @property
    def python(self):
        return BUILD_FOLDER / self.name / 'bin' / 'python'

    @property
    def reason_to_skip(self):
        """Why nothing can be compiled, or an empty string."""
        if (BUILD_FOLDER / self.name / 'ready').exists():
            return ''
        return f'no CuPy in build/cuda/{self.name}: make test-cuda installs it'

    def compile(self, jobs):
        """Return the results of all jobs, from the cache where the same was compiled before.

        The key of the cache holds the job, the pinned versions, and the program that compiles.
        """
        files = [BUILD_FOLDER / 'compiled' / f'{self._hash(job)}.json' for job in jobs]
        missing = [i for i, file in enumerate(files) if not file.exists()]
        if missing:
            done = self.run_worker([dataclasses.asdict(jobs[i]) for i in missing])
            for i, result in zip(missing, done['results']):
                files[i].parent.mkdir(parents=True, exist_ok=True)
                part = files[i].with_suffix(f'.{os.getpid()}')
                part.write_text(json.dumps(result), encoding='utf-8')
                part.replace(files[i])
        return [_read_result(file) for file in files]

    def run_worker(self, jobs):
        """Return what ``compile_with_cupy.py`` answers: its versions, and a result for each job."""
        done = subprocess.run(
            [self.python, '-I', WORKER],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            env={**os.environ, 'CUPY_CACHE_IN_MEMORY': '1'},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _hash(self, job):
        text = json.dumps(
            [
                self.name,
                self.requirements.read_text(encoding='utf-8'),
                WORKER.read_text(encoding='utf-8'),
                dataclasses.asdict(job),
            ]
        )
        return hashlib.sha256(text.encode('utf-8')).hexdigest()


def _read_result(file):
    result = json.loads(file.read_text(encoding='utf-8'))
    result['binary'] = base64.b64decode(result.get('binary', ''))
    return Compiled(**result)


TOOLCHAINS = (
    Toolchain('cuda12', ('70', '75', '80', '86', '89', '90', '100', '120')),
    Toolchain('cuda13', ('75', '80', '86', '89', '90', '100', '120')),
)
