"""Elementwise and reduction kernels, compiled by g++."""

import ctypes
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from cupy import _array

C_TYPES = {
    'b': 'signed char', 'B': 'unsigned char', 'h': 'short', 'H': 'unsigned short', 'i': 'int',
    'I': 'unsigned int', 'l': 'long', 'L': 'unsigned long', 'q': 'long long',
    'Q': 'unsigned long long', 'e': 'float16', 'f': 'float', 'd': 'double', '?': 'bool',
}  # fmt: skip
DTYPES = {
    name: np.dtype(name)
    for name in 'int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64'.split()
}
DTYPES['bool'] = DTYPES['bool_'] = np.dtype(bool)
HEADER = Path(__file__).with_name('kernels.h')
#: Keeps what was compiled from one process to the next.
CACHE = Path(os.environ.get('CUPY_ON_NUMPY_CACHE') or tempfile.gettempdir(), 'cupy_on_numpy')


def build(code):
    """Return the library of a C++ source."""
    CACHE.mkdir(parents=True, exist_ok=True)
    source = HEADER.read_text(encoding='utf-8') + code
    library = CACHE / f'{hashlib.sha256(source.encode()).hexdigest()}.so'
    if not library.exists():
        part = library.with_suffix(f'.{os.getpid()}')
        command = ['g++', '-std=c++17', '-O1', '-shared', '-fPIC', '-ffp-contract=off', '-w']
        done = subprocess.run(
            [*command, '-x', 'c++', '-', '-o', part], input=source, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f'a kernel does not compile: {done.stderr[:2000]}\n{code}')
        part.replace(library)
    return ctypes.CDLL(str(library))


class Parameter:
    """A parameter such as ``'raw T x'``."""

    def __init__(self, text):
        words = text.split()
        self.is_raw = 'raw' in words
        self.type, self.name = (w for w in words if w not in ('raw', 'const', '_non_const'))

    def dtype(self, types):
        return DTYPES[self.type] if self.type in DTYPES else types[self.type]


def _parameters(text):
    return [Parameter(part) for part in text.split(',') if part.strip()]


def resolve_types(parameters, args):
    """Return the dtype of each type letter. Raise as CuPy does where an argument does not fit."""
    types = {}
    for parameter, arg in zip(parameters, args):
        if isinstance(arg, np.ndarray):
            raise TypeError(f'Unsupported type {type(arg)}')
        if not isinstance(arg, _array.ndarray):
            continue
        expected = DTYPES.get(parameter.type) or types.setdefault(parameter.type, arg.dtype)
        if expected != arg.dtype:
            raise TypeError(
                f'Type is mismatched. {parameter.name} {arg.dtype} {expected} {parameter.type}'
            )
    for parameter in parameters[: len(args)]:
        if parameter.type not in DTYPES and parameter.type not in types:
            raise TypeError(f'no array gives the type {parameter.type} of {parameter.name}')
    return types


class Arguments:
    """The arguments of a call as C++ receives them."""

    def __init__(self, types):
        self.types = types
        self.values, self.declarations, self.before, self.in_loop = [], [], [], []
        self._kept, self._results = [], []

    def add(self, parameter, arg, buffer_of, index, is_output=False):
        """Add an array or a number. ``buffer_of`` returns the memory of an array."""
        k, c_type = len(self.declarations), C_TYPES[parameter.dtype(self.types).char]
        if not isinstance(arg, _array.ndarray):
            value = np.asarray(arg, parameter.dtype(self.types)).reshape(1)
            self._kept.append(value)
            self.declarations.append(f'{c_type}* p{k}')
            self.values.append(ctypes.c_void_p(value.ctypes.data))
            self.before.append(f'const {c_type} {parameter.name} = *p{k};')
            return
        buffer = np.ascontiguousarray(arg.numpy if parameter.is_raw else buffer_of(arg.numpy))
        if not np.shares_memory(buffer, arg.numpy) and (is_output or parameter.is_raw):
            self._results.append((arg.numpy, buffer))
        shape = (ctypes.c_long * max(1, buffer.ndim))(*buffer.shape)
        self._kept += [buffer, shape]
        self.declarations.append(f'{c_type}* p{k}, const long* s{k}, int d{k}, long n{k}')
        self.values += [ctypes.c_void_p(buffer.ctypes.data), shape, buffer.ndim]
        self.values.append(ctypes.c_long(buffer.size))
        if parameter.is_raw:
            self.before.append(f'CArray<{c_type}> {parameter.name}{{p{k}, s{k}, d{k}, n{k}}};')
        else:
            kind = f'{c_type}&' if is_output else f'const {c_type}'
            self.in_loop.append(f'{kind} {parameter.name} = p{k}[{index}];')

    def run(self, preamble, parameters, body, values):
        """Compile and run a function with these arguments, and copy results back."""
        typedefs = ' '.join(f'typedef {C_TYPES[v.char]} {k};' for k, v in self.types.items())
        all_parameters = ', '.join([*parameters, *self.declarations])
        code = f'{typedefs}\n{preamble}\nextern "C" void f({all_parameters}) {{{body}}}'
        build(code).f(*values, *self.values)
        for array, buffer in self._results:
            array[...] = buffer.reshape(array.shape)


