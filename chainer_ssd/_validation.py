"""What a valid box, label, index and image is: the only place that decides it.

Array values on a GPU are checked under ``chainer.config.debug`` only, because reading them
synchronizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd._array import checks_values, get_array_module

#: ``mb_label`` is the label + 1 and int32.
MAX_LABEL = 2**31 - 2

_CORNERS = {
    'yx': '(y_min, x_min, y_max, x_max)',
    'xy': '(x_min, y_min, x_max, y_max)',
}


def as_array(
    value: Any, name: str, kinds: str = 'fiu', expected: str = 'floats or integers'
) -> Any:
    """Return an array or a nested list as an array.

    Parameters
    ----------
    value : array or list
        Values.
    name : str
        Name of the argument in messages.
    kinds : str
        Letters of ``dtype.kind`` that are accepted. Default: floats and integers.
    expected : str
        What these dtypes are, in messages.

    Returns
    -------
    array
        Without a copy where none is needed. An empty list has any dtype.

    Raises
    ------
    TypeError
        If the dtype is not accepted, or the array is masked: its mask would be lost.
    ValueError
        If lists of unequal lengths are nested.
    """
    if _is_masked(value):
        raise TypeError(f'{name} is a masked array: expected an array without a mask')
    try:
        array = get_array_module(value).asarray(value)
    except ValueError as error:
        raise ValueError(f'{name} has rows of unequal lengths: expected an array') from error
    if array.dtype.kind not in kinds and array.size:
        raise TypeError(f'{name} has dtype {array.dtype}: expected {expected}')
    return array


def _is_masked(value: Any) -> bool:
    """Return whether a value is a masked array, or a nested list that holds one."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_masked, value))
    return isinstance(value, np.ma.MaskedArray)


def as_bbox(bbox: Any, name: str = 'bbox', dtype: Any = None) -> Any:
    """Return boxes as a float array of shape (N, 4).

    Parameters
    ----------
    bbox : array or list of shape (N, 4)
        Integers or floats. An empty list is zero boxes.
    name : str
        Name of the argument in messages.
    dtype : dtype, optional
        Result dtype. Default: float64 stays, everything else becomes float32.

    Returns
    -------
    float array of shape (N, 4)
        At least float32, without a copy where none is needed.

    Raises
    ------
    ValueError
        If the shape is not (N, 4).
    TypeError
        If the dtype is not integer or float.
    """
    bbox = as_array(bbox, name)
    if bbox.shape == (0,):  # the empty list
        bbox = bbox.reshape(0, 4)
    if bbox.ndim != 2 or bbox.shape[1] != 4:
        raise ValueError(f'{name} has shape {bbox.shape}: expected (N, 4)')
    if dtype is None:
        is_wide = bbox.dtype.kind == 'f' and bbox.dtype.itemsize > 4
        dtype = bbox.dtype if is_wide else np.float32
    return bbox.astype(dtype, copy=False)


def is_valid_bbox(bbox: Any) -> Any:
    """Return a bool array (N,): whether a box (N, 4) is finite and has a positive area."""
    xp = get_array_module(bbox)
    return xp.isfinite(bbox).all(axis=1) & (bbox[:, :2] < bbox[:, 2:]).all(axis=1)


def check_bbox(
    bbox: Any,
    name: str = 'bbox',
    *,
    order: str = 'yx',
    dtype: Any = None,
    allow_empty: bool = False,
) -> Any:
    """Return ground truth boxes as floats, or raise if one is not finite or has no area.

    Parameters
    ----------
    bbox : array or list of shape (R, 4)
        Corners, minimum first. Integers become float32. An empty list is zero boxes.
    name : str
        Name of the argument in messages.
    order : {'yx', 'xy'}
        Order of the coordinates: (y_min, x_min, y_max, x_max), or x before y. It only changes
        the message.
    dtype : dtype, optional
        Result dtype. Default: float64 stays, everything else becomes float32.
    allow_empty : bool
        Whether a box may have height or width 0. Default: False.

    Returns
    -------
    float array of shape (R, 4)
        At least float32.

    Raises
    ------
    ValueError
        If the shape is not (R, 4), or a box is not finite or has no area. The message names the
        row. Values on a GPU are checked under ``chainer.config.debug`` only.
    TypeError
        If the dtype is not integer or float.
    """
    xp = get_array_module(bbox)
    bbox = as_bbox(bbox, name, dtype)
    if checks_values(xp):
        valid = xp.isfinite(bbox)
        is_ordered = xp.less_equal if allow_empty else xp.less
        valid[:, 2:] &= is_ordered(bbox[:, :2], bbox[:, 2:])
        if not valid.all():
            first, second, sign = order[0], order[1], '<=' if allow_empty else '<'
            raise_for_row(
                name,
                bbox,
                valid.all(axis=1),
                f'finite {_CORNERS[order]} with {first}_min {sign} {first}_max and '
                f'{second}_min {sign} {second}_max',
            )
        check_area(bbox, name)
    return bbox


