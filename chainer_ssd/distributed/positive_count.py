"""The number of positives, averaged over ranks."""

from __future__ import annotations

import copy
from typing import Any, Callable, NoReturn

import chainer

from chainer_ssd._array import Array
from chainer_ssd.distributed.communicator import Communicator
from chainer_ssd.distributed.rank_sum import RankSum, gather_privately

# Squares of 16 bits add up exactly in float64 for 2²¹ ranks. Three digits hold 2⁴⁸ updates.
DIGIT_BITS, N_STEP_DIGITS, N_BATCH_DIGITS = 16, 3, 2


class RanksOutOfStepError(RuntimeError):
    """Error for ranks that average a count at different points of the training."""


class PositiveCount:
    """Mean of the number of positives over the ranks of a communicator.

    The losses divide by this mean. ChainerMN's averaged gradients then equal the gradients of one
    process with the whole batch: mean over S ranks of (sum_r / (N / S)) = sum / N.

    Each rank also sends its step, and whether it trains or evaluates. If ranks differ, all of them
    raise the same error.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        Communicator of the run.
    step : callable, optional
        Function without arguments that returns the number of updates done, 0 <= step < 2**48.
        Default: only the modes are compared. Give it, and ranks at different iterations are found.
        :class:`chainer_ssd.MultiboxTrainChain` and :class:`chainer_ssd.links.SSDLossChain` do so
        if they get a communicator.

    Attributes
    ----------
    rank, size : int
        Those of ``comm``.

    Examples
    --------
    A training chain of your own asks before the model runs. The ranks then do not block each other
    between the forward and the backward pass::

        count = PositiveCount(comm, step=lambda: optimizer.t)
        with count.request((gt_mb_labels > 0).sum()) as normalizer:
            mb_locs, mb_confs = model(imgs)
        losses = multibox_loss(
            mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k, normalizer=normalizer
        )
    """

    def __init__(self, comm: Communicator, step: Callable[[], int] | None = None) -> None:
        self.rank, self.size = comm.rank, comm.size
        self._comm, self._step = comm, step

    @classmethod
    def of(cls, comm: PositiveCount | Communicator) -> PositiveCount:
        """Return the ``PositiveCount`` of a communicator.

        Parameters
        ----------
        comm : PositiveCount or chainermn.CommunicatorBase
            A ``PositiveCount`` is returned as it is.

        Returns
        -------
        PositiveCount
            It compares the modes of the ranks only, if it is a new one.
        """
        return comm if isinstance(comm, PositiveCount) else cls(comm)

    def request(self, n_positive: Array, batch_size: int | None = None) -> CountRequest:
        """Send this rank's count, and return the mean as a function. A collective call.

        Every rank makes this call, even with 0 positives. It does not block, as far as MPI allows.

        Parameters
        ----------
        n_positive : int or zero-dimensional array
            This rank's number of positives. A CuPy array costs one copy to the host.
        batch_size : int, optional
            Number of images of this rank, if it must be equal on all ranks. Default: it need not.

        Returns
        -------
        CountRequest
            Call it for the mean, or pass it to a loss as ``normalizer``.

        Raises
        ------
        ValueError
            If the step is out of range.
        """
        is_training = bool(chainer.config.train)
        step = 0 if self._step is None else int(self._step())
        if not 0 <= step < 1 << (DIGIT_BITS * N_STEP_DIGITS):
            raise ValueError(f'step() = {step}: expected a number of updates below 2**48')
        # All S ranks have the same s if and only if S Σ s² = (Σ s)² (Cauchy-Schwarz inequality).
        state = [
            int(is_training),
            *_digits(step, N_STEP_DIGITS),
            *_digits(batch_size or 0, N_BATCH_DIGITS),
        ]
        rank_sum = RankSum(self._comm, [float(n_positive), *state, *(s * s for s in state)])
        mode = 'training' if is_training else 'evaluation'
        place = f'in {mode}' + ('' if self._step is None else f' after {step} updates')
        return CountRequest(self._comm, rank_sum, len(state), place, batch_size)

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
        return self.request(n_positive)()

    def __deepcopy__(self, memo: Any) -> PositiveCount:
        # A copied model uses the same communicator, and its own number of updates.
        return PositiveCount(self._comm, copy.deepcopy(self._step, memo))

    def __reduce__(self) -> NoReturn:
        raise TypeError('PositiveCount holds an MPI communicator: it cannot be pickled')


class CountRequest(chainer.FunctionHook):
    """A mean over ranks that may still be under way. :meth:`PositiveCount.request` returns it.

    As a context manager around the model, it sends what can be sent after each function of the
    forward pass. Then the mean is there when the loss needs it.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        Communicator of the run.
    rank_sum : RankSum
        Sums of the counts, of the state and of the squares of the state.
    n_state : int
        Number of values of the state.
    place : str
        Step and mode of this rank, for messages.
    batch_size : int or None
        Number of images of this rank, if it must be equal on all ranks.
    """

    def __init__(
        self,
        comm: Communicator,
        rank_sum: RankSum,
        n_state: int,
        place: str,
        batch_size: int | None,
    ) -> None:
        self.name = f'{type(self).__name__} {id(self)}'  # Chainer allows one hook of each name
        self._comm, self._sum, self._n_state = comm, rank_sum, n_state
        self._place, self._batch_size = place, batch_size

    def forward_postprocess(self, function: Any, in_data: Any) -> None:
        """Send what can be sent, after a function of the model.

        Parameters
        ----------
        function : chainer.FunctionNode
            The function.
        in_data : tuple of arrays
            Its inputs.
        """
        self._sum.progress()

    def __call__(self) -> float:
        """Return the mean over ranks. Blocks until all ranks have sent their counts.

        Returns
        -------
        float
            The mean, equal on all ranks.

        Raises
        ------
        RanksOutOfStepError
            On every rank, if the ranks are at different points of the training.
        ValueError
            On every rank, if batch sizes were given and differ.
        """
        count, *sums = self._sum.total().tolist()
        first, second = sums[: self._n_state], sums[self._n_state :]
        size = self._comm.size
        if any(size * int(s2) != int(s) ** 2 for s, s2 in zip(first, second)):
            self._raise_difference()  # all ranks do, so it may call collectively
        return count / size

    def _raise_difference(self) -> NoReturn:
        # The ranks may be in different collective calls of the user's communicator.
        states = gather_privately(self._comm, (self._place, self._batch_size))
        places, batch_sizes = zip(*states)
        if len(set(places)) > 1:
            raise RanksOutOfStepError(
                'ranks are out of step: expected all to count the positives of one iteration, '
                f'found {_group_ranks(places)}'
            )
        images = [f'with {batch_size} images' for batch_size in batch_sizes]
        raise ValueError(
            f'the batches of the ranks differ: {_group_ranks(images)}. Expected equal ones, '
            "because ChainerMN's MultiNodeBatchNormalization gives all ranks the same weight. "
            'chainer_ssd.links.MultiNodeBatchNormalization weights them by their batches'
        )


def _digits(value: int, n_digit: int) -> list[int]:
    """Return the lowest digits of a number to the base 2 ** DIGIT_BITS."""
    return [value >> (DIGIT_BITS * i) & ((1 << DIGIT_BITS) - 1) for i in range(n_digit)]


def _group_ranks(texts: Any) -> str:
    ranks: dict[str, list[int]] = {}
    for rank, text in enumerate(texts):
        ranks.setdefault(text, []).append(rank)
    return '; '.join(f'ranks {found} {text}' for text, found in ranks.items())
