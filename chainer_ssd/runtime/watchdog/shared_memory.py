"""What MPICH leaves in /dev/shm when its processes do not reach MPI_Finalize."""

import contextlib
import os
import re

SEGMENT = re.compile(r'(/dev/shm/mpich_\S+)$', re.MULTILINE)


def remove_shared_memory():
    """Unlinks MPICH's segments that this process has mapped; those who use them still may."""
    with contextlib.suppress(OSError):
        with open('/proc/self/maps') as maps:
            segments = set(SEGMENT.findall(maps.read()))
        for segment in segments:
            with contextlib.suppress(OSError):  # another rank of this host was faster
                os.remove(segment)
