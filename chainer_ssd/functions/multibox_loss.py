"""The SSD training objective in ChainerCV's interface, and its definition."""

import chainer

from chainer_ssd._options import check_ratio
from chainer_ssd.distributed import PositiveCount
from chainer_ssd.functions._arguments import check_predictions, check_targets
from chainer_ssd.functions._fused.node import FusedMultiboxLoss, serves
from chainer_ssd.functions.objective import background_loss, n_hard_negative, selected_losses
from chainer_ssd.ops import hard_negative_mining


def multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k, comm=None):
    """Localisation and confidence loss of SSD, with hard negative mining.

    Parameters
    ----------
    mb_locs : chainer.Variable or float array of shape (B, K, 4)
        Predicted offsets (dy, dx, dh, dw).
    mb_confs : chainer.Variable or float array of shape (B, K, C)
        Predicted class logits, background first; the dtype of ``mb_locs``.
    gt_mb_locs : float array of shape (B, K, 4)
        Target offsets, as :func:`chainer_ssd.encode` makes them. Only positive rows are read.
    gt_mb_labels : integer array of shape (B, K)
        0 background, -1 ignored, 1 ... C - 1 foreground.
    k : float
        Negatives mined for each positive: ceil(k · n_i) in image i (the paper's 3).
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the number of positives over ranks, so that ChainerMN's averaged gradients are
        those of one process on the whole batch, whatever the split. Every rank must call, also
        one whose batch has no image (B = 0).

    Returns
    -------
    loc_loss, conf_loss : chainer.Variable, scalars
        Sum over positives of the Huber loss (δ = 1) / n, and sum over positives and hard negatives
        of the softmax cross entropy / n, where n is the number of positives (its mean over
        ranks). Both 0, connected to the predictions, where n is 0. float16 predictions give
        float32 losses and float16 gradients.

    Raises
    ------
    ValueError
        If shapes disagree, ``k`` is negative, NaN or inf, a label is out of range, or a target
        of a positive box is not finite; under ``chainer.config.debug`` also if a prediction is
        not finite. Values on a GPU are looked at under debug only.
    TypeError
        If dtypes disagree.

    Notes
    -----
    Liu et al., "SSD: Single Shot MultiBox Detector" (2016), equations 1 to 3; ChainerCV's
    ``multibox_loss``. Rows are selected, not multiplied by a mask: NaN in a row that is not
    selected spreads neither to the loss nor to the gradients.
    """
    mb_locs, mb_confs = chainer.as_variable(mb_locs), chainer.as_variable(mb_confs)
    gt_mb_locs = chainer.as_variable(gt_mb_locs).array
    gt_mb_labels = chainer.as_variable(gt_mb_labels).array
    check_ratio('k', k)
    check_predictions(mb_locs.array, mb_confs.array, gt_mb_labels.shape, comm)
    not_background = check_targets(gt_mb_locs, gt_mb_labels, mb_confs.shape[2], comm)

    with chainer.using_device(chainer.backend.get_device_from_array(gt_mb_labels)):
        if serves(mb_locs.array, mb_confs.array, gt_mb_locs, gt_mb_labels):  # the same, faster
            return FusedMultiboxLoss(gt_mb_locs, gt_mb_labels, not_background, k, comm).apply(
                (mb_locs, mb_confs)
            )
        positive, ignored = gt_mb_labels > 0, gt_mb_labels < 0
        hard_negative = hard_negative_mining(
            background_loss(mb_confs.array), positive, n_hard_negative(gt_mb_labels, k), ignored
        )
        n_positive = float(positive.sum())
        if comm is not None:
            n_positive = PositiveCount.of(comm).mean(n_positive)
        n = n_positive or 1.0  # without positives no row is selected: 0 / 1
        return selected_losses(
            mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, positive, hard_negative, n
        )
