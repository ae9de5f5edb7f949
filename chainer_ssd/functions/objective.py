"""The parts of the loss: the ranking and number of negatives, and the loss of selected rows."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import check_ratio
from chainer_ssd._validation import as_array

#: No image has so many negatives for one positive.
_MAX_K = 2.0**53


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


def background_loss(mb_confs: Array, maximum: Array | None = None) -> Array:
    """Return the cross entropy of each box with the background class, which ranks negatives.

    Parameters
    ----------
    mb_confs : float array of shape (B, K, C)
        Logits, background first.
    maximum : float array of shape (B, K, 1) or None
        Maximum of each row, if it is known. Default: it is computed.

    Returns
    -------
    float array of shape (B, K)
        At least float32.

    Raises
    ------
    ValueError
        If shapes disagree.
    TypeError
        If a dtype is not integer or float, or an array is masked.
    """
    mb_confs = as_array(mb_confs, 'mb_confs')
    if mb_confs.ndim != 3 or mb_confs.shape[2] < 1:
        raise ValueError(f'mb_confs has shape {mb_confs.shape}: expected (B, K, C)')
    if maximum is not None:
        maximum = as_array(maximum, 'maximum')
        if maximum.shape != (*mb_confs.shape[:2], 1):
            expected = (*mb_confs.shape[:2], 1)
            raise ValueError(f'maximum has shape {maximum.shape}: expected {expected}')
    xp = get_array_module(mb_confs)
    # Contiguous, because the rounding of a sum depends on the memory layout.
    mb_confs = xp.ascontiguousarray(mb_confs, xp.promote_types(mb_confs.dtype, 'f'))
    # −log softmax(x)_0 = log Σ_c exp(x_c − m) − (x_0 − m),  m = max_c x_c
    shifted = mb_confs - (mb_confs.max(axis=2, keepdims=True) if maximum is None else maximum)
    background = shifted[:, :, 0].copy()
    return xp.log(xp.exp(shifted, out=shifted).sum(axis=2)) - background


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


def huber_loss(x: chainer.Variable, t: Array) -> chainer.Variable:
    """Return the Huber loss with δ = 1 of each row, also called smooth L1.

    Parameters
    ----------
    x : chainer.Variable of shape (N, 4)
        Predicted offsets.
    t : float array of shape (N, 4)
        Target offsets.

    Returns
    -------
    chainer.Variable of shape (N,)
        Sums over the four offsets.
    """
    return F.huber_loss(x, t.astype(x.dtype, copy=False), 1)


def softmax_cross_entropy(x: chainer.Variable, t: Array) -> chainer.Variable:
    """Return the softmax cross entropy of each row, exact for logits of any size.

    Parameters
    ----------
    x : chainer.Variable of shape (N, C)
        Logits.
    t : integer array of shape (N,)
        Column of the target class in each row.

    Returns
    -------
    chainer.Variable of shape (N,)
        One loss per row.
    """
    # −log softmax(x)_t = log Σ_c exp(x_c − m) − (x_t − m),  m = max_c x_c.
    # Value and gradient do not depend on m, but their rounding does.
    x = x - x.array.max(axis=1, keepdims=True)
    return F.logsumexp(x, axis=1) - F.select_item(x, t.astype('i', copy=False))


def selected_losses(
    mb_locs: chainer.Variable,
    mb_confs: chainer.Variable,
    gt_mb_locs: Array,
    gt_mb_labels: Array,
    positive: Array,
    hard_negative: Array,
    normalizer: Any,
) -> tuple[chainer.Variable, chainer.Variable]:
    """Return both losses of the selected rows.

    Parameters
    ----------
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels
        As in :func:`chainer_ssd.multibox_loss`.
    positive : bool array of shape (B, K)
        Rows of both losses.
    hard_negative : bool array of shape (B, K)
        Rows of the confidence loss only.
    normalizer : float
        Divisor of both sums.

    Returns
    -------
    loc_loss, conf_loss : chainer.Variable, scalars
        Differentiable any number of times.
    """
    loc_loss = huber_loss(select_rows(mb_locs, positive), gt_mb_locs[positive])
    selected = positive | hard_negative
    conf_loss = softmax_cross_entropy(select_rows(mb_confs, selected), gt_mb_labels[selected])
    return F.sum(loc_loss) / normalizer, F.sum(conf_loss) / normalizer
