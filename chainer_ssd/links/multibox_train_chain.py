"""A detector and its objective, ready for a Chainer Updater."""

import chainer
import chainer.functions as F

from chainer_ssd._options import check_ratio
from chainer_ssd.distributed import PositiveCount
from chainer_ssd.functions import multibox_loss, n_hard_negative


class MultiboxTrainChain(chainer.Chain):
    """Computes ``alpha · loc_loss + conf_loss`` of a model and reports what it is made of.

    Reports ``loss``, ``loss/loc``, ``loss/conf``, and of this rank's batch ``n_positive`` and
    ``n_hard_negative``.

    Parameters
    ----------
    model : chainer.Link
        ``model(imgs)`` returns ``mb_locs`` (B, K, 4) and ``mb_confs`` (B, K, C).
    alpha : float
        Weight of the localisation loss (the paper's α).
    k : float
        Hard negatives for each positive.
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the number of positives over ranks, see :func:`chainer_ssd.multibox_loss`.

    Raises
    ------
    ValueError
        If ``alpha`` or ``k`` is negative, NaN or inf.
    """

    def __init__(self, model, alpha=1, k=3, comm=None):
        check_ratio('alpha', alpha)
        check_ratio('k', k)
        super().__init__()
        self.alpha, self.k, self.comm = alpha, k, comm
        with self.init_scope():
            self.model = model

    def forward(self, imgs, gt_mb_locs, gt_mb_labels):
        """The loss of a batch.

        Parameters
        ----------
        imgs : float32 array of shape (B, 3, H, W)
            Images. For a batch without images (B = 0) the model is not run; the loss is then 0,
            connected to every parameter, and the ranks still agree on the number of positives.
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
            PositiveCount.of(self.comm).step = self._updates()
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

    def _updates(self):
        """How often an optimizer has updated the parameters."""
        rules = (param.update_rule for param in self.params())
        return next((rule.t for rule in rules if rule is not None and rule.enabled), 0)


def _connected_zero(param, dtype):
    # The sum of no element: 0 whatever the parameter holds, with a gradient of zeros.
    return F.cast(F.sum(F.flatten(param)[:0]), dtype)
