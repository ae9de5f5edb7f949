"""Sums of a few numbers over ranks, which do not block until they are needed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd.distributed.agreement import gather_values
from chainer_ssd.distributed.communicator import Communicator

MAX_PENDING = 8  # sums of one communicator that nobody has asked for


class RankSum:
    """Element-wise sum of float64 numbers over ranks. A collective call.

    The constructor sends this rank's numbers and does not block. All numbers travel on a private
    duplicate of ``comm.mpi_comm``, so no other collective call of the program can receive them. A
    communicator without ``mpi_comm`` computes the sum at once by ``allreduce_obj``.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        All its ranks construct this object together.
    values : sequence of floats
        This rank's numbers. All ranks have the same number of them.
    """

    def __init__(self, comm: Communicator, values: Sequence[float]) -> None:
        self._local = np.array(values, np.float64)
        self._total: Any = np.empty_like(self._local)
        self._request: Any = None
        self._private = _private_communicator(comm)
        if self._private is None:
            self._total = comm.allreduce_obj(self._local)
            return
        # MPI writes to the arrays until the request is complete. So a sum is kept until then, also
        # if an exception prevents its use.
        pending = self._private.pending
        if len(pending) >= MAX_PENDING:
            pending[0].total()
        self._request = self._private.mpi_comm.Iallreduce(self._local, self._total)  # MPI_SUM
        pending.append(self)

    def progress(self) -> None:
        """Send what can be sent now, without blocking.

        Without it, most MPI libraries send the later rounds of a sum only when the result is
        needed. The sum then ends only after the slowest rank has asked for it.
        """
        if self._request is not None and self._request.Test():
            self._complete()

    def total(self) -> np.ndarray:
        """Return the sum, equal on all ranks. Blocks until all ranks have sent their numbers.

        Returns
        -------
        float64 array
            One sum for each number.
        """
        if self._request is not None:
            self._request.Wait()
            self._complete()
        return self._total

    def _complete(self) -> None:
        self._request = None
        self._private.pending.remove(self)


def gather_privately(comm: Communicator, value: Any) -> list[Any]:
    """Return the values of all ranks, as :func:`gather_values` does, on the private duplicate."""
    private = _private_communicator(comm)
    return gather_values(comm, value) if private is None else private.mpi_comm.allgather(value)


class _PrivateCommunicator:
    """The package's own duplicate of an MPI communicator, and its sums under way."""

    def __init__(self, mpi_comm: Any) -> None:
        self.mpi_comm = mpi_comm.Dup()
        self.pending: list[RankSum] = []


def _private_communicator(comm: Communicator) -> Any:
    """Return the duplicate of ``comm.mpi_comm``, or None if there is no such.

    MPI stores the duplicate with ``comm.mpi_comm`` and frees both together. So there is one
    duplicate, however many objects use it. The first call is collective.
    """
    mpi_comm: Any = getattr(comm, 'mpi_comm', None)
    if mpi_comm is None:
        return None
    key = _attribute_key()
    private = mpi_comm.Get_attr(key)
    if private is None:
        private = _PrivateCommunicator(mpi_comm)
        mpi_comm.Set_attr(key, private)
    return private


@functools.cache
def _attribute_key() -> int:
    from mpi4py import MPI

    return MPI.Comm.Create_keyval(delete_fn=lambda comm, key, private: private.mpi_comm.Free())