def check_finite_bbox(bbox: Any, name: str = 'bbox', *, dtype: Any = None) -> Any:
    """Return boxes as floats, or raise if one is not finite. A detection may be inverted.

    Parameters
    ----------
    bbox : array or list of shape (R, 4)
        Corners. An empty list is zero boxes.
    name : str
        Name of the argument in messages.
    dtype : dtype, optional
        Result dtype. Default: float64 stays, everything else becomes float32.

    Returns
    -------
    float array of shape (R, 4)
        At least float32.

    Raises
    ------
    ValueError
        If the shape is not (R, 4), or a box is not finite. The message names the row. Values on a
        GPU are checked under ``chainer.config.debug`` only.
    TypeError
        If the dtype is not integer or float.
    """
    xp = get_array_module(bbox)
    bbox = as_bbox(bbox, name, dtype)
    if checks_values(xp):
        raise_for_row(name, bbox, xp.isfinite(bbox).all(axis=1), 'finite numbers')
        check_area(bbox, name)
    return bbox


def check_area(bbox: Any, name: str = 'bbox') -> None:
    """Raise ``ValueError`` if a box with finite corners has an area that is not finite.

    Its IoU would be NaN or 0. The sum of two areas must be finite, too.
    """
    xp = get_array_module(bbox)
    if not bbox.size or xp.abs(bbox).max() <= _largest_coordinate(bbox.dtype):
        return
    with np.errstate(over='ignore', invalid='ignore'):
        height, width = bbox[:, 2] - bbox[:, 0], bbox[:, 3] - bbox[:, 1]
        overflows = ~xp.isfinite(2 * (height * width))  # a union adds two areas
    if overflows.any():
        overflows &= xp.isfinite(bbox).all(axis=1)
        raise_for_row(name, bbox, ~overflows, f'an area that {bbox.dtype} can hold')


def _largest_coordinate(dtype: Any) -> float:
    """Return a bound of coordinates below which no union of two boxes overflows."""
    # A side is at most 2 m, an area 4 m², and the sum of two areas 8 m².
    return float(np.sqrt(np.finfo(dtype).max / 8))


def check_default_bbox(default_bbox: Any, name: str = 'default_bbox', *, order: str = 'yx') -> Any:
    """Return default boxes as floats, or raise if one is not finite or has a negative size.

    Parameters
    ----------
    default_bbox : array of shape (K, 4)
        (cy, cx, h, w), or (cx, cy, w, h) with ``order='xy'``. A size of 0 is legal, because
        clipping to the image can leave it.
    name : str
        Name of the argument in messages.
    order : {'yx', 'xy'}
        Order of the coordinates. It only changes the message.

    Returns
    -------
    float array of shape (K, 4)
        At least float32.

    Raises
    ------
    ValueError
        If the shape is not (K, 4), or a box is not finite or has a negative size. The message
        names the row. Values on a GPU are checked under ``chainer.config.debug`` only.
    TypeError
        If the dtype is not integer or float.
    """
    xp = get_array_module(default_bbox)
    default_bbox = as_bbox(default_bbox, name)
    if checks_values(xp):
        # Whole columns first: a reduction over an axis of length 4 is 30 times slower.
        finite = xp.isfinite(default_bbox)
        size_a, size_b = default_bbox.T[2:]
        if not (finite.all() and (size_a >= 0).all() and (size_b >= 0).all()):
            expected = (
                '(cy, cx, h, w) with h >= 0 and w >= 0'
                if order == 'yx'
                else '(cx, cy, w, h) with w >= 0 and h >= 0'
            )
            valid = finite.all(axis=1) & (size_a >= 0) & (size_b >= 0)
            raise_for_row(name, default_bbox, valid, f'finite {expected}')
        if default_bbox.size:
            largest = xp.abs(default_bbox).max()
            if largest > _largest_coordinate(default_bbox.dtype) / 2:
                center, half_size = default_bbox[:, :2], default_bbox[:, 2:] / 2
                with np.errstate(over='ignore'):
                    corners = xp.concatenate((center - half_size, center + half_size), axis=1)
                    is_finite = xp.isfinite(corners).all(axis=1)
                    is_finite &= xp.isfinite(2 * (size_a * size_b))
                expected = f'corners and an area that {default_bbox.dtype} can hold'
                raise_for_row(name, default_bbox, is_finite, expected)
    return default_bbox


def check_label(label: Any, n_bbox: int, name: str = 'label') -> Any:
    """Return the labels of one image as int32, or raise.

    Parameters
    ----------
    label : integer array or list of shape (R,)
        Foreground classes, counted from 0.
    n_bbox : int
        Number of boxes R.
    name : str
        Name of the argument in messages.

    Returns
    -------
    int32 array of shape (R,)

    Raises
    ------
    ValueError
        If the shape is not (R,), the dtype is not integer, or a label is negative or above
        2**31 - 2. The message names the row.
    """
    label = as_array(label, name, 'fiu', 'integers')
    xp = get_array_module(label)
    if label.shape != (n_bbox,):
        raise ValueError(f'{name} has shape {label.shape}: expected ({n_bbox},), one for each box')
    if label.dtype.kind not in 'iu' and n_bbox:
        raise ValueError(f'{name} has dtype {label.dtype}: expected integers')
    if checks_values(xp):
        signed = label.astype('q')  # an unsigned value above its range becomes negative
        valid = (signed >= 0) & (signed <= MAX_LABEL)
        if not valid.all():
            row = int(xp.flatnonzero(~valid)[0])
            raise ValueError(
                f'{name}[{row}] = {int(label[row])}: expected foreground classes, counted from 0'
            )
    return label.astype('i', copy=False)


