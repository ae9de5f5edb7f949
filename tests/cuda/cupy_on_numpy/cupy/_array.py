"""Arrays that NumPy holds and that accept what CuPy's arrays accept."""

import numpy as np

from cupy import _log

#: The device that is current.
current = [0]
#: Functions whose result is no array.
NO_ARRAYS = {'result_type', 'promote_types', 'can_cast', 'ndim', 'shape', 'size', 'issubdtype'}
#: Functions and methods whose result has a size that depends on values.
WAITING = {'flatnonzero', 'nonzero', 'argwhere', 'unique', 'array_equal', 'allclose', 'extract'}
GARBAGE = 0xA5


class ndarray:
    """An array on an imagined device.

    It refuses arrays of NumPy and of another device, and it is never converted to NumPy in
    silence. New memory holds garbage.
    """

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order='C'):
        if memptr is None:
            array = np.empty(shape, dtype, order=order)
            if array.size:
                array.ravel('K').view('u1')[...] = GARBAGE
        else:
            memory = np.frombuffer(memptr.array.ravel('K').view('u1'), 'u1')[memptr.offset :]
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            array = memory[:size].view(dtype).reshape(shape)
            if strides is not None:
                array = np.lib.stride_tricks.as_strided(array, shape, strides)
        self.numpy, self.device_id = array, current[0]

    @classmethod
    def of(cls, array, device_id=None):
        """Return an array of the stand-in that has the memory of an array of NumPy."""
        new = object.__new__(cls)
        new.numpy = array
        new.device_id = current[0] if device_id is None else device_id
        return new

    dtype = property(lambda self: self.numpy.dtype)
    ndim = property(lambda self: self.numpy.ndim)
    size = property(lambda self: self.numpy.size)
    itemsize = property(lambda self: self.numpy.itemsize)
    nbytes = property(lambda self: self.numpy.nbytes)
    strides = property(lambda self: self.numpy.strides)
    flags = property(lambda self: Flags(self.numpy.flags))
    T = property(lambda self: wrap(self.numpy.T, self.device_id))
    mT = property(lambda self: wrap(self.numpy.mT, self.device_id))
    base = property(lambda self: self)

    @property
    def shape(self):
        return self.numpy.shape

    @shape.setter
    def shape(self, shape):
        self.numpy.shape = shape

    @property
    def device(self):
        from cupy import cuda

        return cuda.Device(self.device_id)

    @property
    def data(self):
        from cupy import cuda

        return cuda.MemoryPointer(self)

    def __len__(self):
        return len(self.numpy)

    def __repr__(self):
        return repr(self.numpy)

    def __array__(self, *args, **kwargs):
        raise TypeError('Implicit conversion to a NumPy array is not allowed. Use .get()')

    # The host waits in these methods.

    def get(self, stream=None, order='C', out=None, blocking=True):
        _log.wait('get')
        if out is None:
            return self.numpy.copy()
        out[...] = self.numpy
        return out

    def item(self, *args):
        _log.wait('item')
        return self.numpy.item(*args)

    def tolist(self):
        _log.wait('tolist')
        return self.numpy.tolist()

    def __bool__(self):
        _log.wait('bool')
        return bool(self.numpy)

    def __int__(self):
        _log.wait('int')
        return int(self.numpy)

    def __float__(self):
        _log.wait('float')
        return float(self.numpy)

    def __index__(self):
        _log.wait('index')
        return self.numpy.__index__()

    def __format__(self, spec):
        _log.wait('format')
        return format(self.numpy, spec)

    def __contains__(self, value):
        _log.wait('contains')
        return value in self.numpy

    def __reduce__(self):
        _log.wait('pickle')
        return wrap, (self.numpy.copy(),)

    def set(self, array, stream=None):
        self.numpy[...] = array

    def __copy__(self):
        return wrap(self.numpy.copy(), self.device_id)

    def __deepcopy__(self, memo):
        return wrap(self.numpy.copy(), self.device_id)

    # Calls of NumPy with these arrays come here.

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method not in ('__call__', 'at', 'reduce', 'outer'):
            return NotImplemented
        _log.names['functions'].add(ufunc.__name__)
        return call(getattr(ufunc, method), inputs, kwargs, ufunc.__name__)

    def __array_function__(self, function, types, args, kwargs):
        import cupy

        if np.ndarray in types:
            return NotImplemented
        return getattr(cupy, function.__name__)(*args, **kwargs)

    def __getitem__(self, key):
        check_device(self)
        key = _key(key)
        found = self.numpy[key]
        if not isinstance(found, np.ndarray):  # a view of no dimension, as CuPy returns it
            found = self.numpy[(*key, ...) if isinstance(key, tuple) else (key, ...)]
        return wrap(found, self.device_id)

    def __setitem__(self, key, value):
        check_device(self)
        if isinstance(value, np.ndarray) and value.size != 1:
            whole = key is Ellipsis or isinstance(key, slice)
            if not whole:
                raise ValueError('non-scalar numpy.ndarray cannot be used for fill')
        self.numpy[_key(key)] = unwrap(value)

    def __iter__(self):
        if not self.ndim:
            raise TypeError('iteration over a 0-d array')
        return (self[i] for i in range(len(self)))

    def view(self, dtype=None, array_class=None):
        return wrap(self.numpy.view() if dtype is None else self.numpy.view(dtype), self.device_id)

    def astype(self, dtype, order='K', casting=None, subok=None, copy=True):
        with np.errstate(all='ignore'):
            new = self.numpy.astype(dtype, order=order, copy=copy)
        return self if new is self.numpy else wrap(new, self.device_id)

    def fill(self, value):
        self.numpy.fill(unwrap(value))

    def reduced_view(self, dtype=None):
        return self

    def scatter_add(self, key, value):
        np.add.at(self.numpy, _key(key), unwrap(value))

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        method = getattr(self.numpy, name)
        _log.names['methods'].add(name)

        def run(*args, **kwargs):
            if name in WAITING:
                _log.wait(name)
            return call(method, (*args,), _sort_options(name, kwargs), name, self)

        return run


