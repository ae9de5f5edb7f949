"""What the parts of an objective see of a batch."""

from __future__ import annotations

from typing import Any, Callable

import chainer
import chainer.functions as F

from chainer_ssd._array import Array, get_array_module


def as_rows(array: Array) -> Array:
    """Return an array with one row per box, image by image.

    Parameters
    ----------
    array : array of shape (B, K, D)
        Values of each box.

    Returns
    -------
    array of shape (B · K, D)
        A copy only if ``array`` is not contiguous.
    """
    return array.reshape(-1, array.shape[2])


def select_rows(x: chainer.Variable, mask: Array) -> chainer.Variable:
    """Return the rows of predictions where a mask is True, at least float32.

    Parameters
    ----------
    x : chainer.Variable of shape (B, K, D)
        Predictions.
    mask : bool array of shape (B, K)
        Rows to select, N of them.

    Returns
    -------
    chainer.Variable of shape (N, D)
        The gradient is 0 in rows that are not selected, even if they hold NaN.
    """
    xp = get_array_module(mask)
    rows = F.reshape(x, (mask.size, x.shape[2]))[xp.flatnonzero(mask)]
    return F.cast(rows, xp.promote_types(x.dtype, 'f'))


class Batch:
    """Predictions and targets of a batch, for the parts of an objective.

    Parameters
    ----------
    mb_locs, mb_confs : chainer.Variable
        Predictions of shape (B, K, 4) and (B, K, C).
    gt_mb_locs : float array of shape (B, K, 4)
        Target offsets.
    gt_mb_labels : integer array of shape (B, K), or float array of shape (B, K, C)
        Target classes, 0 for background and -1 for ignored boxes. Or the share of each class. A
        row of zeros is ignored.
    localization, confidence : callable
        The losses of rows, see :class:`chainer_ssd.functions.MultiboxObjective`.

    Attributes
    ----------
    positive, negative, ignored : bool arrays of shape (B, K)
        What each box is before mining. Each box is one of them.
    """

    def __init__(
        self,
        mb_locs: chainer.Variable,
        mb_confs: chainer.Variable,
        gt_mb_locs: Array,
        gt_mb_labels: Array,
        localization: Callable[..., chainer.Variable],
        confidence: Callable[..., chainer.Variable],
    ) -> None:
        self.mb_locs, self.mb_confs = mb_locs, mb_confs
        self.gt_mb_locs, self.gt_mb_labels = gt_mb_locs, gt_mb_labels
        self._localization, self._confidence = localization, confidence
        if gt_mb_labels.ndim == 3:
            self.positive = (gt_mb_labels[:, :, 1:] > 0).any(axis=2)
            self.negative = ~self.positive & (gt_mb_labels[:, :, 0] > 0)
        else:
            self.positive = gt_mb_labels > 0
            self.negative = gt_mb_labels == 0
        self.ignored = ~(self.positive | self.negative)

    def localization_rows(self, mask: Array) -> chainer.Variable:
        """Return the localization loss of the selected boxes.

        Parameters
        ----------
        mask : bool array of shape (B, K)
            Positives, N of them.

        Returns
        -------
        chainer.Variable of shape (N,)
            At least float32.
        """
        box = get_array_module(mask).nonzero(mask)[1]
        return self._localization(select_rows(self.mb_locs, mask), self.gt_mb_locs[mask], box)

    def confidence_rows(self, mask: Array) -> chainer.Variable:
        """Return the confidence loss of the selected boxes.

        Parameters
        ----------
        mask : bool array of shape (B, K)
            Boxes that are not ignored, N of them.

        Returns
        -------
        chainer.Variable of shape (N,)
            At least float32.
        """
        rows = select_rows(self.mb_confs, mask)
        if not len(mask):  # without images, the logits may have another number of columns
            return F.sum(rows, axis=1)
        return self._confidence(rows, self.gt_mb_labels[mask])

    def localization_loss(self) -> Array:
        """Return the localization loss of each box, without gradients.

        Returns
        -------
        float array of shape (B, K)
            0 where a box is not positive.
        """
        return self._without_gradients(self.localization_rows, self.positive)

    def confidence_loss(self) -> Array:
        """Return the confidence loss of each box with its own class, without gradients.

        Returns
        -------
        float array of shape (B, K)
            0 where a box is ignored.
        """
        return self._without_gradients(self.confidence_rows, ~self.ignored)

    def _without_gradients(
        self, function: Callable[[Array], chainer.Variable], mask: Array
    ) -> Array:
        with chainer.no_backprop_mode():
            rows = function(mask).array
        loss: Any = get_array_module(mask).zeros(mask.shape, rows.dtype)
        loss[mask] = rows
        return loss
