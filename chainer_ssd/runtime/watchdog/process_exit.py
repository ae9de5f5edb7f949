"""Exit of this process with a message on the standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import NoReturn

from chainer_ssd.runtime.watchdog.shared_memory import remove_shared_memory

GRACE_SECONDS = 1  # before the exit, for other ranks' messages: a launcher then kills them
PRINT_SECONDS = 5  # before the exit although the standard error blocks


def exit_with_message(message: str) -> NoReturn:
    """Print a message and exit with status 1, whatever other threads do."""
    try:
        # In a thread of its own, because the standard error blocks if the launcher is frozen.
        printer = threading.Thread(target=print_error, args=(message,), daemon=True)
        printer.start()
        remove_shared_memory()
        printer.join(PRINT_SECONDS)
        time.sleep(GRACE_SECONDS)
    finally:
        os._exit(1)


def print_error(message: str) -> None:
    """Write a line to the standard error. Characters that are no Unicode are escaped."""
    with contextlib.suppress(OSError):  # the launcher has ended
        os.write(2, f'{message}\n'.encode(errors='backslashreplace'))
        sys.stdout.flush()
