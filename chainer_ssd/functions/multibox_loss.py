"""The SSD training objective in ChainerCV's interface."""

from __future__ import annotations

import functools
from typing import Any

import chainer

from chainer_ssd._array import Array
from chainer_ssd._options import check_ratio
from chainer_ssd.functions.multibox_objective import MultiboxObjective
from chainer_ssd.functions.parts.mining import HardNegative


def multibox_loss(
    mb_locs: chainer.Variable | Array,
    mb_confs: chainer.Variable | Array,
    gt_mb_locs: Array,
    gt_mb_labels: Array,
    k: float,
    comm: Any = None,
    *,
    normalizer: Any = None,
) -> tuple[chainer.Variable, chainer.Variable]:
    """Return the localization and confidence loss of SSD, with hard negative mining.

    Parameters
    ----------
    mb_locs : chainer.Variable or float array of shape (B, K, 4)
        Predicted offsets (dy, dx, dh, dw).
    mb_confs : chainer.Variable or float array of shape (B, K, C)
        Predicted class logits, background first, in the dtype of ``mb_locs``.
    gt_mb_locs : float array of shape (B, K, 4)
        Target offsets, as :func:`chainer_ssd.encode` returns them. Only rows of positives are
        used.
    gt_mb_labels : integer array of shape (B, K)
        0 background, -1 ignored, 1 ... C - 1 foreground.
    k : float
        Negatives per positive: image i has ceil(k · n_i) hard negatives. The paper uses 3.
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the number of positives over ranks. Then ChainerMN's averaged gradients equal the
        gradients of one process on the whole batch, whatever the split. Every rank must call,
        also one whose batch has no image (B = 0). The call blocks until all ranks have made it,
        and a communicator compares only whether all ranks train or evaluate. Default: one process.
    normalizer : float, callable or None
        Replaces the number of positives n, at least 0. A callable without arguments returns it,
        such as the result of :meth:`chainer_ssd.distributed.PositiveCount.request`. It is called
        once, when the loss needs it. Give it if the batch is a part of a larger one, or to ask
        other ranks before the model runs. ``comm`` then only names the rank in messages. Default:
        the number of positives.

    Returns
    -------
    loc_loss, conf_loss : chainer.Variable, scalars
        Sum over positives of the Huber loss (δ = 1) / n, and sum over positives and hard
        negatives of the softmax cross entropy / n. n is the number of positives, its mean over
        ranks, or ``normalizer``. If n is 0, both losses are 0 and connected to the predictions.
        float16 predictions give float32 losses and float16 gradients.

    Raises
    ------
    ValueError
        If shapes disagree, or ``k`` is negative, NaN or inf. If a label is out of range, or the
        target of a positive box is not finite. Under ``chainer.config.debug`` also if a
        prediction is not finite. Values on a GPU are checked under debug only. If ``normalizer``
        is negative, NaN or inf, or 0 although there are positives.
    TypeError
        If dtypes disagree, or an array is masked. If ``normalizer`` is no number.

    Notes
    -----
    Liu et al., "SSD: Single Shot MultiBox Detector" (2016), equations 1 to 3, and ChainerCV's
    ``multibox_loss``. Rows are gathered, not multiplied by a mask. So NaN in a row that is not
    selected reaches neither the loss nor the gradients.

    Examples
    --------
    One image with four default boxes and three classes. The first box is positive.

    >>> import numpy as np
    >>> mb_locs, mb_confs = np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 3), np.float32)
    >>> gt_mb_locs, gt_mb_labels = np.zeros_like(mb_locs), np.array([[1, 0, 0, 0]])
    >>> loc_loss, conf_loss = multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k=3)
    >>> round(float(conf_loss.array), 4)  # 1 positive and 3 negatives, each log 3
    4.3944
    """
    objective = _objective(float(check_ratio('k', k)))
    return objective(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, comm, normalizer=normalizer)


@functools.lru_cache(maxsize=16)
def _objective(k: float) -> MultiboxObjective:
    """Return the objective, whose construction takes longer than a small loss may."""
    return MultiboxObjective(mining=HardNegative(k))
