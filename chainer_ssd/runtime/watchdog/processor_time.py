"""Processor time of a thread and of a family of processes. A blocked one uses none."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path


def thread_time(thread: threading.Thread) -> float:
    """Return the processor seconds of a thread, or 0 if the platform does not have them."""
    if not hasattr(time, 'pthread_getcpuclockid'):
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))


def family_time() -> float:
    """Return the processor seconds of this process and its children, dead or alive.

    Those of the calling thread are left out.
    """
    times = os.times()
    living = sum(_time_of_child(stat) for stat in Path('/proc').glob('[0-9]*/stat'))
    return (
        times.children_user
        + times.children_system
        + living
        + time.process_time()
        - time.thread_time()
    )


def _time_of_child(stat: Path) -> float:
    """Return the processor seconds of a process, or 0 if it is no child of this process."""
    try:
        fields = stat.read_text().rsplit(')', 1)[1].split()
    except OSError:  # the process has ended
        return 0.0
    parent, user, system = int(fields[1]), int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf('SC_CLK_TCK') if parent == os.getpid() else 0.0
