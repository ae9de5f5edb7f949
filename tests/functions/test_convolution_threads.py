"""Convolutions of a batch on several threads."""

import os
import threading

import chainer
import numpy as np
import pytest

from chainer_ssd.functions import convolution_2d
from chainer_ssd.functions._convolution import threads
from tests.functions.test_convolution_2d import LAYERS, make, run
from tests.helpers import assert_close

threadpoolctl = pytest.importorskip('threadpoolctl')


def n_blas_threads():
    return threads._threads.find_blas().num_threads


@pytest.fixture(params=[2, 3])
def n_thread(request, monkeypatch):
    """The number of threads of BLAS. Small batches use them, too."""
    if threads._threads.find_blas() is None:
        pytest.skip('NumPy has no OpenBLAS with pthreads')
    monkeypatch.setattr(threads, 'MIN_PRODUCTS_OF_PART', 1)
    with threadpoolctl.threadpool_limits(request.param, 'blas'):
        if n_blas_threads() != request.param:
            pytest.skip(f'BLAS cannot use {request.param} threads')
        yield request.param


@pytest.mark.parametrize(('x_shape', 'W_shape', 'options', 'algorithm'), LAYERS)
def test_threads_change_only_the_rounding(x_shape, W_shape, options, algorithm, n_thread):
    arrays = make((5, *x_shape[1:]), W_shape)
    found = run(convolution_2d, *arrays, **options)
    assert n_blas_threads() == n_thread
    for a, b in zip(found, run(convolution_2d, *arrays, **options)):
        np.testing.assert_array_equal(a, b)
    with threadpoolctl.threadpool_limits(1, 'blas'):
        for a, b in zip(found, run(convolution_2d, *arrays, **options)):
            assert_close(a, b, 3e-6)


def test_parts_run_at_the_same_time_with_one_blas_thread_each(n_thread):
    barrier = threading.Barrier(n_thread, timeout=60)

    def work(images):
        barrier.wait()  # returns when all parts have started
        return images.start, images.stop, n_blas_threads()

    parts = threads.map_parts(work, 7, 1000)
    assert len(parts) == n_thread
    assert [part[0] for part in parts] == [0, *(part[1] for part in parts[:-1])]
    assert parts[-1][1] == 7 and {part[2] for part in parts} == {1}
    assert n_blas_threads() == n_thread


@pytest.mark.parametrize('failing', [0, 1])
def test_an_error_in_a_part(failing, n_thread):
    ended = []

    def work(images):
        if (images.start > 0) == failing:
            raise MemoryError('a part')
        ended.append(images)

    with pytest.raises(MemoryError, match='a part'):
        threads.map_parts(work, n_thread, 1000)
    assert len(ended) == (1 if failing else n_thread - 1)  # the others have ended before
    assert n_blas_threads() == n_thread
    assert len(threads.map_parts(lambda images: 0, n_thread, 1000)) == n_thread


def test_batches_from_several_threads(n_thread):
    arrays = make((4, 16, 12, 12), (16, 16, 3, 3))
    expected = run(convolution_2d, *arrays)
    found = []

    def work():
        for _ in range(10):
            found.append(run(convolution_2d, *arrays))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 30 and n_blas_threads() == n_thread
    for results in found:
        for a, b in zip(results, expected):
            np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
def test_a_forked_process_has_threads_of_its_own(n_thread):
    arrays = make((4, 16, 12, 12), (16, 16, 3, 3))
    expected = run(convolution_2d, *arrays)[0]
    child = os.fork()
    if not child:
        code = 1
        try:
            code = int(not np.array_equal(run(convolution_2d, *arrays)[0], expected))
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(('batch', 'n_product'), [(1, 10**12), (8, 1000), (0, 0)])
def test_small_batches_use_one_thread(batch, n_product):
    with threadpoolctl.threadpool_limits(2, 'blas'):
        parts = threads.map_parts(lambda images: (images, threading.get_ident()), batch, n_product)
    assert parts == [(slice(0, batch), threading.get_ident())]


def test_without_threadpoolctl(monkeypatch):
    monkeypatch.setattr(threads.importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setattr(threads, '_threads', threads._Threads())
    assert threads.map_parts(lambda images: images, 8, 10**12) == [slice(0, 8)]
    assert chainer.config.use_blocked_convolution == 'auto'
    assert np.isfinite(convolution_2d(*make((8, 16, 12, 12), (16, 16, 3, 3))).array).all()
