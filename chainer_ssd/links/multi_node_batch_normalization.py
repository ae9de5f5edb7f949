"""Batch normalization over the images of all ranks."""

from __future__ import annotations

from typing import Any, NoReturn

import chainer
import chainer.links as L

from chainer_ssd.distributed import Communicator
from chainer_ssd.functions import batch_normalization_over_ranks


class MultiNodeBatchNormalization(L.BatchNormalization):
    """Batch normalization with the mean and the variance of the batch of all ranks.

    Ranks count by their numbers of images, so their batches may differ, also without any image.
    Outputs, gradients and running averages equal those of :class:`chainer.links.BatchNormalization`
    in one process with the whole batch, up to rounding. In test mode both are the same.

    Parameters and persistent values have the names of that link, and of ChainerMN's link. So the
    weights of each can be loaded into the others.

    Parameters
    ----------
    size : int or tuple of ints
        Number of channels, or shape of the axes that follow the batch axis.
    comm : chainermn.CommunicatorBase
        Communicator of the run. In training mode every rank calls the link and its backward pass,
        also with an empty batch. A copy of the link has the same communicator.
    decay : float
        Decay of the running averages. Default: 0.9.
    eps : float
        Added to the variance. Default: 2e-5.
    dtype : dtype, optional
        Of the parameters. Default: ``chainer.config.dtype``, float32 for mixed16.
    use_gamma, use_beta : bool
        Whether the result is scaled and shifted. Default: True.
    initial_gamma, initial_beta : initializer, optional
        Initial values. Default: 1 and 0.

    Attributes
    ----------
    gamma, beta : chainer.Parameter or None
        Scale and shift. None without ``use_gamma`` or ``use_beta``.
    avg_mean, avg_var : float array
        Running averages, equal on all ranks.
    N : int
        Number of batches since ``start_finetuning``.
    comm : chainermn.CommunicatorBase
        As above.

    Notes
    -----
    ``chainermn.links.MultiNodeBatchNormalization`` gives each rank the same weight. Its mean is
    wrong if batches differ, and NaN if one is empty. Gradients follow ChainerMN's convention: those
    of ``gamma`` and ``beta`` are sums over this rank's images, which the optimizer averages. With a
    loss over the mean count of the ranks, the average is the gradient of the whole batch.

    A layer sums 2 C + 1 numbers over ranks in the forward pass, and again in the backward pass. On
    a GPU both sums go through the host. Double backpropagation raises ``NotImplementedError``.

    The running variance begins with 1, as in Chainer's link. In ChainerMN's link it begins with 0.
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        comm: Communicator,
        decay: float = 0.9,
        eps: float = 2e-5,
        dtype: Any = None,
        use_gamma: bool = True,
        use_beta: bool = True,
        initial_gamma: Any = None,
        initial_beta: Any = None,
    ) -> None:
        super().__init__(size, decay, eps, dtype, use_gamma, use_beta, initial_gamma, initial_beta)
        self._shared = _SharedCommunicator(comm)

    @property
    def comm(self) -> Communicator:
        """The communicator of the run."""
        return self._shared.comm

    def forward(self, x: Any, finetune: bool = False) -> chainer.Variable:
        """Normalize a batch.

        Parameters
        ----------
        x : chainer.Variable or float array of shape (B, C, ...)
            Batch of this rank. B may be 0.
        finetune : bool
            Whether the running averages become means over all batches since
            ``start_finetuning``. Default: False.

        Returns
        -------
        chainer.Variable
            Of the shape and dtype of ``x``.
        """
        if not chainer.config.train:
            return super().forward(x)
        decay, averages = self.decay, (self.avg_mean, self.avg_var)
        if chainer.config.in_recomputing:
            averages = None, None
        elif finetune:
            self.N += 1
            decay = 1 - 1 / self.N
        with chainer.using_device(self.device):
            gamma = self.xp.ones_like(self.avg_mean) if self.gamma is None else self.gamma
            beta = self.xp.zeros_like(self.avg_mean) if self.beta is None else self.beta
        return batch_normalization_over_ranks(x, gamma, beta, self.comm, self.eps, *averages, decay)


class _SharedCommunicator:
    """A communicator that copies of a link share, because MPI's cannot be copied."""

    def __init__(self, comm: Communicator) -> None:
        self.comm = comm

    def __deepcopy__(self, memo: Any) -> _SharedCommunicator:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            'MultiNodeBatchNormalization holds a communicator: it cannot be pickled. '
            'chainer.serializers saves its weights'
        )