def _operator(name):
    def run(self, *others):
        check_device(self)
        return call(getattr(self.numpy, name), others, {}, name, self)

    return run


for _name in (
    'add sub mul truediv floordiv mod pow matmul and or xor lshift rshift radd rsub rmul rtruediv '
    'rfloordiv rmod rpow rmatmul rand ror rxor lt le eq ne gt ge neg pos abs invert divmod'
).split():
    setattr(ndarray, f'__{_name}__', _operator(f'__{_name}__'))


def _in_place(name):
    def run(self, other):
        check_device(self)
        call(getattr(self.numpy, name), (other,), {}, name, self)
        return self

    return run


for _name in 'iadd isub imul itruediv ifloordiv imod ipow iand ior ixor'.split():
    setattr(ndarray, f'__{_name}__', _in_place(f'__{_name}__'))


class Flags:
    """Memory order of an array."""

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous
        self.owndata, self.forc = flags.owndata, flags.forc
        self.fnc = self.f_contiguous and not self.c_contiguous

    def __getitem__(self, name):
        return getattr(self, name.lower())


def wrap(value, device_id=None):
    """Return results of NumPy as arrays of the stand-in."""
    if isinstance(value, np.ndarray):
        return ndarray.of(value, device_id)
    if isinstance(value, np.generic):
        return ndarray.of(np.asarray(value), device_id)
    if isinstance(value, (tuple, list)):
        return type(value)(wrap(each, device_id) for each in value)
    return value


def unwrap(value):
    """Return arrays of the stand-in as those of NumPy."""
    if isinstance(value, ndarray):
        check_device(value)
        return value.numpy
    if type(value) in (tuple, list):
        return type(value)(unwrap(each) for each in value)
    return value


def check_device(*values):
    """Raise if an array lies on a device that is not current."""
    for value in values:
        if isinstance(value, ndarray) and value.device_id != current[0]:
            raise AssertionError(
                f'array of device {value.device_id} is used while device {current[0]} is current'
            )


def refuse_numpy(values, name):
    """Raise ``TypeError``, as CuPy does, if an array of NumPy is among the values."""
    for value in values:
        if isinstance(value, np.ndarray):
            raise TypeError(f'{name}: Unsupported type {type(value)}')
        if isinstance(value, (tuple, list)):
            refuse_numpy([each for each in value if isinstance(each, np.ndarray)], name)


def call(function, args, kwargs, name, owner=None):
    """Call a function or method of NumPy with arrays of the stand-in."""
    refuse_numpy(args, name)
    refuse_numpy(kwargs.values(), name)
    check_device(owner)
    out = kwargs.get('out')
    with np.errstate(all='ignore'):
        result = function(*map(unwrap, args), **{key: unwrap(kwargs[key]) for key in kwargs})
    if out is not None:
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    if result is NotImplemented or name in NO_ARRAYS:
        return result
    return wrap(result)


def module_function(name):
    """Return the function of NumPy of this name, for arrays of the stand-in."""
    function = getattr(np, name)
    if isinstance(function, type) or not callable(function):
        return function

    def run(*args, **kwargs):
        if name in WAITING:
            _log.wait(name)
        kwargs.pop('blocking', None)
        if isinstance(function, np.ufunc) and not any(isinstance(each, ndarray) for each in args):
            refuse_numpy([np.empty(0) for each in args if isinstance(each, (list, tuple))], name)
        if name in ('split', 'array_split') and isinstance(args[1], np.ndarray):
            args = (args[0], args[1].tolist(), *args[2:])
        return call(function, args, _sort_options(name, kwargs), name)

    run.__name__ = name
    return run


def _sort_options(name, kwargs):
    """CuPy sorts stably only, and names no other way."""
    if name not in ('sort', 'argsort'):
        return kwargs
    if kwargs.get('kind') not in (None, 'stable'):
        raise ValueError("kind can only be None or 'stable'")
    return {**kwargs, 'kind': 'stable'}


def _key(key):
    if isinstance(key, tuple):
        return tuple(map(_key, key))
    if isinstance(key, ndarray):
        if key.dtype == bool:
            _log.wait('boolean index')
        elif key.dtype.kind not in 'iu':
            raise IndexError(f'unsupported index dtype {key.dtype}')
        check_device(key)
        return key.numpy
    return key
