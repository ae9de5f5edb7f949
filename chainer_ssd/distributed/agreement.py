"""Exchange of values and errors between ranks, each in one collective call."""

from __future__ import annotations

from typing import Any

from chainer_ssd.distributed.communicator import Communicator


def gather_values(comm: Communicator | None, value: Any) -> list[Any]:
    """Return the values of all ranks, on every rank. A collective call.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        None means one rank.
    value : object
        This rank's value. MPI pickles it.

    Returns
    -------
    list
        One value per rank, by rank.
    """
    if comm is None:
        return [value]
    pairs = comm.allreduce_obj([(comm.rank, value)])
    return [other for _, other in sorted(pairs, key=lambda pair: pair[0])]


def from_rank_0(comm: Communicator | None, value: Any) -> Any:
    """Return rank 0's value, on every rank. A collective call.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        None means one rank.
    value : object
        Rank 0's value. MPI pickles it. The values of other ranks are ignored.

    Returns
    -------
    object
        The value.
    """
    return value if comm is None else comm.bcast_obj(None if comm.rank else value)


def raise_together(comm: Communicator | None, error: Exception | None) -> None:
    """Raise an error on every rank if one rank has an error. A collective call.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        None means one rank.
    error : Exception or None
        This rank's error.

    Raises
    ------
    RuntimeError
        If any rank has an error. The message is the same on all ranks. It names each failed rank
        and its error.
    """
    found = gather_values(comm, error and f'{type(error).__name__}: {error}')
    failed = [f'rank {rank}: {text}' for rank, text in enumerate(found) if text]
    if failed:
        raise RuntimeError('; '.join(failed)) from error
