"""Which boxes contribute to the losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import check_choice, check_flag, check_integer, check_ratio
from chainer_ssd._validation import as_array
from chainer_ssd.functions.parts._part import Part
from chainer_ssd.functions.parts.batch import Batch
from chainer_ssd.functions.parts.confidence import background_loss
from chainer_ssd.ops import hard_example_mining, hard_negative_mining

#: No image has so many negatives for one positive.
_MAX_K = 2.0**53


def hard_negative_limit(n_positive: Array, n_negative: Array, k: float) -> Array:
    """Return the number of hard negatives of each image from its numbers of boxes.

    Parameters
    ----------
    n_positive : integer array of shape (B,)
        Number of positives of each image.
    n_negative : integer array of shape (B,)
        Number of background boxes of each image.
    k : float
        Negatives per positive.

    Returns
    -------
    int64 array of shape (B,)
        min(ceil(k · n_positive), n_negative). The product is a float64.

    Raises
    ------
    ValueError
        If ``k`` is negative, NaN or inf, or a count is negative.
    TypeError
        If a count is not an integer, or an array is masked.
    """
    check_ratio('k', k)
    n_positive = as_array(n_positive, 'n_positive', 'iu', 'integers')
    n_negative = as_array(n_negative, 'n_negative', 'iu', 'integers')
    xp = get_array_module(n_positive)
    if checks_values(xp) and not (xp.all(n_positive >= 0) and xp.all(n_negative >= 0)):
        raise ValueError('n_positive or n_negative is below 0: expected numbers of boxes')
    # A larger k selects all negatives, too. The product of a huge k would overflow.
    limit = xp.ceil(min(float(k), _MAX_K) * n_positive)
    return xp.minimum(limit, n_negative).astype('q')


def n_hard_negative(gt_mb_labels: Array, k: float) -> Array:
    """Return the number of hard negatives of each image. It depends on the labels only.

    Parameters
    ----------
    gt_mb_labels : integer array of shape (B, K)
        0 background, -1 ignored, else foreground.
    k : float
        Negatives per positive.

    Returns
    -------
    int64 array of shape (B,)
        min(ceil(k · n_i), number of background boxes of image i), where n_i is the number of
        positives.

    Raises
    ------
    ValueError
        If ``k`` is negative, NaN or inf, or the shape is not (B, K).
    TypeError
        If labels are not integers, or the array is masked.

    See Also
    --------
    hard_negative_limit : The same rule for counts.
    """
    gt_mb_labels = as_array(gt_mb_labels, 'gt_mb_labels', 'iu', 'integers')
    if gt_mb_labels.ndim != 2:
        raise ValueError(f'gt_mb_labels has shape {gt_mb_labels.shape}: expected (B, K)')
    n_positive = (gt_mb_labels > 0).sum(axis=1)
    n_negative = (gt_mb_labels == 0).sum(axis=1)
    return hard_negative_limit(n_positive, n_negative, k)


class HardNegative(Part):
    """The positives, and the negatives with the largest loss of each image.

    Image i with n_i positives has round(k · n_i) negatives, but at least ``minimum`` and at most
    ``cap``. Ties go to the lower index. NaN counts as the largest loss.

    Parameters
    ----------
    k : float
        Negatives per positive. Default: 3, as in the paper.
    rounding : {'ceil', 'floor'}
        How k · n_i becomes an integer. ChainerCV, ssd.pytorch and torchvision take ``'ceil'`` of a
        float64, Caffe and PaddlePaddle ``'floor'`` of a float32. Default: ``'ceil'``.
    minimum : int
        Negatives of each image, also of one without positives. TensorFlow's
        ``min_negatives_per_image`` and MXNet's ``minimum_negative_samples``. Default: 0.
    cap : int or None
        Largest number of negatives of an image. Default: no limit.
    by : {'background', 'own class'}
        Which loss ranks the negatives. ``'background'``: the softmax cross entropy with the
        background, without weights and smoothing, as in the paper. ``'own class'``: the confidence
        loss of the objective, weights and smoothing included. Both are equal for
        ``SoftmaxCrossEntropy()``. Default: ``'background'``.

    Raises
    ------
    ValueError, TypeError
        If an option is not valid.

    Notes
    -----
    Liu et al. (2016), section 2.2, "Hard negative mining". Weights of boxes have no effect on the
    rank.
    """

    def __init__(
        self,
        k: float = 3.0,
        rounding: str = 'ceil',
        minimum: int = 0,
        cap: int | None = None,
        by: str = 'background',
    ) -> None:
        self.k = check_ratio('k', k)
        self.rounding = check_choice('rounding', rounding, ('ceil', 'floor'))
        self.minimum = check_integer('minimum', minimum)
        self.cap = None if cap is None else check_integer('cap', cap)
        self.by = check_choice('by', by, ('background', 'own class'))

    def __call__(self, batch: Batch) -> tuple[Array, Array]:
        """Return the selected boxes.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.

        Returns
        -------
        positive, negative : bool arrays of shape (B, K)
            Boxes of both losses, and boxes of the confidence loss only.
        """
        if self.by == 'background':
            loss = background_loss(batch.mb_confs.array)
        else:
            loss = batch.confidence_loss()
        limit = self.count(batch.positive.sum(axis=1), batch.negative.sum(axis=1))
        return batch.positive, hard_negative_mining(loss, batch.positive, limit, batch.ignored)

    def count(self, n_positive: Array, n_negative: Array) -> Array:
        """Return the number of negatives of each image.

        Parameters
        ----------
        n_positive, n_negative : integer arrays of shape (B,)
            Numbers of positives and of background boxes of each image.

        Returns
        -------
        int64 array of shape (B,)
            At most ``n_negative``.
        """
        xp = get_array_module(n_positive)
        if self.rounding == 'ceil':
            limit = hard_negative_limit(n_positive, n_negative, self.k)
        else:
            # The float32 product of Caffe and PaddlePaddle. A larger k selects all, too.
            k = xp.float32(min(self.k, _MAX_K))
            limit = xp.minimum(xp.floor(k * n_positive.astype('f')), n_negative).astype('q')
        if self.minimum:
            limit = xp.minimum(xp.maximum(limit, self.minimum), n_negative)
        return limit if self.cap is None else xp.minimum(limit, self.cap)


class RandomNegative(Part):
    """The positives, and random negatives of each image, for comparison with hard ones.

    Parameters
    ----------
    k : float
        Negatives per positive. Image i has ceil(k · n_i) negatives. Default: 3.
    seed : int or None
        Of a generator of its own, which a snapshot does not save. None, the default: NumPy's global
        generator, which a snapshot saves.

    Raises
    ------
    ValueError
        If ``k`` is negative, NaN or inf.
    """

    def __init__(self, k: float = 3.0, seed: int | None = None) -> None:
        self.k = check_ratio('k', k)
        self._random: Any = np.random if seed is None else np.random.RandomState(seed)

    def __call__(self, batch: Batch) -> tuple[Array, Array]:
        """Return the selected boxes. See :class:`HardNegative`.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.

        Returns
        -------
        positive, negative : bool arrays of shape (B, K)
            Boxes of both losses, and boxes of the confidence loss only.
        """
        xp = get_array_module(batch.positive)
        loss = xp.asarray(self._random.random_sample(batch.positive.shape))
        limit = hard_negative_limit(batch.positive.sum(axis=1), batch.negative.sum(axis=1), self.k)
        return batch.positive, hard_negative_mining(loss, batch.positive, limit, batch.ignored)


class AllNegatives(Part):
    """All positives and all negatives, as focal loss needs them."""

    def __call__(self, batch: Batch) -> tuple[Array, Array]:
        """Return the selected boxes. See :class:`HardNegative`.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.

        Returns
        -------
        positive, negative : bool arrays of shape (B, K)
            Boxes of both losses, and boxes of the confidence loss only.
        """
        return batch.positive, batch.negative


class HardExample(Part):
    """The boxes with the largest loss of each image, positive or negative.

    A positive that is not selected is in neither loss.

    Parameters
    ----------
    sample_size : int
        Number of boxes of each image, at least 1.
    with_localization : bool
        Whether the rank uses the sum of both losses, as Caffe does. Default: the confidence loss
        alone.

    Raises
    ------
    ValueError, TypeError
        If an option is not valid.

    Notes
    -----
    Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining"
    (2016), without its suppression step, as in Caffe and in Paddle's operator. Weights of boxes
    and ``alpha`` have no effect on the rank. Those of classes have.
    """

    def __init__(self, sample_size: int, with_localization: bool = False) -> None:
        self.sample_size = check_integer('sample_size', sample_size, 1)
        check_flag('with_localization', with_localization)
        self.with_localization = with_localization

    def __call__(self, batch: Batch) -> tuple[Array, Array]:
        """Return the selected boxes. See :class:`HardNegative`.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.

        Returns
        -------
        positive, negative : bool arrays of shape (B, K)
            Boxes of both losses, and boxes of the confidence loss only.
        """
        loss = batch.confidence_loss()
        if self.with_localization:
            loss = loss + batch.localization_loss()
        loss[batch.ignored] = -get_array_module(loss).inf
        selected = hard_example_mining(loss, self.sample_size)
        return batch.positive & selected, batch.negative & selected
