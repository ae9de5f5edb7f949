"""What an objective divides by.

Each class counts something of this rank's batch. Under MPI the objective takes the mean of the
counts over ranks. Then ChainerMN's averaged gradients equal the gradients of the whole batch.
"""

from __future__ import annotations

from typing import Any

from chainer_ssd._array import Array
from chainer_ssd._options import check_integer
from chainer_ssd.functions.parts._part import Part
from chainer_ssd.functions.parts.batch import Batch


class Positives(Part):
    """The number of positives of the batch before mining, as in the paper.

    Parameters
    ----------
    minimum : int
        Smallest divisor of the whole batch. With 1, a batch without positives still trains the
        selected negatives, as in torchvision. Default: 0, so that its losses are 0.

    Raises
    ------
    ValueError, TypeError
        If ``minimum`` is no integer of at least 0.
    """

    def __init__(self, minimum: int = 0) -> None:
        self.minimum = check_integer('minimum', minimum)

    def count(self, batch: Batch, positive: Array, negative: Array) -> Any:
        """Return the number of this batch.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.
        positive, negative : bool arrays of shape (B, K)
            Boxes after mining.

        Returns
        -------
        int or integer array of shape ()
            The number. The objective applies ``minimum`` to the whole batch.
        """
        return batch.positive.sum()


class MatchesAfterMining(Part):
    """The number of positives that remain after mining, as in Caffe and PaddlePaddle."""

    def count(self, batch: Batch, positive: Array, negative: Array) -> Any:
        """Return the number of this batch. See :class:`Positives`.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.
        positive, negative : bool arrays of shape (B, K)
            Boxes after mining.

        Returns
        -------
        int or integer array of shape ()
            The number.
        """
        return positive.sum()


class PositivesOfImages(Part):
    """The sum of max(1, n_i) over the images, as in MMDetection. n_i counts positives."""

    def count(self, batch: Batch, positive: Array, negative: Array) -> Any:
        """Return the number of this batch. See :class:`Positives`.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.
        positive, negative : bool arrays of shape (B, K)
            Boxes after mining.

        Returns
        -------
        int or integer array of shape ()
            The number.
        """
        return batch.positive.sum(axis=1).clip(1).sum()


class Images(Part):
    """The number of images, as Caffe's ``BATCH_SIZE``."""

    def count(self, batch: Batch, positive: Array, negative: Array) -> Any:
        """Return the number of this batch. See :class:`Positives`.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.
        positive, negative : bool arrays of shape (B, K)
            Boxes after mining.

        Returns
        -------
        int
            The number.
        """
        return batch.positive.shape[0]


class Boxes(Part):
    """The number of default boxes of all images, as Caffe's ``FULL``."""

    def count(self, batch: Batch, positive: Array, negative: Array) -> Any:
        """Return the number of this batch. See :class:`Positives`.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.
        positive, negative : bool arrays of shape (B, K)
            Boxes after mining.

        Returns
        -------
        int
            The number.
        """
        return batch.positive.size
