"""Ends data workers whose parent process was killed.

Such workers block for ever. The MPI launcher blocks until they end.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
import time

POLL_SECONDS = 0.5


@functools.cache
def end_workers_with_parent() -> None:
    """Make daemonic children that are forked from now on end within a second after this process.

    Multiprocessing does it if the parent ends regularly. This function does it if the parent is
    killed.
    """
    os.register_at_fork(after_in_child=_start_parent_watch)


def _start_parent_watch() -> None:
    threading.Thread(
        target=_exit_after_parent, args=(os.getppid(),), name='parent watch', daemon=True
    ).start()


def _exit_after_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    if multiprocessing.current_process().daemon:
        os._exit(1)
