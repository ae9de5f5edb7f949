"""Code types: how the corners of a box become offsets from a default box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainer_ssd._array import Array, get_array_module
from chainer_ssd._options import check_choice, check_flag, check_positive_number
from chainer_ssd.ops.boxes import center_to_corner, corner_to_center

#: Caffe's ``code_type``. All have the variance as a divisor of the offsets.
CODE_TYPES = ('center_size', 'corner', 'corner_size')


def check_code(code_type: str, variance_in_target: bool) -> None:
    """Raise if the options of a code are not valid.

    Parameters
    ----------
    code_type : str
        One of ``CODE_TYPES``.
    variance_in_target : bool
        As :func:`chainer_ssd.encode` takes it.

    Raises
    ------
    ValueError
        If there is no such code type.
    TypeError
        If ``variance_in_target`` is no flag.
    """
    check_choice('code_type', code_type, CODE_TYPES)
    check_flag('variance_in_target', variance_in_target)


def to_code_form(code_type: str, bbox: Array) -> Array:
    """Return boxes in the form that a code type compares.

    Parameters
    ----------
    code_type : {'center_size', 'corner', 'corner_size'}
        The code type.
    bbox : float array of shape (..., 4)
        (y_min, x_min, y_max, x_max).

    Returns
    -------
    float array of shape (..., 4)
        (cy, cx, h, w) for ``'center_size'``, else the corners.
    """
    return corner_to_center(bbox) if code_type == 'center_size' else bbox


def compute_offsets(code_type: str, truth: Array, default_bbox: Array) -> Array:
    """Return the offsets of ground truths from default boxes, without variances.

    Parameters
    ----------
    code_type : {'center_size', 'corner', 'corner_size'}
        The code type.
    truth : float array of shape (..., N, 4)
        Ground truths in the form of :func:`to_code_form`.
    default_bbox : float array of shape (N, 4)
        (cy, cx, h, w).

    Returns
    -------
    float array of shape (..., N, 4)
        (dy, dx, dh, dw), or the offsets of (y_min, x_min, y_max, x_max).
    """
    if code_type == 'center_size':
        # (dy, dx) = (c_truth − c_default) / s_default,   (dh, dw) = log(s_truth / s_default)
        center = (truth[..., :2] - default_bbox[:, :2]) / default_bbox[:, 2:]
        xp = get_array_module(truth)
        return xp.concatenate((center, xp.log(truth[..., 2:] / default_bbox[:, 2:])), axis=-1)
    # d = (b_truth − b_default) / u,   u = corner_units
    return (truth - center_to_corner(default_bbox)) / corner_units(code_type, default_bbox)


def corner_units(code_type: str, default_bbox: Array) -> Array:
    """Return the length that is an offset of 1 at each corner, without variances.

    Parameters
    ----------
    code_type : {'corner', 'corner_size'}
        ``'corner'`` measures in the unit of the boxes, ``'corner_size'`` in sides of the default
        box.
    default_bbox : float array of shape (N, 4)
        (cy, cx, h, w).

    Returns
    -------
    float array of shape (N, 4)
        For (y_min, x_min, y_max, x_max).
    """
    xp = get_array_module(default_bbox)
    if code_type == 'corner':
        return xp.ones_like(default_bbox)
    return default_bbox[:, [2, 3, 2, 3]]


def decode_corners(code_type: str, default_bbox: Array, loc: Any) -> Any:
    """Return the corners of boxes of a code type that is about corners.

    Parameters
    ----------
    code_type : {'corner', 'corner_size'}
        The code type.
    default_bbox : float array of shape (N, 4)
        (cy, cx, h, w).
    loc : float array of shape (..., N, 4), or chainer.Variable of shape (N, 4)
        Offsets times variances.

    Returns
    -------
    float array or chainer.Variable
        (y_min, x_min, y_max, x_max), in the shape of ``loc``. Sides may be negative.
    """
    # b = b_default + u · σ · d,  u = corner_units
    return loc * corner_units(code_type, default_bbox) + center_to_corner(default_bbox)


def clip_corners(bbox: Array, size: Sequence[float]) -> Array:
    """Return boxes that end at the borders of an image.

    Parameters
    ----------
    bbox : float array of shape (..., 4)
        (y_min, x_min, y_max, x_max).
    size : sequence of 2 floats
        Height and width of the image, in the unit of the boxes.

    Returns
    -------
    float array of shape (..., 4)
        Coordinates from 0 to the height or width.

    Raises
    ------
    ValueError
        If ``size`` has not two finite numbers above 0.
    """
    height, width = check_size('clip', size)
    xp = get_array_module(bbox)
    return bbox.clip(0, xp.asarray([height, width, height, width], bbox.dtype))


def check_size(name: str, size: Sequence[float]) -> tuple[float, float]:
    """Return a height and a width, or raise if they are not valid.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    size : sequence of 2 floats
        Height and width.

    Returns
    -------
    tuple of float
        Both.

    Raises
    ------
    ValueError
        If there are not two finite numbers above 0.
    """
    if isinstance(size, str) or not hasattr(size, '__len__') or len(size) != 2:
        raise ValueError(f'{name} = {size!r}: expected (height, width)')
    height, width = (float(check_positive_number(f'{name}[{i}]', size[i])) for i in (0, 1))
    return height, width
