"""Mining: which of the many easy boxes may speak in the loss."""

import numbers

from chainer_ssd._array import get_array_module


def hard_negative_mining(conf_loss, positive, n_negative, ignored=None):
    """Per image, the negatives of largest confidence loss.

    Parameters
    ----------
    conf_loss : float array of shape (B, K)
        Confidence loss of each default box, above -inf. What stands at boxes that are not
        negatives is not looked at.
    positive : bool array of shape (B, K)
        Matched default boxes, never chosen.
    n_negative : integer array of shape (B,)
        How many each image gets, or all of its negatives if those are fewer.
    ignored : bool array of shape (B, K) or None
        Boxes that are neither; never chosen, and take no place.

    Returns
    -------
    bool array of shape (B, K)
        ``hard_negative``. Ties go to the lower index; NaN counts as the largest loss.

    Raises
    ------
    ValueError
        If shapes disagree.

    Notes
    -----
    Liu et al. (2016), section 2.2, "Hard negative mining". The rank is an argsort of an argsort, as
    in ChainerCV's ``multibox_loss``; here both sorts are stable.
    """
    xp = get_array_module(conf_loss)
    if ignored is None:
        ignored = xp.zeros_like(positive)
    _check_shapes('conf_loss', conf_loss, positive=positive, ignored=ignored)
    if n_negative.shape != conf_loss.shape[:1]:
        raise ValueError(
            f'n_negative has shape {n_negative.shape}: expected '
            f'{conf_loss.shape[:1]}, one for each image'
        )
    negative = ~(positive | ignored)
    rank = _rank(xp, xp.where(negative, conf_loss, -xp.inf))
    return negative & (rank < n_negative[:, None])


def hard_example_mining(loss, sample_size):
    """Per image, the boxes of largest loss, positive or negative.

    Parameters
    ----------
    loss : float array of shape (B, K)
        Loss of each default box.
    sample_size : int
        How many boxes each image keeps, or all if there are fewer.

    Returns
    -------
    bool array of shape (B, K)
        ``selected``. Ties go to the lower index; NaN counts as the largest loss.

    Raises
    ------
    ValueError
        If ``sample_size`` is not a positive integer, or ``loss`` is not of two dimensions.

    Notes
    -----
    Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining"
    (2016), without its suppression step, as Caffe's ``MineHardExamples`` and Paddle's operator
    define it. Positives that are not selected are released: they become neither side's.
    """
    if not isinstance(sample_size, numbers.Integral) or sample_size <= 0:
        raise ValueError(f'sample_size = {sample_size!r}: expected a positive integer')
    _check_shapes('loss', loss)
    return _rank(get_array_module(loss), loss) < sample_size


def _rank(xp, loss):
    # The place of each box when its image's boxes stand by falling loss. A stable rising sort of
    # the reversed row, read backwards, puts ties at the lower index and NaN first.
    last = loss.shape[1] - 1
    order = last - xp.argsort(loss[:, ::-1], axis=1, kind='stable')[:, ::-1]
    return xp.argsort(order, axis=1, kind='stable')


def _check_shapes(name_of_loss, loss, **masks):
    if loss.ndim != 2:
        raise ValueError(f'{name_of_loss} has shape {loss.shape}: expected (B, K)')
    for name, mask in masks.items():
        if mask.shape != loss.shape or mask.dtype != bool:
            raise ValueError(
                f'{name} has shape {mask.shape} and dtype {mask.dtype}: '
                f'expected {loss.shape} bool, as {name_of_loss}'
            )
