"""Compiles CUDA sources with CuPy's own functions, in an environment that has CuPy.

No device and no driver are needed. Two parts of CuPy are replaced: the compute capability of the
device, which the job names, and the loading of the binary into the driver. All else is CuPy's:
the options, the include folders, the NVRTC library that it finds, and its binding to NVRTC.

The program reads a JSON list of jobs from the standard input and writes a list of results to the
standard output. A job is CUDA source (:class:`tests.cuda.toolchain.Job`) or an elementwise kernel
(:class:`tests.cuda.toolchain.ElementwiseJob`).
"""

import base64
import contextlib
import io
import json
import sys
import warnings
from pathlib import Path

# CuPy 13 finds the NVRTC of the wheel by our module, which needs neither Chainer nor this package.
sys.path.append(str(Path(__file__).parents[2] / 'chainer_ssd' / '_compat'))
import cuda_libraries  # noqa: E402

cuda_libraries.load_cuda_libraries()
with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # CuPy warns that it finds no driver
    import cupy
    import numpy as np
    from cupy._core import _carray, _kernel, _scalar, core
    from cupy.cuda import compiler, function
    from cupy_backends.cuda.libs import nvrtc


# Kinds of arguments in CuPy's _kernel.pyx.
NDARRAY, INDEXER, SCALAR = 1, 2, 3


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


def write_elementwise_kernel(definition):
    """Return the source that CuPy makes of an ``ElementwiseKernel`` for some arguments."""
    inputs = _kernel._get_param_info(definition['in_params'], True)
    parameters = inputs + _kernel._get_param_info(definition['out_params'], False)
    arguments, types = definition['arguments'], {}
    for parameter, argument in zip(parameters, arguments):
        if argument and parameter.ctype and parameter.dtype is None:
            types[parameter.ctype] = np.dtype(argument[0])
    n_dim = max(
        [1]
        + [each[1] for parameter, each in zip(parameters, arguments) if each and not parameter.raw]
    )
    infos = []
    for parameter, argument in zip(parameters, arguments):
        dtype = types[parameter.ctype] if parameter.dtype is None else np.dtype(parameter.dtype)
        if argument:
            own_n_dim = argument[1] if parameter.raw else n_dim
            infos.append(
                _kernel._ArgInfo(NDARRAY, cupy.ndarray, dtype, own_n_dim, argument[2], True)
            )
        else:
            infos.append(_kernel._ArgInfo(SCALAR, _scalar.CScalar, dtype, 0, True, True))
    infos.append(_kernel._ArgInfo(INDEXER, _carray.Indexer, None, n_dim, True, True))
    # CuPy 13 takes scalar types here, CuPy 14 dtypes.
    takes_dtypes = int(cupy.__version__.split('.')[0]) >= 14
    pairs = tuple(
        sorted((name, dtype if takes_dtypes else dtype.type) for name, dtype in types.items())
    )
    return _kernel._get_elementwise_kernel_code(
        tuple(infos),
        _kernel._TypeMap(pairs),
        parameters + _kernel._get_param_info('CIndexer _ind', False),
        definition['operation'],
        definition['name'],
        definition.get('preamble', ''),
        definition.get('loop_prep', ''),
        definition.get('after_loop', ''),
    )


def answer(job):
    if 'definition' in job:
        job = {**job, 'source': write_elementwise_kernel(json.loads(job['definition']))}
        job.update({'names': [], 'ptx': False, 'cupy_headers': True})
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
