"""The number of positives, averaged over ranks."""

from __future__ import annotations

import weakref
from typing import Any, NoReturn

import chainer
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.distributed.communicator import Communicator


class RanksOutOfStepError(RuntimeError):
    """Error for ranks that average a count at different points of the training."""


class PositiveCount:
    """Mean of the number of positives over the ranks of a communicator.

    The losses divide by this mean. ChainerMN's averaged gradients then equal the gradients of one
    process with the whole batch: mean over S ranks of (sum_r / (N / S)) = sum / N.

    The count is one float64 on a private duplicate of ``comm.mpi_comm``, so no other collective
    call of the program can receive it. A communicator without ``mpi_comm`` sums it by
    ``allreduce_obj``, which pickles and has no private duplicate.

    Each rank also sends its step and whether it trains or evaluates. If ranks differ, all of them
    raise the same error.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        All its ranks construct this object together, because duplicating is a collective call.

    Attributes
    ----------
    rank, size : int
        Those of ``comm``.
    step : int
        Number of updates done. :class:`chainer_ssd.MultiboxTrainChain` sets it before each loss.
    """

    _instances: weakref.WeakKeyDictionary[Any, PositiveCount] = weakref.WeakKeyDictionary()

    def __init__(self, comm: Communicator) -> None:
        self.rank, self.size, self.step = comm.rank, comm.size, 0
        mpi_comm = getattr(comm, 'mpi_comm', None)
        self._comm: Any = comm if mpi_comm is None else None
        self._mpi_comm: Any = None if mpi_comm is None else mpi_comm.Dup()
        self._local, self._sum = np.empty(3), np.empty(3)

    @classmethod
    def of(cls, comm: PositiveCount | Communicator) -> PositiveCount:
        """Return the ``PositiveCount`` of a communicator, and make it at the first call.

        Parameters
        ----------
        comm : PositiveCount or chainermn.CommunicatorBase
            All ranks make the first call together. A ``PositiveCount`` is returned as it is.

        Returns
        -------
        PositiveCount
            One object per communicator.
        """
        if isinstance(comm, PositiveCount):
            return comm
        if comm not in cls._instances:
            cls._instances[comm] = cls(comm)
        return cls._instances[comm]

    def mean(self, n_positive: Array) -> float:
        """Return the mean over ranks. A collective call: every rank makes it, even with 0.

        Parameters
        ----------
        n_positive : int or zero-dimensional array
            This rank's number of positives. A CuPy array costs one copy to the host.

        Returns
        -------
        float
            The mean, equal on all ranks.

        Raises
        ------
        RanksOutOfStepError
            On every rank, if the ranks are at different points of the training.
        """
        # All S ranks have the same s if and only if S Σ s² = (Σ s)² (Cauchy-Schwarz inequality).
        # float64 is exact here, because s² < 2⁴⁰.
        s = (2 * self.step + bool(chainer.config.train)) % 2**20
        n_positive = float(n_positive)
        local, total = self._local, self._sum
        local[0], local[1], local[2] = n_positive, s, s * s
        if self._mpi_comm is None:
            total = self._comm.allreduce_obj(local.copy())
        else:
            self._mpi_comm.Allreduce(local, total)  # mpi4py's default operation is MPI_SUM
        count, sum_s, sum_s2 = total.tolist()
        if self.size * int(sum_s2) != int(sum_s) ** 2:
            raise RanksOutOfStepError(self._describe_ranks())
        return count / self.size

    def _describe_ranks(self) -> str:
        # All ranks found the difference, so all of them make this second collective call.
        mode = 'training' if chainer.config.train else 'evaluation'
        local = [(self.rank, f'in {mode} after {self.step} updates')]
        states = (
            self._comm.allreduce_obj(local)
            if self._mpi_comm is None
            else sum(self._mpi_comm.allgather(local), [])
        )
        ranks: dict[str, list[int]] = {}
        for rank, state in sorted(states):
            ranks.setdefault(state, []).append(rank)
        return (
            'ranks are out of step: expected all to count the positives of one iteration, '
            'found ' + '; '.join(f'ranks {found} {state}' for state, found in ranks.items())
        )

    def __deepcopy__(self, memo: Any) -> PositiveCount:
        return self  # a copied model uses the same communicator

    def __reduce__(self) -> NoReturn:
        raise TypeError('PositiveCount holds an MPI communicator: it cannot be pickled')
