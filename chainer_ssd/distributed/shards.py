"""Split of a data set over ranks, and the results put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainer_ssd.distributed.agreement import gather_values, raise_together
from chainer_ssd.distributed.communicator import Communicator


def shard_of(comm: Communicator, length: int) -> range:
    """Return the indices of this rank's examples: rank, rank + size, rank + 2 size, ...

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        The communicator.
    length : int
        Number of examples of the data set.

    Returns
    -------
    range
        Indices. The numbers of examples of two ranks differ by at most one.
    """
    return range(comm.rank, length, comm.size)


def gather_shards(comm: Communicator, results: Mapping[int, Any], length: int) -> list[Any] | None:
    """Return the results of all ranks on rank 0, in the order of the data set. A collective call.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        All its ranks call this function together.
    results : dict of int to object
        This rank's results, by the index of the example. MPI pickles them.
    length : int
        Number of examples of the data set.

    Returns
    -------
    list or None
        One result per example on rank 0, None on the other ranks.

    Raises
    ------
    RuntimeError
        On every rank, if an example has no result, or more than one. The message names the first
        such example and its ranks.
    """
    owners: dict[int, list[int]] = {}
    for rank, examples in enumerate(gather_values(comm, list(results))):
        for example in examples:
            owners.setdefault(example, []).append(rank)
    wrong = sorted({*range(length)} ^ owners.keys() | {i for i in owners if len(owners[i]) > 1})
    error = None
    if wrong:
        error = ValueError(
            f'example {wrong[0]} of {length} comes from ranks {owners.get(wrong[0], [])}: expected '
            f'each example from one rank ({len(wrong)} are wrong)'
        )
    raise_together(comm, error)
    parts = comm.gather_obj(dict(results))
    if comm.rank:
        return None
    merged = {example: result for part in parts for example, result in part.items()}
    return [merged[example] for example in range(length)]
