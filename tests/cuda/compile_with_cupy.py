"""Compiles CUDA sources with CuPy's own functions, in an environment that has CuPy.

No device and no driver are needed. Two parts of CuPy are replaced: the compute capability of the
device, which the job names, and the loading of the binary into the driver. All else is CuPy's:
the options, the include folders, the NVRTC library that it finds, and its binding to NVRTC.

The program reads a JSON list of jobs from the standard input and writes a list of results to the
standard output. See :class:`tests.cuda.toolchain.Job`. It imports nothing of this project.
"""

import base64
import contextlib
import ctypes
import io
import json
import sys
import warnings
from pathlib import Path


def load_nvrtc_of_wheel():
    """Load the NVRTC of the wheel, which CuPy 13 finds on the library path only."""
    for folder in map(Path, sys.path):
        for library in folder.glob('nvidia/cuda_nvrtc/lib/libnvrtc.so.*'):
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
            return


load_nvrtc_of_wheel()
with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # CuPy warns that it finds no driver
    import cupy
    from cupy._core import core
    from cupy.cuda import compiler, function
    from cupy_backends.cuda.libs import nvrtc


class Module(function.Module):
    """A CuPy module that keeps the binary instead of loading it into the driver."""

    def load(self, binary):
        self.binary = binary


class Program(compiler._NVRTCProgram):
    """CuPy's program, whose options and log are kept. The last one is what was asked for."""

    def compile(self, options=(), log_stream=None):
        log = io.StringIO()
        result = super().compile(options, log)
        Program.last = {'options': list(options), 'log': log.getvalue().strip(' \0\n')}
        return result


class DriverFunctions:
    Module = Module
    LinkState = function.LinkState


compiler.function = DriverFunctions
compiler._NVRTCProgram = Program
# CuPy remembers the answer for each device and asks the driver for the current one.
compiler._get_arch_for_options_for_nvrtc = compiler._get_arch_for_options_for_nvrtc.__wrapped__


def compile_source(job):
    """Return the binary of a job, the names of its kernels, the options and the log."""
    compiler._get_arch = lambda: job['architecture']
    compiler._use_ptx = job['ptx']
    module = core.compile_with_cache(
        job['source'],
        tuple(job['options']),
        prepend_cupy_headers=job['cupy_headers'],
        name_expressions=job['names'] or None,
    )
    return {
        **Program.last,
        'binary': base64.b64encode(module.binary).decode('ascii'),
        'lowered_names': dict(module.mapping) if job['names'] else {},
    }


def answer(job):
    try:
        return compile_source(job)
    except compiler.CompileException as error:
        return {'error': str(error), 'options': list(error.options)}


def main():
    jobs = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        results = [answer(job) for job in jobs]
    versions = {'cupy': cupy.__version__, 'nvrtc': '.'.join(map(str, nvrtc.getVersion()))}
    json.dump({'versions': versions, 'results': results}, sys.stdout)


if __name__ == '__main__':
    main()
