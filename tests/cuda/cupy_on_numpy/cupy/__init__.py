"""A stand-in for CuPy on NumPy, which runs the GPU half of a program without a GPU.

It is strict where CuPy is: arrays of NumPy are never mixed with it, nothing is converted in
silence, an array is used on its own device only, reductions return arrays, and kernels check the
dtypes of their arguments. Elementwise and reduction kernels are compiled by g++. The kernels of
this package run in the emulator of the tests. It counts the steps at which the host would wait.

It proves nothing about CuPy's own code, the driver, streams or time.
"""

import functools
import importlib
import types

import numpy as _np

from cupy import _log, cuda, linalg, random
from cupy._array import check_device, module_function, ndarray, unwrap, wrap
from cupy._kernels import ElementwiseKernel, ReductionKernel
from cupy._raw import RawKernel, RawModule

__version__ = '14.2.0'
__all__ = ['ElementwiseKernel', 'RawKernel', 'RawModule', 'ReductionKernel', 'ndarray', 'random']
__all__ += ['cuda', 'linalg']


class ufunc:
    """The type of CuPy's universal functions."""


def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)
    if isinstance(getattr(_np, name, None), types.ModuleType):
        return importlib.import_module(f'cupy.{name}')
    _log.names['functions'].add(name)
    return module_function(name)


def array(obj, dtype=None, copy=True, order='K', subok=False, ndmin=0, *, blocking=False):
    if isinstance(obj, ndarray):
        other_device = obj.device_id != cuda.get_device_id()
        source = obj.numpy if other_device else unwrap(obj)
        if not copy and not other_device and (dtype is None or dtype == obj.dtype):
            return obj
        return wrap(_np.array(source, dtype, order=order, ndmin=ndmin))
    new = _np.array(unwrap(obj), dtype, order=order, ndmin=ndmin)
    if new.dtype.kind not in 'fiubc':
        raise ValueError(f'Unsupported dtype {new.dtype}')
    return wrap(new)


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    if isinstance(a, ndarray) and a.device_id == cuda.get_device_id():
        new = _np.asarray(a.numpy, dtype, order=order)
        return a if new is a.numpy else wrap(new)
    return array(a, dtype, order=order or 'K')


def asanyarray(a, dtype=None, order=None, **kwargs):
    return asarray(a, dtype, order)


def ascontiguousarray(a, dtype=None):
    if not isinstance(a, ndarray):
        return array(a, dtype, order='C')
    check_device(a)
    new = _np.ascontiguousarray(a.numpy, dtype).reshape(a.shape)
    return a if new is a.numpy else wrap(new)


def asfortranarray(a, dtype=None):
    return wrap(_np.asfortranarray(unwrap(a), dtype))


def asnumpy(a, stream=None, order='C', out=None, *, blocking=True):
    return a.get(out=out) if isinstance(a, ndarray) else _np.asarray(a)


def empty(shape, dtype=float, order='C'):
    return ndarray(shape, dtype, order=order)


def empty_like(prototype, dtype=None, order='K', subok=None, shape=None):
    shape = prototype.shape if shape is None else shape
    return ndarray(shape, prototype.dtype if dtype is None else dtype)


def copyto(dst, src, casting='same_kind', where=None):
    if isinstance(src, _np.ndarray):
        raise TypeError('copyto: Unsupported type numpy.ndarray')
    options = {} if where is None else {'where': unwrap(where)}
    _np.copyto(unwrap(dst), unwrap(src), casting=casting, **options)


def get_array_module(*args):
    return importlib.import_module('cupy' if any(isinstance(x, ndarray) for x in args) else 'numpy')


def memoize(for_each_device=False):
    def decorate(function):
        results = {}

        @functools.wraps(function)
        def run(*args, **kwargs):
            device = cuda.get_device_id() if for_each_device else None
            key = device, args, frozenset(kwargs.items())
            if key not in results:
                results[key] = function(*args, **kwargs)
            return results[key]

        return run

    return decorate


def clear_memo():
    pass


def fuse(*args, **kwargs):
    return args[0] if args and callable(args[0]) else lambda function: function


def get_default_memory_pool():
    return cuda.MemoryPool()


def get_default_pinned_memory_pool():
    return cuda.MemoryPool()


def is_available():
    return True
