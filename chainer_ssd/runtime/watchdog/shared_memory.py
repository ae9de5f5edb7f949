"""Removes MPICH's files in /dev/shm, which stay if its processes do not reach MPI_Finalize."""

from __future__ import annotations

import contextlib
import os
import re

SEGMENT = re.compile(r'(/dev/shm/mpich_\S+)$', re.MULTILINE)


def remove_shared_memory() -> None:
    """Unlink MPICH's segments that this process has mapped. Processes that use them still can."""
    with contextlib.suppress(OSError):
        with open('/proc/self/maps') as maps:
            segments = set(SEGMENT.findall(maps.read()))
        for segment in segments:
            with contextlib.suppress(OSError):  # another rank of this host has removed it
                os.remove(segment)
