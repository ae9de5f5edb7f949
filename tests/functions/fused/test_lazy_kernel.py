"""The shared memory that a launch requests. CuPy is replaced by what a driver checks."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from chainer_ssd.functions._fused.lazy_kernel import LazyKernel

STATIC_BYTES = 8592  # of choose_rows
DEFAULT_BYTES = 48 << 10


class Driver:
    """Two devices that refuse a launch with more shared memory than was requested."""

    def __init__(self):
        self.device, self.requests = 0, []
        self.cuda = SimpleNamespace(Device=lambda: SimpleNamespace(id=self.device))

    def RawModule(self, code, options):
        assert 'choose_rows' in code
        return SimpleNamespace(get_function=lambda name: Function(self, name))


class Function:
    def __init__(self, driver, name):
        self.driver, self.name, self.limits, self.launches = driver, name, {}, []

    shared_size_bytes = STATIC_BYTES

    @property
    def max_dynamic_shared_size_bytes(self):
        return self.limits.get(self.driver.device, DEFAULT_BYTES - STATIC_BYTES)

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, dynamic_bytes):
        self.driver.requests.append((self.name, self.driver.device, dynamic_bytes))
        self.limits[self.driver.device] = dynamic_bytes

    def __call__(self, grid, block, args, shared_mem):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise RuntimeError('CUDA_ERROR_INVALID_VALUE: invalid argument')


@pytest.fixture
def driver(monkeypatch):
    fake = Driver()
    monkeypatch.setitem(sys.modules, 'cupy', fake)
    return fake


@pytest.mark.parametrize(
    'dtype, n_boxes', [('f', (10140, 10141, 12240, 12288, 24564)), ('d', (5070, 5071, 6144, 6145))]
)
def test_static_and_dynamic_memory_count_together(driver, dtype, n_boxes):
    """SSDMini with its default input has 12,240 boxes: 48,960 and 8,592 bytes."""
    kernel = LazyKernel('multibox_loss', 'choose_rows')
    sizes = [(np.dtype(dtype).itemsize * n_box + 7) // 8 * 8 for n_box in n_boxes]
    for dynamic_bytes in sizes:
        kernel(np.dtype(dtype), 1, 1024, (), shared_mem=dynamic_bytes)
    requested = [dynamic_bytes for _, _, dynamic_bytes in driver.requests]
    assert sizes[0] + STATIC_BYTES <= DEFAULT_BYTES < sizes[1] + STATIC_BYTES
    assert requested == sizes[1:]


def test_memory_is_requested_once_on_each_device_and_for_each_dtype(driver):
    kernel = LazyKernel('multibox_loss', 'choose_rows')
    for driver.device in (0, 1, 0, 1):
        for dtype in 'fd':
            for dynamic_bytes in (60_000, 50_000, 0, 100):
                kernel(np.dtype(dtype), 1, 32, (), shared_mem=dynamic_bytes)
    names = 'choose_rows_f', 'choose_rows_d'
    assert driver.requests == [(name, device, 60_000) for device in (0, 1) for name in names]
