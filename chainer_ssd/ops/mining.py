"""Selection of the boxes with the largest losses: hard negatives and hard examples."""

from __future__ import annotations

from typing import Any

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import check_integer
from chainer_ssd._validation import as_array, raise_for_row


def hard_negative_mining(
    conf_loss: Array, positive: Array, n_negative: Array, ignored: Array | None = None
) -> Array:
    """Return a mask of the negatives with the largest confidence loss of each image.

    Parameters
    ----------
    conf_loss : float array or list of shape (B, K)
        Confidence loss of each default box, above -inf. Values of boxes that are not negatives
        have no effect.
    positive : bool array of shape (B, K)
        Matched default boxes. They are never selected.
    n_negative : integer array of shape (B,)
        Number of negatives to select in each image. All, if the image has fewer.
    ignored : bool array of shape (B, K) or None
        Boxes that are neither positive nor negative. They are never selected and do not count.

    Returns
    -------
    bool array of shape (B, K)
        ``hard_negative``. Ties go to the lower index. NaN counts as the largest loss.

    Raises
    ------
    ValueError
        If shapes disagree, or a number of negatives is below 0.
    TypeError
        If a mask is not bool, ``n_negative`` does not hold integers, or ``conf_loss`` holds no
        numbers. Also if an array is masked.

    Notes
    -----
    Liu et al. (2016), section 2.2, "Hard negative mining". The rank is an argsort of an argsort, as
    in ChainerCV's ``multibox_loss``, but with stable sorts.

    Examples
    --------
    >>> import numpy as np
    >>> conf_loss = np.array([[0.1, 2.0, 9.0, 2.0, 3.0]])
    >>> positive = np.array([[False, False, True, False, False]])
    >>> hard_negative_mining(conf_loss, positive, np.array([2])).tolist()
    [[False, True, False, False, True]]
    """
    conf_loss, positive = (
        as_array(conf_loss, 'conf_loss'),
        as_array(positive, 'positive', 'b', 'bool'),
    )
    xp = get_array_module(conf_loss)
    ignored = (
        xp.zeros_like(positive) if ignored is None else as_array(ignored, 'ignored', 'b', 'bool')
    )
    _check_shapes('conf_loss', conf_loss, positive=positive, ignored=ignored)
    n_negative = as_array(n_negative, 'n_negative', 'iu', 'integers')
    if n_negative.shape != conf_loss.shape[:1]:
        raise ValueError(
            f'n_negative has shape {n_negative.shape}: expected '
            f'{conf_loss.shape[:1]}, one for each image'
        )
    if checks_values(xp):
        raise_for_row('n_negative', n_negative, n_negative >= 0, 'integers >= 0')
    negative = ~(positive | ignored)
    if conf_loss.dtype.kind != 'f':  # float64 does not tell all integers apart
        order = xp.unique(conf_loss, return_inverse=True)[1]
        conf_loss = order.reshape(conf_loss.shape).astype('d')
    rank = _rank_by_loss(xp, xp.where(negative, conf_loss, -xp.inf))
    return negative & (rank < n_negative[:, None])


def hard_example_mining(loss: Array, sample_size: int) -> Array:
    """Return a mask of the boxes with the largest loss of each image, positive or negative.

    Parameters
    ----------
    loss : float array of shape (B, K)
        Loss of each default box.
    sample_size : int
        Number of boxes to select in each image. All, if there are fewer.

    Returns
    -------
    bool array of shape (B, K)
        ``selected``. Ties go to the lower index. NaN counts as the largest loss.

    Raises
    ------
    ValueError
        If ``sample_size`` is less than 1, or ``loss`` does not have two dimensions.
    TypeError
        If ``sample_size`` is not an integer, or ``loss`` holds no numbers or is masked.

    Notes
    -----
    Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining"
    (2016), without its suppression step, as in Caffe's ``MineHardExamples`` and Paddle's operator.
    A positive that is not selected is neither positive nor negative.

    Examples
    --------
    >>> import numpy as np
    >>> hard_example_mining(np.array([[0.1, 2.0, 9.0, 2.0, 3.0]]), 2).tolist()
    [[False, False, True, False, True]]
    """
    check_integer('sample_size', sample_size, 1)
    loss = as_array(loss, 'loss')
    _check_shapes('loss', loss)
    return _rank_by_loss(get_array_module(loss), loss) < sample_size


def _rank_by_loss(xp: Any, loss: Array) -> Array:
    """Return the rank of each box in its image, 0 for the largest loss."""
    # A stable ascending sort of the reversed row, reversed again, puts NaN first and ties in the
    # order of the index.
    last = loss.shape[1] - 1
    order = last - xp.argsort(loss[:, ::-1], axis=1, kind='stable')[:, ::-1]
    return xp.argsort(order, axis=1, kind='stable')


def _check_shapes(name_of_loss: str, loss: Array, **masks: Array) -> None:
    if loss.ndim != 2:
        raise ValueError(f'{name_of_loss} has shape {loss.shape}: expected (B, K)')
    for name, mask in masks.items():
        if mask.shape != loss.shape:
            raise ValueError(
                f'{name} has shape {mask.shape}: expected {loss.shape}, like {name_of_loss}'
            )
