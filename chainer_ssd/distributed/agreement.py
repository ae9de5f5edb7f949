"""What every rank knows of all the others: one collective, and no rank left behind."""


def gather_values(comm, value):
    """Every rank's value, on every rank.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        None: one rank.
    value : object
        This rank's; pickled by MPI.

    Returns
    -------
    list
        One value for each rank, by rank.
    """
    if comm is None:
        return [value]
    return [
        other
        for _, other in sorted(comm.allreduce_obj([(comm.rank, value)]), key=lambda pair: pair[0])
    ]


def from_rank_0(comm, value):
    """Rank 0's value, on every rank.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        None: one rank.
    value : object
        Rank 0's; pickled by MPI. Other ranks' values are not looked at.

    Returns
    -------
    object
        The value.
    """
    return value if comm is None else comm.bcast_obj(None if comm.rank else value)


def raise_together(comm, error):
    """Raises on every rank what failed on one. A collective call.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        None: one rank.
    error : Exception or None
        What this rank met.

    Raises
    ------
    RuntimeError
        If any rank met an error: the same message on all, which names the ranks and what they met.
    """
    found = gather_values(comm, error and f'{type(error).__name__}: {error}')
    failed = [f'rank {rank}: {text}' for rank, text in enumerate(found) if text]
    if failed:
        raise RuntimeError('; '.join(failed)) from error
