"""The number of positives, averaged over ranks."""

import weakref

import chainer
import numpy as np


class RanksOutOfStepError(RuntimeError):
    """Ranks asked for the mean of a count at different points of the training."""


class PositiveCount:
    """Averages the number of positives over the ranks of a communicator.

    With the mean as normaliser, ChainerMN's averaged gradients are the single-process gradients of
    the whole batch: mean over S ranks of (sum_r / (N / S)) = sum / N.

    The count travels as float64 on a private duplicate of ``comm.mpi_comm``, so that no other
    collective of the program can be mistaken for it. A communicator without ``mpi_comm`` is asked
    for ``allreduce_obj`` instead, which pickles and shares the communicator with everybody else.

    With the count travels where in the training the rank is: ``step``, and whether it trains or
    evaluates. Ranks that differ exchange no wrong number but end alike.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        All its ranks must construct this together: duplicating is a collective call.

    Attributes
    ----------
    rank, size : int
        As of ``comm``.
    step : int
        Updates done; :class:`chainer_ssd.MultiboxTrainChain` sets it before every loss.
    """

    _of = weakref.WeakKeyDictionary()

    def __init__(self, comm):
        self.rank, self.size, self.step = comm.rank, comm.size, 0
        mpi_comm = getattr(comm, 'mpi_comm', None)
        self._comm = comm if mpi_comm is None else None
        self._mpi_comm = None if mpi_comm is None else mpi_comm.Dup()
        self._local, self._sum = np.empty(3), np.empty(3)

    @classmethod
    def of(cls, comm):
        """The ``PositiveCount`` of ``comm``: itself, or made at first use and kept.

        Parameters
        ----------
        comm : PositiveCount or chainermn.CommunicatorBase
            All ranks must ask for the first time together.

        Returns
        -------
        PositiveCount
            One for each communicator.
        """
        if isinstance(comm, cls):
            return comm
        if comm not in cls._of:
            cls._of[comm] = cls(comm)
        return cls._of[comm]

    def mean(self, n_positive):
        """Averages over ranks. A collective call: every rank makes it, whatever its count.

        Parameters
        ----------
        n_positive : int or zero-dimensional array
            This rank's number of positives; a CuPy array costs one copy to the host.

        Returns
        -------
        float
            The mean over ranks, the same on each.

        Raises
        ------
        RanksOutOfStepError
            On every rank, if they are not at the same point of the training.
        """
        # Equal s on all S ranks: S Σ s² = (Σ s)² (Cauchy and Schwarz), exact as s² < 2⁴⁰.
        s = (2 * self.step + bool(chainer.config.train)) % 2**20
        n_positive = float(n_positive)
        local, total = self._local, self._sum
        local[0], local[1], local[2] = n_positive, s, s * s
        if self._mpi_comm is None:
            total = self._comm.allreduce_obj(local.copy())
        else:
            self._mpi_comm.Allreduce(local, total)  # MPI_SUM is mpi4py's default
        count, sum_s, sum_s2 = total.tolist()
        if self.size * int(sum_s2) != int(sum_s) ** 2:
            raise RanksOutOfStepError(self._out_of_step())
        return count / self.size

    def _out_of_step(self):
        # All ranks come here together: one more collective tells each where the others are.
        doing = 'training' if chainer.config.train else 'evaluation'
        place = [(self.rank, f'in {doing} after {self.step} updates')]
        places = (
            self._comm.allreduce_obj(place)
            if self._mpi_comm is None
            else sum(self._mpi_comm.allgather(place), [])
        )
        ranks = {}
        for rank, place in sorted(places):
            ranks.setdefault(place, []).append(rank)
        return (
            'ranks are out of step: expected all to count the positives of one iteration, '
            'found ' + '; '.join(f'ranks {found} {place}' for place, found in ranks.items())
        )

    def __deepcopy__(self, memo):
        return self  # a copied model speaks on the same communicator

    def __reduce__(self):
        raise TypeError('PositiveCount holds an MPI communicator: it cannot be pickled')
