"""What may go wrong in job.py, and what is said of it. ``{rank}`` and ``{after}`` are filled in."""

from typing import NamedTuple


class Fault(NamedTuple):
    """``name`` as job.py knows it; the message that must be said; seconds it may take."""

    row: str
    name: str
    message: str
    waits: bool = False  # found by the timeout, not at once
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
            'rank {rank}, after iteration .*: thread prefetch_loop: ValueError: this image is broken',
            options=WORKERS,
        ),
        Fault(
            'data worker killed',
            'transform-kill',
            r'rank {rank}, after iteration .*: data worker \d+ died \(SIGKILL\)',
            options=WORKERS,
        ),
        Fault(
            'exit in a data worker',
            'transform-exit',
            r'rank {rank}, after iteration .*: data worker \d+ died \(status 3\)',
            options=WORKERS,
        ),
        Fault(
            'exception in a thread',
            'thread',
            'rank {rank}, after iteration .*: thread reader: ZeroDivisionError',
        ),
        Fault('sys.exit()', 'exit', AT + 'SystemExit'),
        Fault('SIGKILL of a rank', 'kill', 'rank {rank} died without a word'),
        Fault('SIGSTOP of a rank', 'stop', 'rank {rank} has been silent for .*; last seen ', True),
        Fault(
            'a rank sleeps in an update',
            'hang',
            'rank {rank} after iteration {after} in update_core',
            True,
        ),
        Fault(
            'a rank loops in an update',
            'loop',
            'rank {rank} after iteration {after} in update_core',
            True,
        ),
        Fault(
            'a rank sleeps in an extension',
            'sleep',
            'rank {rank} after iteration {after} in __call__',
            True,
        ),
        Fault(
            'a collective that one rank alone calls',
            'object',
            'all ranks wait for each other; .*rank {rank} after iteration {after} in allreduce_obj',
            True,
        ),
        Fault('NaN on one rank', 'nan', 'after iteration {after}: FloatingPointError: iteration'),
    ]
}
