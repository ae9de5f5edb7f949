"""Processor time of a thread and of a family of processes. A blocked one uses none."""

from __future__ import annotations

import os
import threading
import time

from chainer_ssd.runtime.watchdog.process_tree import list_processes


def thread_time(thread: threading.Thread) -> float:
    """Return the processor seconds of a thread, or 0 if the platform does not have them."""
    if not hasattr(time, 'pthread_getcpuclockid'):
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))


def family_time() -> float:
    """Return the processor seconds of this process and its children, dead or alive.

    Those of the calling thread are left out.
    """
    times, own = os.times(), os.getpid()
    ticks = sum(facts.ticks for facts in list_processes().values() if facts.parent == own)
    return (
        times.children_user
        + times.children_system
        + ticks / os.sysconf('SC_CLK_TCK')
        + time.process_time()
        - time.thread_time()
    )
