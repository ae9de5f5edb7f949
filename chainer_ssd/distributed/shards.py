"""A data set shared out among ranks, and its parts put together again."""

from chainer_ssd.distributed.agreement import gather_values, raise_together


def shard_of(comm, length):
    """Which examples are this rank's: every n-th from its own on.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        The ranks.
    length : int
        How many examples there are.

    Returns
    -------
    range
        Indices; the ranks' numbers of them differ by at most one.
    """
    return range(comm.rank, length, comm.size)


def gather_shards(comm, found, length):
    """What the ranks found for their examples, on rank 0, in the order of the data set.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        Its ranks call this together.
    found : dict of int to object
        This rank's, by example; pickled by MPI.
    length : int
        How many examples there are.

    Returns
    -------
    list or None
        One for each example on rank 0, None elsewhere.

    Raises
    ------
    RuntimeError
        On every rank, if an example is missing, or there twice: it names the example and the ranks.
    """
    owners = {}
    for rank, examples in enumerate(gather_values(comm, list(found))):
        for example in examples:
            owners.setdefault(example, []).append(rank)
    wrong = sorted({*range(length)} ^ owners.keys() | {i for i in owners if len(owners[i]) > 1})
    raise_together(
        comm,
        wrong
        and ValueError(
            f'example {wrong[0]} of {length} comes from ranks {owners.get(wrong[0], [])}: expected '
            f'each example from one rank; {len(wrong)} are wrong'
        ),
    )
    parts = comm.gather_obj(found)
    if comm.rank:
        return None
    whole = {example: value for part in parts for example, value in part.items()}
    return [whole[example] for example in range(length)]
