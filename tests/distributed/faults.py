"""Failures of job.py, and the watchdog's message for each.

``{rank}`` and ``{after}`` are replaced by the failed rank and its number of iterations.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """One failure: its text in the table, its name in job.py, and the watchdog's message."""

    text: str
    name: str
    message: str
    options: tuple = ()


AT = 'rank {rank}, after iteration {after}: '
WORKERS = '--workers', 2

FAULTS = {
    fault.name: fault
    for fault in [
        Fault(
            'exception before the training', 'start', 'rank {rank}: FileNotFoundError: no such data'
        ),
        Fault('exception in an extension', 'extension', AT + 'OSError: the disk is gone'),
        Fault('exception in a transform', 'transform', AT + 'ValueError: this image is broken'),
        Fault(
            'exception in a transform, MultiprocessIterator',
            'transform-worker',
            'rank {rank}, after iteration .*: thread prefetch_loop: '
            'ValueError: this image is broken',
            WORKERS,
        ),
        Fault(
            'data worker killed',
            'transform-kill',
            r'rank {rank}, after iteration .*: data worker \d+ died \(SIGKILL\)',
            WORKERS,
        ),
        Fault(
            'exit in a data worker',
            'transform-exit',
            r'rank {rank}, after iteration .*: data worker \d+ died \(status 3\)',
            WORKERS,
        ),
        Fault(
            'data worker stopped',
            'transform-stop',
            r'no progress for .*; rank {rank}: data worker \d+ is stopped',
            WORKERS,
        ),
        Fault(
            'a rank and its data worker stopped',
            'transform-stop-both',
            'rank {rank} has sent no heartbeat for .*; last seen ',
            WORKERS,
        ),
        Fault(
            'exception in a thread',
            'thread',
            'rank {rank}, after iteration .*: thread reader: ZeroDivisionError',
        ),
        Fault('sys.exit()', 'exit', AT + 'SystemExit'),
        Fault('SIGKILL of a rank', 'kill', 'rank {rank} died: its connection closed'),
        Fault('SIGSTOP of a rank', 'stop', 'rank {rank} has sent no heartbeat for .*; last seen '),
        Fault(
            'a rank sleeps in an update',
            'hang',
            'no progress for .*: rank {rank} after iteration {after} in update_core',
        ),
        Fault(
            'a rank loops in an update',
            'loop',
            'no progress for .*: rank {rank} after iteration {after} in update_core',
        ),
        Fault(
            'a rank sleeps in an extension',
            'sleep',
            'no progress for .*: rank {rank} after iteration {after} in __call__',
        ),
        Fault(
            'a collective call of one rank only',
            'object',
            'all ranks block each other; .*rank {rank} after iteration {after} in allreduce_obj',
        ),
        Fault('NaN on one rank', 'nan', 'after iteration {after}: FloatingPointError: iteration'),
    ]
}
