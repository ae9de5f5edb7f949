"""Localization losses of offsets."""

from __future__ import annotations

import chainer
import chainer.functions as F

from chainer_ssd._array import Array
from chainer_ssd._options import check_positive_number
from chainer_ssd.functions.parts._part import Part


class SmoothL1(Part):
    """Smooth L1 loss, also called Huber loss.

    Let d be the absolute difference from the target. An offset has the loss d² / (2 β) for d < β,
    and d − β / 2 otherwise. A box has the sum over its four offsets.

    Parameters
    ----------
    beta : float
        Difference β at which the loss becomes linear. Default: 1, as in the paper.

    Raises
    ------
    ValueError
        If ``beta`` is not a finite positive number.

    Notes
    -----
    Girshick, "Fast R-CNN" (2015), equation 3, with β = 1. MMDetection and torchvision call the
    parameter beta. The Huber loss with δ = β is β times this loss.
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = float(check_positive_number('beta', beta))

    def __call__(self, x: chainer.Variable, t: Array, box: Array | None = None) -> chainer.Variable:
        """Return the loss of each row.

        Parameters
        ----------
        x : chainer.Variable of shape (N, 4)
            Predicted offsets.
        t : float array of shape (N, 4)
            Target offsets.
        box : int array of shape (N,), optional
            Not used.

        Returns
        -------
        chainer.Variable of shape (N,)
            Sums over the four offsets.
        """
        t = t.astype(x.dtype, copy=False)
        if self.beta == 1:
            return F.huber_loss(x, t, 1)
        # β · huber((x − t) / β) with δ = 1
        return self.beta * F.huber_loss(x / self.beta, t / x.dtype.type(self.beta), 1)


class L2(Part):
    """Half of the squared difference from the target offsets, summed over the four offsets.

    The loss of a box is Σ d² / 2.

    Notes
    -----
    Caffe's ``loc_loss_type: L2``, whose ``EuclideanLoss`` halves the sum.
    """

    def __call__(self, x: chainer.Variable, t: Array, box: Array | None = None) -> chainer.Variable:
        """Return the loss of each row. Arguments as those of :class:`SmoothL1`.

        Parameters
        ----------
        x : chainer.Variable of shape (N, 4)
            Predicted offsets.
        t : float array of shape (N, 4)
            Target offsets.
        box : int array of shape (N,), optional
            Not used.

        Returns
        -------
        chainer.Variable of shape (N,)
            One loss per row.
        """
        return F.sum(F.square(x - t.astype(x.dtype, copy=False)), axis=1) / 2
