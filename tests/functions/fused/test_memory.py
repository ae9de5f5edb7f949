from chainer_ssd.functions._fused import memory as _warm_memory


def test_dead_memory_is_warm_again():
    x = _warm_memory.zeros((3, 1001), 'f')
    assert x.shape == (3, 1001) and x.dtype == 'f' and x.flags.writeable and not x.any()
    x[:] = 1
    address, view = x.ctypes.data, x[1:]
    del x
    other = _warm_memory.zeros((3, 1001), 'f')
    assert other.ctypes.data != address and view.all()
    del view
    again = _warm_memory.zeros((3, 1001), 'f')
    assert again.ctypes.data == address and not again.any()
    assert _warm_memory.zeros((0, 4), 'd').shape == (0, 4)


def test_no_more_than_one_losss_gradients_are_kept():
    held = [_warm_memory.zeros(1000 + i, 'f') for i in range(10)]
    del held
    assert len(_warm_memory._dead) <= 2


def test_scratch_is_dead_memory_of_any_larger_size_and_goes_back():
    _warm_memory._dead.clear()
    gradient = _warm_memory.zeros((100, 4), 'f')
    address = gradient.ctypes.data
    assert _warm_memory.scratch((3,), 'f').ctypes.data != address  # it is alive
    assert not _warm_memory._dead  # what scratch had to ask for is not kept
    del gradient
    too_large = _warm_memory.scratch((101, 4), 'f')
    assert too_large.shape == (101, 4) and too_large.ctypes.data != address
    work = _warm_memory.scratch((7, 5), 'd')
    assert work.shape == (7, 5) and work.dtype == 'd' and work.ctypes.data == address
    work[:] = 1
    assert _warm_memory.scratch((7, 5), 'd').ctypes.data != address
    view = work[2:]
    del work
    assert not _warm_memory._dead
    del view
    again = _warm_memory.zeros((100, 4), 'f')
    assert again.ctypes.data == address and not again.any()
    assert _warm_memory.scratch((0, 4), 'd').shape == (0, 4)
