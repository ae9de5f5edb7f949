"""What the definition is made of: whom it counts, how it ranks, what a selected row costs."""

import chainer.functions as F

from chainer_ssd._array import get_array_module


def rows(x):
    """One row for each box of each image; a copy only if ``x`` is not contiguous.

    Parameters
    ----------
    x : array of shape (B, K, D)
        Numbers of boxes.

    Returns
    -------
    array of shape (B · K, D)
        Image by image.
    """
    return x.reshape(-1, x.shape[2])


def n_hard_negative(gt_mb_labels, k):
    """How many hard negatives each image gets: it follows from the labels alone.

    Parameters
    ----------
    gt_mb_labels : integer array of shape (B, K)
        0 background, -1 ignored, else foreground.
    k : float
        Negatives for each positive.

    Returns
    -------
    int64 array of shape (B,)
        min(ceil(k · n_i), number of background boxes of image i).
    """
    xp = get_array_module(gt_mb_labels)
    n_positive = (gt_mb_labels > 0).sum(axis=1)
    n_negative = (gt_mb_labels == 0).sum(axis=1)
    return xp.minimum(xp.ceil(k * n_positive.astype('d')), n_negative).astype('l')


def background_loss(mb_confs, maximum=None):
    """Cross entropy of each box as background, by which negatives are ranked.

    Parameters
    ----------
    mb_confs : float array of shape (B, K, C)
        Logits, background first.
    maximum : float array of shape (B, K, 1) or None
        Their maxima, where they are known.

    Returns
    -------
    float array of shape (B, K)
        At least float32.
    """
    xp = get_array_module(mb_confs)
    # Contiguous: a sum's rounding follows the memory.
    mb_confs = xp.ascontiguousarray(mb_confs, xp.promote_types(mb_confs.dtype, 'f'))
    # −log softmax(x)_0 = log Σ_c exp(x_c − m) − (x_0 − m),  m = max_c x_c
    shifted = mb_confs - (mb_confs.max(axis=2, keepdims=True) if maximum is None else maximum)
    background = shifted[:, :, 0].copy()
    return xp.log(xp.exp(shifted, out=shifted).sum(axis=2)) - background


def select(x, mask):
    """Rows of ``x`` where ``mask`` holds, at least float32.

    Parameters
    ----------
    x : chainer.Variable of shape (B, K, D)
        Predictions.
    mask : bool array of shape (B, K)
        Rows to select, N of them.

    Returns
    -------
    chainer.Variable of shape (N, D)
        Its gradient is 0 in the rows that were not selected, whatever stands there.
    """
    xp = get_array_module(mask)
    rows = F.reshape(x, (mask.size, x.shape[2]))[xp.flatnonzero(mask)]
    return F.cast(rows, xp.promote_types(x.dtype, 'f'))


def huber_loss(x, t):
    """Huber loss with δ = 1 of each row, also called smooth L1.

    Parameters
    ----------
    x : chainer.Variable of shape (N, 4)
        Predicted offsets.
    t : float array of shape (N, 4)
        Target offsets.

    Returns
    -------
    chainer.Variable of shape (N,)
        Sums over the four.
    """
    return F.huber_loss(x, t.astype(x.dtype, copy=False), 1)


def softmax_cross_entropy(x, t):
    """Softmax cross entropy of each row, right for logits of any size.

    Parameters
    ----------
    x : chainer.Variable of shape (N, C)
        Logits.
    t : integer array of shape (N,)
        Columns.

    Returns
    -------
    chainer.Variable of shape (N,)
        One loss a row.
    """
    # −log softmax(x)_t = log Σ_c exp(x_c − m) − (x_t − m): the shift cancels in the value and in
    # the gradient, but not in the rounding
    x = x - x.array.max(axis=1, keepdims=True)
    return F.logsumexp(x, axis=1) - F.select_item(x, t.astype('i', copy=False))


def selected_losses(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, positive, hard_negative, n):
    """Both losses of the rows that have been selected.

    Parameters
    ----------
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels
        As in :func:`chainer_ssd.multibox_loss`.
    positive, hard_negative : bool arrays of shape (B, K)
        Rows of the localisation loss; rows that join them in the confidence loss.
    n : float
        What the sums are divided by.

    Returns
    -------
    loc_loss, conf_loss : chainer.Variable, scalars
        Differentiable any number of times.
    """
    loc_loss = huber_loss(select(mb_locs, positive), gt_mb_locs[positive])
    selected = positive | hard_negative
    conf_loss = softmax_cross_entropy(select(mb_confs, selected), gt_mb_labels[selected])
    return F.sum(loc_loss) / n, F.sum(conf_loss) / n
