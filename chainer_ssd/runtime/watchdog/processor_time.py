"""Processor time, as another thread sees it: who uses none at all, waits."""

import os
import time
from pathlib import Path


def thread_time(thread):
    """Seconds of a thread, 0 where the platform does not tell."""
    if not hasattr(time, 'pthread_getcpuclockid'):
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def family_time():
    """Seconds of this process but for the calling thread, and of its children, dead or alive."""
    times = os.times()
    living = sum(_time_of_child(stat) for stat in Path('/proc').glob('[0-9]*/stat'))
    return (
        times.children_user
        + times.children_system
        + living
        + time.process_time()
        - time.thread_time()
    )


def _time_of_child(stat):
    try:
        fields = stat.read_text().rsplit(')', 1)[1].split()
    except OSError:  # it has just ended
        return 0.0
    parent, user, system = int(fields[1]), int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf('SC_CLK_TCK') if parent == os.getpid() else 0.0
