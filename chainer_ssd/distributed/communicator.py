"""What the package calls on a communicator."""

from __future__ import annotations

from typing import Any, Protocol


class Communicator(Protocol):
    """Type of a communicator in signatures: a ChainerMN communicator has all of it.

    Another class works as well, if it has these members. Its method ``gather_obj`` is called by
    :func:`chainer_ssd.distributed.gather_shards` only. If it has an ``mpi_comm``, the count of
    positives is summed on a duplicate of that MPI communicator.
    """

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""

    @property
    def size(self) -> int:
        """The number of processes."""

    def allreduce_obj(self, obj: Any) -> Any:
        """Return the sum of all ranks' objects, on every rank.

        Parameters
        ----------
        obj : object
            This rank's object.

        Returns
        -------
        object
            The sum.
        """

    def bcast_obj(self, obj: Any) -> Any:
        """Return rank 0's object, on every rank.

        Parameters
        ----------
        obj : object
            The object on rank 0. Other ranks' values are ignored.

        Returns
        -------
        object
            Rank 0's object.
        """

    def gather_obj(self, obj: Any) -> Any:
        """Return the list of all ranks' objects on rank 0, and None on the other ranks.

        Parameters
        ----------
        obj : object
            This rank's object.

        Returns
        -------
        list or None
            One object per rank, by rank.
        """
