"""Ends data workers whose parent process was killed.

Such workers block for ever. The MPI launcher blocks until they end.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import os
import signal
import threading
import time

PR_SET_PDEATHSIG = 1  # Linux request code: the signal when the parent dies
POLL_SECONDS = 0.5
START_SECONDS = 0.01  # between two looks whether multiprocessing has made the child a worker
MAX_START_SECONDS = 5


@functools.cache
def end_workers_with_parent() -> None:
    """Make daemonic children that are forked from now on end with this process.

    Multiprocessing does it if the parent ends regularly. This function does it if the parent is
    killed. The kernel sends the signal, so it also ends a worker that is stopped.
    """
    os.register_at_fork(before=_note_thread, after_in_child=_start_parent_watch)


_forking_thread: list[bool] = [True]


def _note_thread() -> None:
    _forking_thread[0] = _lives_long(threading.current_thread())


def _lives_long(thread: threading.Thread) -> bool:
    # The kernel takes the end of the thread that forked for the death of the parent.
    handler = getattr(thread, '_target', None) or getattr(thread, 'run', None)
    is_pool_thread = getattr(handler, '__name__', '') == '_handle_workers'
    return thread is threading.main_thread() or is_pool_thread


def _start_parent_watch() -> None:
    threading.Thread(
        target=_end_with_parent,
        args=(os.getppid(), _forking_thread[0]),
        name='parent watch',
        daemon=True,
    ).start()


def _end_with_parent(parent: int, by_kernel: bool) -> None:
    end = time.monotonic() + MAX_START_SECONDS
    while not multiprocessing.current_process().daemon and time.monotonic() < end:
        time.sleep(START_SECONDS)
    if multiprocessing.current_process().daemon and by_kernel:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    if multiprocessing.current_process().daemon:
        os._exit(1)
