"""Data workers whose parent is gone wait for work for ever, and a launcher for them."""

import functools
import multiprocessing
import os
import threading
import time


@functools.cache
def end_workers_with_parent():
    """From now on forked daemonic children end within a second after this process; once is enough.

    Multiprocessing promises that for a parent that ends regularly; this is for one that is killed.
    """
    os.register_at_fork(after_in_child=_watch_parent)


def _watch_parent():
    threading.Thread(target=_wait, args=(os.getppid(),), name='orphan watch', daemon=True).start()


def _wait(parent):
    while os.getppid() == parent:
        time.sleep(0.5)
    if multiprocessing.current_process().daemon:
        os._exit(1)
