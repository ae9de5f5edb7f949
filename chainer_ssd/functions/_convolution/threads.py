"""Parts of a batch on several threads, with one thread of BLAS for each.

See "Threads" in ``docs/explanation/fast-convolution.md``.
"""

from __future__ import annotations

import concurrent.futures
import importlib.util
import os
import threading
from typing import Any, Callable, TypeVar

Result = TypeVar('Result')

#: Multiplications of a part that take longer than a start of a thread, about 0.1 ms.
MIN_PRODUCTS_OF_PART = 1 << 22


class _Threads:
    """The threads of this process. One batch at a time uses them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: Any = None
        self._controller: Any = None
        self._is_installed = importlib.util.find_spec('threadpoolctl') is not None

    def find_blas(self) -> Any:
        """Return threadpoolctl's controller of the BLAS that NumPy uses, or None.

        The number of threads of OpenBLAS with pthreads holds for all threads of the process. Other
        libraries are left as they are.
        """
        if self._controller is None and self._is_installed:
            import threadpoolctl

            self._controller = threadpoolctl.ThreadpoolController().select(user_api='blas')
        found = [] if self._controller is None else self._controller.lib_controllers
        if len(found) == 1 and getattr(found[0], 'threading_layer', None) == 'pthreads':
            return found[0]
        return None


_threads = _Threads()


def _forget_threads() -> None:
    global _threads
    _threads = _Threads()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_threads)  # threads do not survive a fork


def map_parts(function: Callable[[slice], Result], n_image: int, n_product: int) -> list[Result]:
    """Return the results of a function for parts of a batch, in order.

    Parameters
    ----------
    function : callable
        ``function(images)`` computes a range of images. It runs on several threads at once.
    n_image : int
        Number of images.
    n_product : int
        Number of multiplications for the batch.

    Returns
    -------
    list
        One result per thread of BLAS, but not more than images. One result without the package
        threadpoolctl, or if the batch is small.
    """
    everything = slice(0, n_image)
    blas = _threads.find_blas()
    if blas is None or n_image < 2 or n_product < 2 * MIN_PRODUCTS_OF_PART:
        return [function(everything)]
    with _threads.lock:
        n_thread = blas.num_threads
        n_part = min(n_thread, n_image, n_product // MIN_PRODUCTS_OF_PART)
        if n_part < 2:
            return [function(everything)]
        if _threads.executor is None:
            _threads.executor = concurrent.futures.ThreadPoolExecutor(n_thread)
        bounds = [i * n_image // n_part for i in range(n_part + 1)]
        parts = [slice(first, end) for first, end in zip(bounds, bounds[1:])]
        blas.set_num_threads(1)
        try:
            futures = [_threads.executor.submit(function, part) for part in parts[1:]]
            try:
                first = function(parts[0])
            finally:
                concurrent.futures.wait(futures)
            return [first, *(future.result() for future in futures)]
        finally:
            blas.set_num_threads(n_thread)
