"""Coding: boxes as offsets from default boxes, and back.

For every box that :func:`encode` gives, ``decode(default_bbox, encode(...))`` is that box, up to
rounding.
"""

import math

from chainer_ssd._array import checks_values, get_array_module
from chainer_ssd._validation import check_bbox, check_default_bbox, check_index, check_label
from chainer_ssd.ops.boxes import center_to_corner, corner_to_center

#: A decoded side is at most a million times its default box's: exp cannot overflow, nor can areas.
_MAX_LOG_RATIO = math.log(1e6)


def encode(default_bbox, bbox, label, index, variance=(0.1, 0.2)):
    """Turns the ground truths of one image into the targets of its default boxes.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    bbox : array or list of shape (R, 4)
        Ground truths (y_min, x_min, y_max, x_max), in the unit of ``default_bbox``.
    label : integer array or list of shape (R,)
        Foreground classes, counted from 0.
    index : integer array of shape (K,)
        What :func:`match` returned: the ground truth's row, -1 background, -2 ignored.
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        Scales of (dy, dx) and (dh, dw); of dy, dx, dh and dw; or of each default box.

    Returns
    -------
    mb_loc : float array of shape (K, 4)
        (dy, dx, dh, dw), at least float32; exactly 0 where no ground truth is assigned.
    mb_label : int32 array of shape (K,)
        0 background, -1 ignored, else the ground truth's label + 1.

    Raises
    ------
    ValueError
        If a ground truth, or a default box that one is assigned to, is not finite or has no area;
        if a label is negative, too large for int32 or not an integer, an index points at no
        ground truth, or shapes disagree.
    TypeError
        If boxes are not numbers.

    Notes
    -----
    Liu et al. (2016), equation 2, with the variances of its Caffe code.
    """
    xp = get_array_module(default_bbox, bbox, index)
    default_bbox, bbox = check_default_bbox(default_bbox), check_bbox(bbox)
    label = check_label(xp.asarray(label), len(bbox))
    index = check_index(xp.asarray(index), len(default_bbox), len(bbox))
    variance = _as_variance(xp, variance, default_bbox)

    positive = xp.flatnonzero(index >= 0)
    index_p = index[positive]
    truth = corner_to_center(bbox)[index_p]
    default = default_bbox[positive]
    if checks_values(xp) and not default[:, 2:].all():
        row = int(positive[~default[:, 2:].all(axis=1)][0])
        raise ValueError(
            f'default_bbox[{row}] = {tuple(default_bbox[row].tolist())} has no area, '
            f'and ground truth {int(index[row])} is assigned to it'
        )
    # (dy, dx) = (c_truth − c_default) / (s_default · σ_c)
    # (dh, dw) = log(s_truth / s_default) / σ_s
    loc = xp.concatenate(
        ((truth[:, :2] - default[:, :2]) / default[:, 2:], xp.log(truth[:, 2:] / default[:, 2:])),
        axis=1,
    )
    loc /= variance[positive] if variance.ndim == 2 else variance

    mb_loc = xp.zeros(default_bbox.shape, loc.dtype)
    mb_loc[positive] = loc
    mb_label = xp.minimum(index, -1) + 1
    mb_label[positive] = label[index_p] + 1
    return mb_loc, mb_label


def decode(default_bbox, mb_loc, variance=(0.1, 0.2)):
    """Turns offsets from default boxes into boxes, the inverse of :func:`encode`.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    mb_loc : float array of shape (..., K, 4)
        (dy, dx, dh, dw).
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        As :func:`encode` takes it.

    Returns
    -------
    float array of shape (..., K, 4)
        ``bbox``: (y_min, x_min, y_max, x_max) in the unit of ``default_bbox``, at least float32. A
        side is at most 1e6 times its default box's, whatever the network says.

    Raises
    ------
    ValueError
        If shapes disagree, a default box is not finite or of negative size, or a variance is
        not a positive number.
    TypeError
        If default boxes are not numbers.
    """
    xp = get_array_module(default_bbox, mb_loc)
    default_bbox = check_default_bbox(default_bbox)
    mb_loc = xp.asarray(mb_loc)
    if mb_loc.shape[-2:] != default_bbox.shape:
        raise ValueError(
            f'mb_loc has shape {mb_loc.shape} and default_bbox {default_bbox.shape}: '
            'expected (..., K, 4) and (K, 4)'
        )
    # c = c_default + s_default · σ_c · (dy, dx);   s = s_default · exp(σ_s · (dh, dw))
    loc = mb_loc * _as_variance(xp, variance, default_bbox)
    center = default_bbox[:, :2] + default_bbox[:, 2:] * loc[..., :2]
    size = default_bbox[:, 2:] * xp.exp(xp.minimum(loc[..., 2:], _MAX_LOG_RATIO))
    return center_to_corner(xp.concatenate((center, size), axis=-1))


def _as_variance(xp, variance, default_bbox):
    variance = xp.asarray(variance, default_bbox.dtype)
    if variance.shape not in ((2,), (4,), default_bbox.shape):
        raise ValueError(
            f'variance has shape {variance.shape}: expected (2,), (4,) or {default_bbox.shape}'
        )
    if checks_values(xp) and not ((variance > 0) & xp.isfinite(variance)).all():
        raise ValueError('variance holds a value that is not a positive number')
    return variance.repeat(2) if variance.shape == (2,) else variance
