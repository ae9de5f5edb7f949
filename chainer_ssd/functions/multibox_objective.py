"""The SSD training objective, made of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import chainer
import chainer.functions as F

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import check_choice, check_ratio, short_repr
from chainer_ssd.functions._argument_checks import (
    as_target,
    as_variable,
    check_box_weight,
    check_communicator,
    check_predictions,
    check_shares,
    check_targets,
)
from chainer_ssd.functions._fused.dispatch import node_serves
from chainer_ssd.functions._fused.node import FusedMultiboxLoss
from chainer_ssd.functions._normalizer import choose_normalizer
from chainer_ssd.functions._presets import choose_parts
from chainer_ssd.functions.parts.batch import Batch
from chainer_ssd.functions.parts.confidence import SoftmaxCrossEntropy
from chainer_ssd.functions.parts.localization import SmoothL1
from chainer_ssd.functions.parts.mining import HardNegative
from chainer_ssd.functions.parts.normalizers import MatchesAfterMining, Positives


class SelectedLosses(NamedTuple):
    """The losses of the boxes that an objective selects, not divided and without ``alpha``."""

    #: chainer.Variable of shape (B, K): 0 outside of ``positive``.
    loc_loss: Any
    #: chainer.Variable of shape (B, K): 0 outside of ``positive`` and ``negative``.
    conf_loss: Any
    #: bool array of shape (B, K): boxes of both losses.
    positive: Any
    #: bool array of shape (B, K): boxes of the confidence loss only.
    negative: Any


class MultiboxObjective:
    """The localization and confidence loss of SSD, with a free choice of each part.

    The default is :func:`chainer_ssd.multibox_loss` with k = 3. An own part is any object with the
    call that is described here.

    Parameters
    ----------
    localization : callable
        ``localization(x, t, box)`` returns the loss (N,) of predicted offsets x, a
        chainer.Variable of shape (N, 4), with targets t (N, 4). ``box`` (N,) numbers their default
        boxes. Default: ``SmoothL1()``.
    confidence : callable
        ``confidence(x, t)`` returns the loss (N,) of logits x, a chainer.Variable of shape (N, C).
        t is the column of the class (N,), or the share of each class (N, C). Default:
        ``SoftmaxCrossEntropy()``.
    mining : callable
        ``mining(batch)`` returns two masks (B, K), see :class:`chainer_ssd.functions.Batch`. The
        first has the boxes of both losses, and the second those of the confidence loss only.
        Neither may have ignored boxes. Default: ``HardNegative(3)``.
    normalizer : object, float or callable
        Its method ``count(batch, positive, negative)`` returns this rank's share of the divisor.
        A number is the divisor itself. So is the result of a callable without arguments, such as
        that of :meth:`chainer_ssd.distributed.PositiveCount.request`. 1 means no division.
        Default: ``Positives()``.
    alpha : float
        Weight of the localization loss, at least 0. Default: 1.
    reduce : {'mean', 'sum', 'box'}
        ``'mean'`` sums over the boxes and divides, ``'sum'`` only sums. ``'box'`` returns
        :class:`chainer_ssd.functions.SelectedLosses`. Default: ``'mean'``.

    Raises
    ------
    ValueError
        If ``alpha`` or ``reduce`` is not valid, or a number ``normalizer`` is negative, NaN or inf.
    TypeError
        If a part is not callable.

    Notes
    -----
    Liu et al., "SSD: Single Shot MultiBox Detector" (2016), equations 1 to 3. ``like`` has the
    choices of other libraries.

    Examples
    --------
    Focal loss of all boxes, and generalized IoU for the boxes.

    >>> import numpy as np
    >>> from chainer_ssd.functions import AllNegatives, FocalLoss, IoULoss, MultiboxObjective
    >>> default_bbox = np.array([[8, 8, 8, 8], [8, 24, 8, 8]], np.float32)
    >>> objective = MultiboxObjective(
    ...     IoULoss('giou', default_bbox), FocalLoss(), AllNegatives(), alpha=2)
    >>> mb_locs, mb_confs = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 3), np.float32)
    >>> loc_loss, conf_loss = objective(mb_locs, mb_confs, mb_locs, np.array([[1, 0]]))
    >>> round(float(loc_loss.array), 4), round(float(conf_loss.array), 4)
    (0.0, 0.4883)
    """

    def __init__(
        self,
        localization: Callable[..., chainer.Variable] | None = None,
        confidence: Callable[..., chainer.Variable] | None = None,
        mining: Callable[[Batch], tuple[Array, Array]] | None = None,
        normalizer: Any = None,
        alpha: float = 1.0,
        reduce: str = 'mean',
    ) -> None:
        self.localization: Any = SmoothL1() if localization is None else localization
        self.confidence: Any = SoftmaxCrossEntropy() if confidence is None else confidence
        self.mining: Any = HardNegative() if mining is None else mining
        self.normalizer: Any = Positives() if normalizer is None else normalizer
        for name in ('localization', 'confidence', 'mining'):
            if not callable(getattr(self, name)):
                raise TypeError(f'{name} = {short_repr(getattr(self, name))}: expected a callable')
        if not _counts(self.normalizer):
            choose_normalizer(None, self.normalizer)
        self.alpha = float(check_ratio('alpha', alpha))
        self.reduce = check_choice('reduce', reduce, ('mean', 'sum', 'box'))

    @classmethod
    def like(cls, peer: str, **options: Any) -> MultiboxObjective:
        """Return the objective of another library.

        Targets come from :func:`chainer_ssd.match` and :func:`chainer_ssd.encode`, whose options
        the page :doc:`/explanation/peers` lists for each library.

        Parameters
        ----------
        peer : {'chainercv', 'paddle', 'caffe', 'ssd.pytorch', 'torchvision', 'mxnet', 'gluoncv', \
'mmdet', 'tensorflow'}
            The library.
        **options
            Options of the library by its own names, in lower case. Default: those of the library.

            ================= ==================================================================
            library           options
            ================= ==================================================================
            ``'chainercv'``   ``k``
            ``'paddle'``      ``neg_pos_ratio``, ``mining_type`` ('max_negative' only),
                              ``normalize``, ``loc_loss_weight``, ``box_normalized`` (True only)
            ``'caffe'``       ``neg_pos_ratio``, ``mining_type`` ('max_negative', 'hard_example',
                              'none'), ``sample_size``, ``loc_loss_type`` ('smooth_l1', 'l2'),
                              ``conf_loss_type`` ('softmax', 'logistic'), ``normalization``
                              ('valid', 'batch_size', 'full', 'none'), ``loc_weight``,
                              ``share_location`` (True only)
            ``'ssd.pytorch'`` ``neg_pos``
            ``'torchvision'`` ``neg_to_pos_ratio``. Positives are counted once
            ``'mxnet'``       ``negative_mining_ratio``, ``minimum_negative_samples``. The result
                              is not divided, because MXNet's example divides each loss by a
                              count of its own
            ``'gluoncv'``     ``negative_mining_ratio``, ``rho``, ``lambd``, ``min_hard_negatives``
            ``'mmdet'``       ``neg_pos_ratio``, ``smoothl1_beta``
            ``'tensorflow'``  ``classification_loss`` ('weighted_sigmoid', 'weighted_softmax'),
                              ``normalize_loss_by_num_matches``, ``localization_weight``. Its
                              ``hard_example_miner`` is refused
            ================= ==================================================================

        Returns
        -------
        MultiboxObjective
            With the parts of the library.

        Raises
        ------
        ValueError
            If the library is unknown, or it cannot do what an option asks for.
        TypeError
            If the library has no such option.

        Examples
        --------
        >>> from chainer_ssd.functions import MultiboxObjective
        >>> MultiboxObjective.like('mmdet').normalizer
        PositivesOfImages()
        """
        return cls(**choose_parts(peer, options))

    def __call__(
        self,
        mb_locs: chainer.Variable | Array,
        mb_confs: chainer.Variable | Array,
        gt_mb_locs: Array,
        gt_mb_labels: Array,
        comm: Any = None,
        box_weight: Array | None = None,
        *,
        normalizer: Any = None,
    ) -> Any:
        """Return the losses of a batch.

        Parameters
        ----------
        mb_locs : chainer.Variable or float array of shape (B, K, 4)
            Predicted offsets (dy, dx, dh, dw).
        mb_confs : chainer.Variable or float array of shape (B, K, C)
            Predicted class logits, background first, in the dtype of ``mb_locs``.
        gt_mb_locs : float array of shape (B, K, 4)
            Target offsets. Only rows of positives are used.
        gt_mb_labels : integer array of shape (B, K), or float array of shape (B, K, C)
            0 background, -1 ignored, 1 ... C - 1 foreground. Or the share of each class, as mixup
            makes them. A box with a share of a foreground class is positive, and a row of zeros is
            ignored.
        comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
            Averages the divisor over ranks. Then ChainerMN's averaged gradients equal the gradients
            of one process on the whole batch. Every rank must call. Default: one process.
        box_weight : float array of shape (B, K), or None
            Weight of each box in both losses, at least 0. It changes neither the mining nor the
            divisor. Default: all 1.
        normalizer : float, callable or None
            Replaces the divisor for this call, as in :func:`chainer_ssd.multibox_loss`.

        Returns
        -------
        loc_loss, conf_loss : chainer.Variable, scalars
            Their sum is the loss to train on, because ``loc_loss`` contains ``alpha``. If the
            divisor is 0, both are 0 and connected to the predictions. With ``reduce='box'``:
            :class:`chainer_ssd.functions.SelectedLosses`.

        Raises
        ------
        ValueError, TypeError
            As :func:`chainer_ssd.multibox_loss`. Also if ``box_weight`` or a share of a class is
            negative or not finite, or a mask of ``mining`` has an ignored box.
        """
        mb_locs, mb_confs = as_variable(mb_locs, 'mb_locs'), as_variable(mb_confs, 'mb_confs')
        gt_mb_locs = as_target(gt_mb_locs, 'gt_mb_locs')
        gt_mb_labels = as_target(gt_mb_labels, 'gt_mb_labels')
        check_communicator(comm)
        check_predictions(mb_locs.array, mb_confs.array, gt_mb_labels.shape[:2], comm)
        count = self._choose_count(comm, normalizer)
        not_background = None
        if gt_mb_labels.ndim == 3:
            check_shares(gt_mb_locs, gt_mb_labels, mb_confs.shape[2], comm)
        else:
            not_background = check_targets(gt_mb_locs, gt_mb_labels, mb_confs.shape[2], comm)
        if box_weight is not None:
            box_weight = check_box_weight(box_weight, mb_confs.shape[:2], comm)

        parts_fit = self._node_may_serve(normalizer, gt_mb_labels, box_weight)
        with chainer.using_device(chainer.backend.get_device_from_array(gt_mb_labels)):
            if node_serves(
                mb_locs.array,
                mb_confs.array,
                gt_mb_locs,
                gt_mb_labels,
                parts_fit=parts_fit,
                is_plain=parts_fit and self._is_plain(),
            ):
                loc_loss, conf_loss = FusedMultiboxLoss(
                    gt_mb_locs,
                    gt_mb_labels,
                    not_background,
                    self.mining.k,
                    count,
                    self.localization,
                    self.confidence,
                ).apply((mb_locs, mb_confs))
                return self._weight(loc_loss), conf_loss
            # The definition. The node computes the same.
            batch = Batch(
                mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, self.localization, self.confidence
            )
            return self._run_definition(batch, count, box_weight)

    @property
    def divides_by_positives(self) -> bool:
        """Whether the labels alone determine the divisor: the number of positives."""
        return type(self.normalizer) is Positives and not self.normalizer.minimum

    def _choose_count(self, comm: Any, normalizer: Any) -> Callable[[Any], Any] | None:
        """Return a function of this rank's count that returns the divisor, or None: the count."""
        if normalizer is None and not _counts(self.normalizer):
            normalizer = self.normalizer
        count = choose_normalizer(comm, normalizer)
        smallest = getattr(self.normalizer, 'minimum', 0) if normalizer is None else 0
        if not smallest:
            return count
        smallest /= 1 if comm is None else comm.size
        return lambda n: max(float(n if count is None else count(n)), smallest)

    def select(
        self, batch: Batch, count: Callable[[Any], Any] | None
    ) -> tuple[Array, Array, float]:
        """Return the boxes that contribute to the losses, and the divisor.

        Parameters
        ----------
        batch : Batch
            Predictions and targets.
        count : callable or None
            Returns the divisor for this rank's count. None: the count itself.

        Returns
        -------
        positive, negative : bool arrays of shape (B, K)
            Boxes of both losses, and boxes of the confidence loss only. None, if the divisor is 0.
        divisor : float
            Above 0.
        """
        positive, negative = self._mine(batch)
        part = self.normalizer
        n = part.count(batch, positive, negative) if _counts(part) else positive.sum()
        divisor = float(n if count is None else count(n))
        if divisor == 0:
            return positive & False, negative & False, 1.0
        return positive, negative, divisor

    def _mine(self, batch: Batch) -> tuple[Array, Array]:
        if not len(batch.positive):  # also without the columns that the parts expect
            return batch.positive, batch.negative
        positive, negative = self.mining(batch)
        xp = get_array_module(positive)
        if checks_values(xp) and (batch.ignored & (positive | negative)).any():
            raise ValueError(
                f'mining = {short_repr(self.mining)} has selected an ignored box: expected masks '
                'without batch.ignored'
            )
        return positive, negative

    def _run_definition(
        self, batch: Batch, count: Callable[[Any], Any] | None, box_weight: Array | None
    ) -> Any:
        if self.reduce == 'mean':
            positive, negative, divisor = self.select(batch, count)
        else:
            (positive, negative), divisor = self._mine(batch), 1.0
        selected = positive | negative
        loc_loss = batch.localization_rows(positive)
        conf_loss = batch.confidence_rows(selected)
        if box_weight is not None:
            loc_loss = loc_loss * box_weight[positive].astype(loc_loss.dtype)
            conf_loss = conf_loss * box_weight[selected].astype(conf_loss.dtype)
        if self.reduce == 'box':
            return SelectedLosses(
                _scatter(loc_loss, positive), _scatter(conf_loss, selected), positive, negative
            )
        return self._weight(F.sum(loc_loss) / divisor), F.sum(conf_loss) / divisor

    def _weight(self, loc_loss: chainer.Variable) -> chainer.Variable:
        return loc_loss if self.alpha == 1 else self.alpha * loc_loss

    def _node_may_serve(
        self, normalizer: Any, gt_mb_labels: Array, box_weight: Array | None
    ) -> bool:
        """Return whether the node computes what the parts define."""
        mining = self.mining
        return (
            self.reduce == 'mean'
            and box_weight is None
            and gt_mb_labels.ndim == 2
            and type(self.localization) is SmoothL1
            and type(self.confidence) is SoftmaxCrossEntropy
            and type(mining) is HardNegative
            and (mining.rounding, mining.minimum, mining.cap, mining.by)
            == ('ceil', 0, None, 'background')
            and (
                normalizer is not None
                or not _counts(self.normalizer)
                or type(self.normalizer) in (Positives, MatchesAfterMining)
            )
            # Without images, the logits may have another number of columns than there are weights.
            and (len(gt_mb_labels) > 0 or self._is_plain())
        )

    def _is_plain(self) -> bool:
        """Return whether the losses are those of the paper, the only ones of the CUDA kernels."""
        return (
            self.localization.beta == 1
            and self.confidence.class_weight is None
            and not self.confidence.label_smoothing
        )


def _counts(normalizer: Any) -> bool:
    """Return whether a normalizer is a part, and not a divisor."""
    return hasattr(normalizer, 'count') and not isinstance(normalizer, (str, Sequence))


def _scatter(rows: chainer.Variable, mask: Array) -> chainer.Variable:
    """Return one loss per box (B, K), 0 where the mask is False."""
    xp = get_array_module(mask)
    zeros = xp.zeros(mask.size, rows.dtype)
    return F.reshape(F.scatter_add(zeros, xp.flatnonzero(mask), rows), mask.shape)
