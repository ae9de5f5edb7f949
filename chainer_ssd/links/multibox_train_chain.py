"""A detector with its objective, ready for a Chainer Updater."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F

from chainer_ssd._array import Array
from chainer_ssd._options import check_ratio
from chainer_ssd.distributed import PositiveCount
from chainer_ssd.functions import multibox_loss, n_hard_negative


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
        Averages the number of positives over ranks, see :func:`chainer_ssd.multibox_loss`.

    Raises
    ------
    ValueError
        If ``alpha`` or ``k`` is negative, NaN or inf.
    """

    def __init__(
        self, model: chainer.Link, alpha: float = 1, k: float = 3, comm: Any = None
    ) -> None:
        check_ratio('alpha', alpha)
        check_ratio('k', k)
        super().__init__()
        self.alpha, self.k, self.comm = alpha, k, comm
        with self.init_scope():
            self.model = model

    def forward(self, imgs: Any, gt_mb_locs: Array, gt_mb_labels: Array) -> chainer.Variable:
        """Return the loss of a batch.

        Parameters
        ----------
        imgs : float32 array of shape (B, 3, H, W)
            Images. Without images (B = 0) the model does not run. The loss is then 0 and connected
            to every parameter, and this rank still takes part in the count of positives.
        gt_mb_locs : float32 array of shape (B, K, 4)
            Target offsets.
        gt_mb_labels : int32 array of shape (B, K)
            0 background, -1 ignored, else foreground.

        Returns
        -------
        chainer.Variable, scalar
            The weighted loss.

        Raises
        ------
        ValueError, TypeError
            As :func:`chainer_ssd.multibox_loss` does.
        """
        if len(imgs):
            mb_locs, mb_confs = self.model(imgs)
        else:
            mb_locs = self.xp.zeros_like(gt_mb_locs)
            mb_confs = mb_locs[:, :, :1]
        if self.comm is not None:
            PositiveCount.of(self.comm).step = self._n_update()
        loc_loss, conf_loss = multibox_loss(
            mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, self.k, self.comm
        )
        loss = self.alpha * loc_loss + conf_loss
        if not len(imgs):
            loss = sum((_connected_zero(param, loss.dtype) for param in self.params()), loss)
        chainer.report(
            {
                'loss': loss,
                'loss/loc': loc_loss,
                'loss/conf': conf_loss,
                'n_positive': (gt_mb_labels > 0).sum(),
                'n_hard_negative': n_hard_negative(gt_mb_labels, self.k).sum(),
            },
            self,
        )
        return loss

    def _n_update(self) -> int:
        """Return how often an optimizer has updated the parameters."""
        rules = (param.update_rule for param in self.params())
        return next((rule.t for rule in rules if rule is not None and rule.enabled), 0)


def _connected_zero(param: chainer.Parameter, dtype: Any) -> chainer.Variable:
    """Return 0 with a zero gradient: the sum over no element, whatever the parameter holds."""
    return F.cast(F.sum(F.flatten(param)[:0]), dtype)
