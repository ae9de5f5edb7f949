"""The emulator detects what it says, in kernels with one fault each."""

import ctypes
import shutil

import numpy as np
import pytest

from tests.functions.fused import emulator

SOURCE = r"""
typedef int* p;
void misses_a_barrier(p) {
    if (threadIdx.x != 5) __syncthreads();
    __syncthreads();
}
void ends_before_a_barrier(p) { if (threadIdx.x != 5) __syncthreads(); }
void skips_an_exchange(p) { if (threadIdx.x != 5) __any_sync(~0u, 1); }
void writes_after_a_shared_array(p) {
    __shared__ int before[64], array[64];
    array[threadIdx.x + 1] = 1;
}
void writes_before_a_shared_array(p) {
    __shared__ int array[64];
    array[(int)threadIdx.x - 1] = 1;
}
void writes_after_the_dynamic_array(p) {
    extern __shared__ int array[];
    array[threadIdx.x + 1] = 1;
}
void writes_far_after_the_dynamic_array(p) {
    extern __shared__ int array[];
    array[threadIdx.x + 2000] = 1;
}
void reads_fresh_shared_memory(p out) {
    __shared__ int array[64];
    out[0] = array[threadIdx.x];
}
void writes_after_an_array(p out) { out[10] = 1; }
void writes_before_an_array(p out) { out[-1] = 1; }
void reads_a_page_after_an_array(p out) { out[0] = out[10 + 1024]; }
void reads_a_page_before_an_array(p out) { out[0] = out[-1025]; }
// Each warp reads what another warp may not have written yet.
void lacks_a_barrier_between_warps(p out) {
    __shared__ int array[64];
    array[threadIdx.x] = 0;
    __syncthreads();
    array[threadIdx.x] = 1;
    if (threadIdx.x % 32 == 0) out[threadIdx.x / 32] = array[63 - threadIdx.x];
}
// So does each thread of a warp.
void lacks_a_barrier_in_a_warp(p out) {
    __shared__ int array[64];
    array[threadIdx.x] = 0;
    __syncthreads();
    array[threadIdx.x] = 1;
    if (threadIdx.x == 3) out[0] = array[4], out[1] = array[2];
}
// The last block to begin is not always the last one to end.
void blocks_overlap(p out) {
    __shared__ int place;
    if (threadIdx.x == 0) place = atomicAdd(&out[2], 1);
    __syncthreads();
    if (place == 4 && threadIdx.x == 0) out[0] = atomicAdd(&out[3], 1), out[1] = blockIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(&out[3], 1);
}
"""
NAMES = [line.split()[1].split('(')[0] for line in SOURCE.splitlines() if line.startswith('void')]


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    if shutil.which('g++') is None:
        pytest.skip('g++ is missing: the kernels are not emulated')
    path = tmp_path_factory.mktemp('emulator') / 'faults.cpp'
    lines = [emulator.rewrite_shared_arrays(SOURCE), emulator.ENTRIES]
    lines += [f'ENTRY({name})' for name in NAMES]
    path.write_text('\n'.join(lines), encoding='utf-8')
    return emulator.compile_library(path)


@pytest.fixture
def run(library):
    """Return a function that runs a kernel on an array of ten numbers, all 0 before."""

    def run_kernel(name, seed=1, n_array=1, grid=1):
        library.set_order(ctypes.c_uint64(seed), 3)
        library.set_garbage(emulator.GARBAGE['huge'])
        memory = emulator.Memory(emulator.GARBAGE['zero'])
        out = [memory.empty(10, 'i') for _ in range(n_array)][-1]
        emulator.launch(library, name, grid, 64, [out], shared_mem=256)
        memory.check(name)
        return out.tolist()

    return run_kernel


@pytest.mark.parametrize(
    ('name', 'error'),
    [
        ('misses_a_barrier', 'barrier'),
        ('ends_before_a_barrier', 'barrier'),
        ('skips_an_exchange', 'barrier'),
        ('writes_after_a_shared_array', 'writes outside of a shared array'),
        ('writes_before_a_shared_array', 'writes outside of a shared array'),
        ('writes_after_the_dynamic_array', 'writes outside of a shared array'),
        ('writes_far_after_the_dynamic_array', 'reads or writes outside of an array'),
    ],
)
@pytest.mark.parametrize('seed', range(3))
def test_threads_that_go_wrong(run, name, error, seed):
    with pytest.raises(AssertionError, match=f'{name}: .*{error}'):
        run(name, seed)
    run('reads_fresh_shared_memory')  # the next kernel is not affected


@pytest.mark.parametrize('n_array', [1, 2])  # at the end of a page, and at its beginning
def test_writes_outside_of_an_array(run, n_array):
    for name in ('writes_after_an_array', 'writes_before_an_array'):
        with pytest.raises(AssertionError, match=f'{name}: .* outside of an array'):
            run(name, n_array=n_array)


def test_reads_far_outside_of_an_array(run):
    for name in ('reads_a_page_after_an_array', 'reads_a_page_before_an_array'):
        with pytest.raises(AssertionError, match='reads or writes outside of an array'):
            run(name)


def test_fresh_shared_memory_holds_garbage(run):
    assert run('reads_fresh_shared_memory')[0] == 0x7F7F7F7F


@pytest.mark.parametrize('name', ['lacks_a_barrier_between_warps', 'lacks_a_barrier_in_a_warp'])
def test_an_order_exists_in_which_a_race_is_lost(run, name):
    found = {tuple(run(name, seed)[:2]) for seed in range(20)}
    assert {(0, 1), (1, 0)} <= found
    assert len({tuple(run(name, seed=7)[:2]) for _ in range(3)}) == 1  # a seed is repeatable


def test_blocks_overlap(run):
    found = [run('blocks_overlap', seed, grid=5) for seed in range(1, 20)]
    assert {out[2] for out in found} == {5}
    assert len({out[1] for out in found}) > 2  # which block is the fifth
    assert min(out[0] for out in found) < 4  # others have not ended


def test_memory_is_garbage_between_guards():
    for garbage in emulator.GARBAGE.values():
        memory = emulator.Memory(garbage)
        arrays = [memory.empty((3, 5), 'f') for _ in range(4)]
        for array in arrays:
            assert array.tobytes() == bytes([garbage]) * 60
            assert array.ctypes.data % memory.ALIGNMENT == 0
        memory.check('no kernel')
    np.testing.assert_array_equal(memory.asarray([1.5, 2]), [1.5, 2])
    assert memory.empty((0, 4)).size == 0