class ElementwiseKernel:
    """Runs a C++ statement for each element. It has CuPy's arguments."""

    def __init__(
        self,
        in_params,
        out_params,
        operation,
        name='kernel',
        reduce_dims=True,
        preamble='',
        no_return=False,
        return_tuple=False,
        loop_prep='',
        after_loop='',
        options=(),
        **kwargs,
    ):
        self.in_params, self.out_params = _parameters(in_params), _parameters(out_params)
        self.operation, self.name, self.preamble = operation, name, preamble
        self.no_return, self.return_tuple = no_return, return_tuple
        self.loop_prep, self.after_loop = loop_prep, after_loop

    def __call__(self, *args, size=None, block_size=None, stream=None):
        _array.check_device(*args)
        n_in, n_out = len(self.in_params), len(self.out_params)
        if len(args) not in (n_in, n_in + n_out):
            raise TypeError(f'{self.name}: {len(args)} arguments, not {n_in} or {n_in + n_out}')
        parameters = [*self.in_params, *self.out_params]
        types = resolve_types(parameters, args)
        shape = self._loop_shape(parameters, args, size)
        outs = [*args[n_in:]] or [
            _array.ndarray(shape, each.dtype(types)) for each in self.out_params
        ]
        arguments = Arguments(types)
        for i, (parameter, arg) in enumerate(zip(parameters, (*args[:n_in], *outs))):
            arguments.add(parameter, arg, lambda a: np.broadcast_to(a, shape), 'i', i >= n_in)
        n = int(np.prod(shape))
        sizes = (ctypes.c_long * max(1, len(shape)))(*shape)
        body = f"""
            Indexer _ind{{shape_, ndim_, loop_size_}};
            {' '.join(arguments.before)} {self.loop_prep};
            for (long i = 0; i < loop_size_; i++) {{
                _ind.set(i);
                {' '.join(arguments.in_loop)}
                {self.operation};
            }}
            {self.after_loop};"""
        arguments.run(
            self.preamble,
            ['long loop_size_', 'const long* shape_', 'int ndim_'],
            body,
            [ctypes.c_long(n), sizes, len(shape)],
        )
        if self.no_return:
            return None
        return tuple(outs) if self.return_tuple or n_out > 1 else outs[0]

    @staticmethod
    def _loop_shape(parameters, args, size):
        pairs = [
            (parameter, arg)
            for parameter, arg in zip(parameters, args)
            if isinstance(arg, _array.ndarray) and not parameter.is_raw
        ]
        if size is not None:
            if pairs:
                raise ValueError('"size" can be used only if all arrays are raw')
            return (size,)
        if not pairs:
            raise ValueError('Loop size is undecided.')
        return np.broadcast_shapes(*(arg.shape for _, arg in pairs))


class ReductionKernel:
    """Reduces axes with C++ expressions. It has CuPy's arguments."""

    def __init__(
        self,
        in_params,
        out_params,
        map_expr,
        reduce_expr,
        post_map_expr,
        identity,
        name='reduce_kernel',
        reduce_type=None,
        reduce_dims=True,
        preamble='',
        options=(),
    ):
        self.in_params, (self.out_param,) = _parameters(in_params), _parameters(out_params)
        self.expressions = map_expr, reduce_expr, post_map_expr
        self.identity, self.name = identity, name
        self.reduce_type, self.preamble = reduce_type, preamble

    def __call__(self, *args, axis=None, keepdims=False, out=None, stream=None):
        _array.check_device(*args)
        n_in = len(self.in_params)
        given = [*args[n_in:]] + ([] if out is None else [out])
        types = resolve_types([*self.in_params, self.out_param], [*args[:n_in], *given])
        shape = np.broadcast_shapes(
            *(
                arg.shape
                for parameter, arg in zip(self.in_params, args)
                if isinstance(arg, _array.ndarray) and not parameter.is_raw
            )
        )
        axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        axes = tuple(a % len(shape) for a in axes)
        kept = tuple(a for a in range(len(shape)) if a not in axes)
        dtype = self.out_param.dtype(types)
        result = np.empty([shape[a] for a in kept], dtype)
        if given:  # the last expression may read it
            result[...] = given[0].numpy.reshape(result.shape)
        arguments = Arguments(types)
        for parameter, arg in zip(self.in_params, args[:n_in]):
            arguments.add(
                parameter, arg, lambda a: np.broadcast_to(a, shape).transpose(axes + kept), '_j'
            )
        n_out, n_reduced = result.size, int(np.prod([shape[a] for a in axes]))
        arguments.run(
            self.preamble,
            ['long n_out_', 'long n_reduced_', f'{C_TYPES[dtype.char]}* out_'],
            self._body(arguments, C_TYPES[dtype.char]),
            [ctypes.c_long(n_out), ctypes.c_long(n_reduced), ctypes.c_void_p(result.ctypes.data)],
        )
        if keepdims:
            result = result.reshape([1 if a in axes else n for a, n in enumerate(shape)])
        if not given:
            return _array.wrap(result)
        given[0].numpy[...] = result.reshape(given[0].shape)
        return given[0]

    def _body(self, arguments, c_type):
        map_expr, reduce_expr, post_map_expr = self.expressions
        sum_type = self.reduce_type or c_type
        sum_type = 'float' if sum_type == 'float16' else sum_type
        begins_with_first = 'k_ == 0' if self.identity is None else 'false'
        return f"""
            typedef {sum_type} type_reduce;
            {' '.join(arguments.before)}
            for (long i_ = 0; i_ < n_out_; i_++) {{
                type_reduce s_ = ({sum_type})({self.identity or 0});
                for (long k_ = 0; k_ < n_reduced_; k_++) {{
                    long _j = k_ * n_out_ + i_;
                    {' '.join(arguments.in_loop)}
                    type_reduce a = s_, b = (type_reduce)({map_expr});
                    s_ = {begins_with_first} ? b : (type_reduce)({reduce_expr});
                }}
                type_reduce a = s_;
                {c_type}& {self.out_param.name} = out_[i_];
                {post_map_expr};
            }}"""
