"""How the ranks of ``chainer-ssd train`` begin, and how they end together."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from chainer_ssd.cli._arguments import INTERRUPTED_STATUS, USER_ERROR_STATUS, USER_ERRORS
from chainer_ssd.cli._environment import THREAD_VARIABLES
from chainer_ssd.distributed import find_launcher
from chainer_ssd.runtime import AgreedError, TrainingInterrupted, Watchdog, check_job


def create_communicator(name: str | None, gpu: int, prog: str) -> Any:
    """Return ChainerMN's communicator, or None without a name.

    Raises
    ------
    ValueError
        Without a name, if a launcher has started several processes: each would train alone, and all
        would write to one folder.
    """
    if name is None:
        launched = find_launcher()
        if launched is not None and launched.size > 1:
            raise ValueError(
                f'this is one of {launched.size} processes of an MPI launcher '
                f'({launched.variable}={launched.size}), and each would train alone. Add '
                f'--communicator {"naive" if gpu < 0 else "pure_nccl"}'
            )
        return None
    import chainermn  # needs mpi4py

    comm = chainermn.create_communicator(name)
    has_thread_limit = any(map(os.environ.get, THREAD_VARIABLES))
    if not comm.rank and comm.intra_size > 1 and gpu < 0 and not has_thread_limit:
        print(
            f'{prog}: {comm.intra_size} ranks run on this host, and NumPy starts one thread per '
            'core in each. OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 is faster',
            file=sys.stderr,
        )
    return comm


def create_watchdog(args: argparse.Namespace, comm: Any) -> Any:
    """Return the watchdog, or a context manager that does nothing with ``--no-watchdog``."""
    if args.no_watchdog:
        return contextlib.nullcontext()
    return Watchdog(comm, args.watchdog_timeout, args.watchdog_port, args.watchdog_interface)


@contextlib.contextmanager
def ending_together(comm: Any) -> Iterator[None]:
    """End all ranks without a report of failure, after an error that all of them raise.

    Rank 0 raises it further, and the other ranks end with the same status.
    """
    try:
        yield
    except (AgreedError, TrainingInterrupted) as error:
        if comm is None or not getattr(error, 'is_agreed', False):
            raise
        from mpi4py import MPI

        rank = comm.rank
        sys.stdout.flush()
        MPI.Finalize()  # mpi4py would call MPI_Abort for a status other than 0
        if not rank:
            raise
        status = getattr(error, 'exit_status', INTERRUPTED_STATUS)
        sys.exit(USER_ERROR_STATUS if isinstance(error, AgreedError) else status)


@contextlib.contextmanager
def refusing_together(
    comm: Any, facts: Mapping[str, Any] | None = None, folder: str | None = None, size: int = 0
) -> Iterator[None]:
    """Raise one error on all ranks if a user's mistake stops one of them in this block.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        Every rank enters and leaves the block, and communicates in it alike or not at all.
    facts, folder, size
        ``facts``, ``folder`` and ``needed_bytes`` of :func:`chainer_ssd.runtime.check_job`. The
        block may still fill ``facts``.
    """
    error: Exception | None = None
    try:
        yield
    except USER_ERRORS as found:
        error = found
    check_job(comm, facts or {}, folder, size, error)
