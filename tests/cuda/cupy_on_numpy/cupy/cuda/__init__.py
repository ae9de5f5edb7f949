"""Two imagined devices, their streams and memory. Work is done at once."""

import ctypes
import sys
import time
import types

import numpy as np

from cupy import _array, _log

N_DEVICE = 2
#: Shared memory that a block can request, as on an H100.
MAX_SHARED_BYTES = 227 << 10


class CUDARuntimeError(RuntimeError):
    """CuPy's error of the runtime."""


class Device:
    """A device, also as a context."""

    compute_capability = '90'
    mem_info = 1 << 36, 1 << 36

    def __init__(self, device=None):
        self.id = _array.current[0] if device is None else int(device)
        if not 0 <= self.id < N_DEVICE:
            raise CUDARuntimeError(f'cudaErrorInvalidDevice: {self.id}')
        self._previous = []

    def use(self):
        _array.current[0] = self.id

    def __enter__(self):
        self._previous.append(_array.current[0])
        self.use()
        return self

    def __exit__(self, *args):
        _array.current[0] = self._previous.pop()

    def synchronize(self):
        _log.wait('device synchronize')

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self):
        return self.id

    def __repr__(self):
        return f'<CUDA Device {self.id}>'


class Stream:
    """A stream without a queue."""

    null = None

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.ptr, self.device_id = 0, _array.current[0]

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def use(self):
        return self

    def synchronize(self):
        _log.wait('stream synchronize')

    def record(self, event=None):
        event = event or Event()
        event.record()
        return event

    def wait_event(self, event):
        pass

    done = True


Stream.null = Stream(True)


def get_current_stream(device_id=-1):
    return Stream.null


class Event:
    """A moment. It has always come already."""

    done = True

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.seconds = None

    def record(self, stream=None):
        self.seconds = time.perf_counter()

    def synchronize(self):
        _log.wait('event synchronize')


def get_elapsed_time(start, end):
    return (end.seconds - start.seconds) * 1000


class MemoryPointer:
    """A place in the memory of an array."""

    def __init__(self, array, offset=0):
        if isinstance(array, MemoryPointer):  # an attribute `mem`
            array = array.holder
        self.holder, self.array, self.offset = array, array.numpy, offset
        self.mem, self.device_id = self, array.device_id
        self.device = Device(self.device_id)
        self.size = self.array.nbytes - offset

    @property
    def ptr(self):
        return self.array.ctypes.data + self.offset

    def __add__(self, offset):
        return MemoryPointer(self.holder, self.offset + offset)

    def copy_from_host(self, pointer, size):
        ctypes.memmove(self.ptr, getattr(pointer, 'value', pointer), size)

    def copy_to_host(self, pointer, size):
        _log.wait('copy to host')
        ctypes.memmove(getattr(pointer, 'value', pointer), self.ptr, size)

    def copy_from_device(self, source, size):
        ctypes.memmove(self.ptr, source.ptr, size)

    def memset(self, value, size):
        ctypes.memset(self.ptr, value, size)


class MemoryPool:
    """Memory that NumPy holds."""

    def malloc(self, size):
        return MemoryPointer(_array.ndarray(size, 'u1'))

    def used_bytes(self):
        return 0

    def total_bytes(self):
        return 0

    def free_all_blocks(self, stream=None):
        pass


PinnedMemoryPool = MemoryPool
Memory = object


class MemoryHook:
    """CuPy's base class of hooks."""


def alloc(size):
    return MemoryPool().malloc(size)


def alloc_pinned_memory(size):
    return memoryview(np.empty(size, 'u1'))


def set_allocator(allocator=None):
    pass


def set_pinned_memory_allocator(allocator=None):
    pass


def is_available():
    return True


def get_device_id():
    return _array.current[0]


def _module(name, **content):
    module = types.ModuleType(f'cupy.cuda.{name}')
    vars(module).update(content)
    sys.modules[module.__name__] = module
    return module


_ATTRIBUTES = {97: MAX_SHARED_BYTES, 16: 132}
runtime = _module(
    'runtime',
    CUDARuntimeError=CUDARuntimeError,
    cudaDevAttrMaxSharedMemoryPerBlockOptin=97,
    cudaDevAttrMultiProcessorCount=16,
    deviceGetAttribute=lambda attribute, device: _ATTRIBUTES[attribute],
    deviceSynchronize=lambda: _log.wait('device synchronize'),
    driverGetVersion=lambda: 13000,
    getDevice=get_device_id,
    getDeviceCount=lambda: N_DEVICE,
    getDeviceProperties=lambda device: {'name': b'stand-in', 'multiProcessorCount': 132},
    is_hip=False,
    runtimeGetVersion=lambda: 13000,
    streamSynchronize=lambda stream: _log.wait('stream synchronize'),
)
cublas = _module('cublas')
memory = _module(
    'memory', MemoryPool=MemoryPool, MemoryPointer=MemoryPointer, OutOfMemoryError=MemoryError
)
memory_hook = _module('memory_hook', MemoryHook=MemoryHook)
stream = _module('stream', Stream=Stream)
