"""Processes of a job that was started by mpiexec."""

import os
from pathlib import Path


def find_ranks(out):
    """Return the process ids of the ranks of the job that writes to ``out``, sorted.

    Their data workers are left out.
    """
    found = _find(out)
    return sorted(pid for pid in found if found[pid] not in found)


def find_processes(out):
    """Return the process ids of the ranks and their data workers, sorted."""
    return sorted(_find(out))


def _find(out):
    """Return the parent of each process of the job, by process id. Ended ones are left out."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            command = Path('/proc', pid, 'cmdline').read_bytes().split(b'\0')
            stat = Path('/proc', pid, 'stat').read_text().rsplit(')')[1].split()
        except (OSError, IndexError):
            continue
        is_rank = b'mpi4py' in command and b'-n' not in command[1:3]
        if is_rank and str(out).encode() in command and stat[0] != 'Z':
            found[int(pid)] = int(stat[1])
    return found
