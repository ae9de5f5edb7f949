"""Exit of this process with a message on the standard error. Its children end before it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Callable, NoReturn

from chainer_ssd.runtime.watchdog.process_tree import find_descendants
from chainer_ssd.runtime.watchdog.shared_memory import remove_shared_memory

GRACE_SECONDS = 1  # before the exit, for other ranks' messages: a launcher then kills them
PRINT_SECONDS = 5  # before the exit although the standard error blocks


def exit_with_message(message: str, wait: Callable[[float], object] = time.sleep) -> NoReturn:
    """Print a message and exit with status 1, whatever other threads do.

    Parameters
    ----------
    message : str
        One line.
    wait : callable
        Gets the seconds before the exit, in which other ranks exit as well.
    """
    try:
        # In a thread of its own, because the standard error blocks if the launcher is frozen.
        printer = threading.Thread(target=print_error, args=(message,), daemon=True)
        printer.start()
        # A stopped child would keep the launcher's pipe open, and the launcher would block.
        kill_descendants()
        remove_shared_memory()
        printer.join(PRINT_SECONDS)
        wait(GRACE_SECONDS)
        kill_descendants()
    finally:
        os._exit(1)


def kill_descendants() -> None:
    """Kill the children of this process and theirs. SIGKILL also ends stopped processes."""
    for pid in find_descendants(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def print_error(message: str) -> None:
    """Write a line to the standard error. Characters that are no Unicode are escaped."""
    with contextlib.suppress(OSError):  # the launcher has ended
        os.write(2, f'{message}\n'.encode(errors='backslashreplace'))
        sys.stdout.flush()
