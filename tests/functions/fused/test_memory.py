from chainer_ssd.functions._fused import memory


def test_a_buffer_is_reused_after_the_last_view_is_deleted():
    array = memory.zeros((3, 1001), 'f')
    assert array.shape == (3, 1001) and array.dtype == 'f'
    assert array.flags.writeable and not array.any()
    array[:] = 1
    address, view = array.ctypes.data, array[1:]
    del array
    other = memory.zeros((3, 1001), 'f')
    assert other.ctypes.data != address and view.all()
    del view
    reused = memory.zeros((3, 1001), 'f')
    assert reused.ctypes.data == address and not reused.any()
    assert memory.zeros((0, 4), 'd').shape == (0, 4)


def test_at_most_two_buffers_are_kept():
    arrays = [memory.zeros(1000 + i, 'f') for i in range(10)]
    del arrays
    assert len(memory._free_buffers) == 2
    memory.clear()
    assert not memory._free_buffers


def test_scratch_uses_a_buffer_that_is_large_enough_and_returns_it():
    memory.clear()
    gradient = memory.zeros((100, 4), 'f')
    address = gradient.ctypes.data
    assert memory.scratch((3,), 'f').ctypes.data != address  # the buffer is in use
    assert not memory._free_buffers  # new scratch memory does not join the pool
    del gradient
    too_large = memory.scratch((101, 4), 'f')
    assert too_large.shape == (101, 4) and too_large.ctypes.data != address
    scratch = memory.scratch((7, 5), 'd')
    assert scratch.shape == (7, 5) and scratch.dtype == 'd' and scratch.ctypes.data == address
    scratch[:] = 1
    assert memory.scratch((7, 5), 'd').ctypes.data != address
    view = scratch[2:]
    del scratch
    assert not memory._free_buffers
    del view
    reused = memory.zeros((100, 4), 'f')
    assert reused.ctypes.data == address and not reused.any()
    assert memory.scratch((0, 4), 'd').shape == (0, 4)