def check_column(
    column: Any, n_bbox: int, name: str, kinds: str = 'fiu', expected: str = 'numbers'
) -> Any:
    """Return an array with one value for each box, or raise.

    Parameters
    ----------
    column : array or list of shape (N,)
        On the CPU.
    n_bbox : int
        Number of boxes N.
    name : str
        Name of the argument in messages.
    kinds : str
        Letters of ``dtype.kind`` that are accepted. Default: floats and integers.
    expected : str
        What these dtypes are, in messages.

    Returns
    -------
    array of shape (N,)

    Raises
    ------
    ValueError
        If the shape is not (N,).
    TypeError
        If the dtype is not accepted.
    """
    column = as_array(column, name, kinds, expected)
    if column.shape != (n_bbox,):
        raise ValueError(f'{name} has shape {column.shape}: expected ({n_bbox},), one for each box')
    return column


def check_index(index: Any, n_box: int, n_truth: int, name: str = 'index') -> Any:
    """Return the assignment of one image as int32, or raise.

    Parameters
    ----------
    index : integer array of shape (K,)
        Row of the assigned ground truth, -1 for background, -2 for ignored.
    n_box, n_truth : int
        Number of default boxes K and of ground truths R.
    name : str
        Name of the argument in messages.

    Returns
    -------
    int32 array of shape (K,)

    Raises
    ------
    ValueError
        If the shape is not (K,), the dtype is not integer, or a value is outside -2 ... R - 1.
    """
    index = as_array(index, name)
    xp = get_array_module(index)
    if index.shape != (n_box,) or (index.dtype.kind not in 'iu' and n_box):
        raise ValueError(
            f'{name} has shape {index.shape} and dtype {index.dtype}: '
            f'expected ({n_box},) integers, one for each default box'
        )
    if checks_values(xp) and n_box and not -2 <= index.min() <= index.max() < n_truth:
        row = int(xp.flatnonzero((index < -2) | (index >= n_truth))[0])
        raise ValueError(
            f'{name}[{row}] = {int(index[row])}: expected -2, -1 or the row of one '
            f'of {n_truth} ground truths'
        )
    return index.astype('i', copy=False)


def check_image(img: Any, name: str = 'img') -> None:
    """Raise ``ValueError`` unless an image has shape (3, H, W) with H and W above 0."""
    if np.ndim(img) != 3 or img.shape[0] != 3 or img.size == 0:
        raise ValueError(f'{name} has shape {np.shape(img)}: expected (3, H, W)')


def check_pixel_range(img: Any, name: str = 'img') -> None:
    """Raise unless the values of an image are numbers from 0 to 255.

    Images scaled to [0, 1] and images without their mean are the usual mistakes. A float image is
    taken as scaled to [0, 1] if no value is above 1 and one value is not a whole number.

    Parameters
    ----------
    img : array
        On the CPU, of any shape. The values of a uint8 array are not read.
    name : str
        Name of the argument in messages.

    Raises
    ------
    TypeError
        If the dtype is neither integer nor float.
    ValueError
        If a value is NaN, below 0 or above 255 by more than half a unit, or all are in [0, 1].
    """
    img = np.asarray(img)
    if img.dtype.kind not in 'fiu':
        raise TypeError(f'{name} has dtype {img.dtype}: expected uint8 or float32, 0 to 255')
    if img.dtype == np.uint8 or not img.size:
        return
    low, high = img.min(), img.max()
    if not -_ROUNDING <= low <= high <= 255 + _ROUNDING:  # also False for NaN
        raise ValueError(f'{name} has values from {low:g} to {high:g}: expected 0 to 255')
    if img.dtype.kind == 'f' and high <= 1 and (img != np.rint(img)).any():
        raise ValueError(
            f'{name} has values from {low:g} to {high:g}, as if scaled to [0, 1]: '
            'expected 0 to 255. Multiply it by 255'
        )


_ROUNDING = 0.5  # an interpolated value may lie this far outside


def raise_for_row(name: str, array: Any, valid: Any, expected: str) -> None:
    """Raise ``ValueError`` for the first row of ``array`` that is not ``valid``, if any.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    array : array of shape (N, ...)
        Checked values.
    valid : bool array of shape (N,)
        Whether each row is valid.
    expected : str
        What a valid row is.

    Raises
    ------
    ValueError
        If a row is not valid: names the row, its values and what was expected.
    """
    if valid.all():
        return
    row = int(get_array_module(valid).flatnonzero(~valid)[0])
    value = array[row].tolist()
    value = tuple(value) if isinstance(value, list) else value
    raise ValueError(f'{name}[{row}] = {value}: expected {expected}')
