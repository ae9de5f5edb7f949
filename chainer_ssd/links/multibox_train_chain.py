"""A detector with its objective, ready for a Chainer Updater."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F

from chainer_ssd._array import Array
from chainer_ssd._options import check_ratio
from chainer_ssd.functions import HardNegative, MultiboxObjective
from chainer_ssd.links._count_before_model import communicates, counting, create_count


class MultiboxTrainChain(chainer.Chain):
    """Training chain of a model: ``alpha · loc_loss + conf_loss``.

    It reports ``loss``, ``loss/loc`` and ``loss/conf``. It also reports ``n_positive`` and
    ``n_hard_negative`` of this rank's batch.

    Parameters
    ----------
    model : chainer.Link
        ``model(imgs)`` returns ``mb_locs`` (B, K, 4) and ``mb_confs`` (B, K, C).
    alpha : float
        Weight of the localization loss (the paper's α).
    k : float
        Number of hard negatives per positive.
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the number of positives over ranks, see :func:`chainer_ssd.multibox_loss`. The
        chain sends the number before the model runs, so ranks do not block each other between the
        forward and the backward pass. It also compares the numbers of updates of the ranks, and
        all raise the same error if they differ. Default: one process.
    objective : chainer_ssd.functions.MultiboxObjective or None
        Replaces ``k`` and the parts of the loss. If its divisor is not the number of positives,
        the ranks block each other in the loss. ``n_hard_negative`` is reported only if its mining
        is ``HardNegative``. Default: ``MultiboxObjective(mining=HardNegative(k))``.

    Attributes
    ----------
    comm : chainer_ssd.distributed.PositiveCount or None
        The count over ranks.

    Raises
    ------
    ValueError
        If ``alpha`` or ``k`` is negative, NaN or inf. If ``objective`` does not reduce by
        ``'mean'``, or is given with a ``k`` other than the default.
    """

    def __init__(
        self,
        model: chainer.Link,
        alpha: float = 1,
        k: float = 3,
        comm: Any = None,
        objective: MultiboxObjective | None = None,
    ) -> None:
        check_ratio('alpha', alpha)
        if objective is None:
            objective = MultiboxObjective(mining=HardNegative(k))
        elif k != 3:
            raise ValueError(f'k = {k!r} has no effect with objective: expected one of them')
        elif objective.reduce != 'mean':
            raise ValueError(f"objective has reduce = {objective.reduce!r}: expected 'mean'")
        super().__init__()
        self.alpha, self.objective = alpha, objective
        self.comm = create_count(comm, self)
        with self.init_scope():
            self.model = model

    def forward(
        self, imgs: Any, gt_mb_locs: Array, gt_mb_labels: Array, normalizer: Any = None
    ) -> chainer.Variable:
        """Return the loss of a batch.

        Parameters
        ----------
        imgs : float32 array of shape (B, 3, H, W)
            Images. Without images (B = 0) the loss is 0 and connected to every parameter. This rank
            still takes part in the count of positives. The model runs only if one of its links has
            a communicator ``comm``, as ``MultiNodeBatchNormalization`` has.
        gt_mb_locs : float32 array of shape (B, K, 4)
            Target offsets.
        gt_mb_labels : int32 array of shape (B, K)
            0 background, -1 ignored, else foreground.
        normalizer : float, callable or None
            Replaces the number of positives, see :func:`chainer_ssd.multibox_loss`. Give it if the
            batch is a part of a larger one. The chain then sends nothing to other ranks. Default:
            the number of positives, or its mean over ranks.

        Returns
        -------
        chainer.Variable, scalar
            The weighted loss.

        Raises
        ------
        ValueError, TypeError
            As :func:`chainer_ssd.multibox_loss` does. If the model holds ChainerMN's own
            ``MultiNodeBatchNormalization``, every rank raises if their batches have different
            sizes.
        RanksOutOfStepError
            On every rank, if the ranks are at different iterations or in different modes.
        """
        n_positive = (gt_mb_labels > 0).sum()
        # Another divisor may depend on the predictions. The loss then counts.
        count = self.comm if self.objective.divides_by_positives else None
        with counting(count, n_positive, self.model, imgs, normalizer) as divisor:
            if len(imgs) or communicates(self.model):
                mb_locs, mb_confs = self.model(imgs)
            else:
                mb_locs = self.xp.zeros_like(gt_mb_locs)
                mb_confs = mb_locs[:, :, :1]
        loc_loss, conf_loss = self.objective(
            mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, self.comm, normalizer=divisor
        )
        loss = self.alpha * loc_loss + conf_loss
        if not len(imgs):
            frozen = set(map(id, getattr(self.model, 'frozen_params', list)()))
            params = (param for param in self.params() if id(param) not in frozen)
            loss = sum((_connected_zero(param, loss.dtype) for param in params), loss)
        observation = {
            'loss': loss,
            'loss/loc': loc_loss,
            'loss/conf': conf_loss,
            'n_positive': n_positive,
        }
        if isinstance(self.objective.mining, HardNegative):
            n_negative = (gt_mb_labels == 0).sum(axis=1)
            limit = self.objective.mining.count((gt_mb_labels > 0).sum(axis=1), n_negative)
            observation['n_hard_negative'] = limit.sum()
        chainer.report(observation, self)
        return loss


def _connected_zero(param: chainer.Parameter, dtype: Any) -> chainer.Variable:
    """Return 0 with a zero gradient: the sum over no element, whatever the parameter holds."""
    return F.cast(F.sum(F.flatten(param)[:0]), dtype)
