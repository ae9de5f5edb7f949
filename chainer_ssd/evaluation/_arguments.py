"""Validation of detections and ground truths, image by image."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import zip_longest
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._validation import (
    check_bbox,
    check_column,
    check_finite_bbox,
    check_label,
    raise_for_row,
)

#: Figures are arrays with one element per class, up to the largest label.
MAX_LABEL = 99_999
#: float64 holds every integer up to this one, so larger scores of two images could become equal.
MAX_INTEGER_SCORE = 2**53
_COLUMNS = 'pred_bboxes', 'pred_labels', 'pred_scores', 'gt_bboxes', 'gt_labels'
_END = object()


def each_image(
    pred_bboxes: Iterable[Array],
    pred_labels: Iterable[Array],
    pred_scores: Iterable[Array],
    gt_bboxes: Iterable[Array],
    gt_labels: Iterable[Array],
    **gt_columns: Iterable[Array | None] | None,
) -> Iterator[tuple[tuple, tuple]]:
    """Yield (bbox, label, score) and (bbox, label, *columns) of each image, validated.

    A keyword argument adds a column to the ground truths. The column is None for an image where
    the argument or the image's value is None. Its values are not validated.

    Warns
    -----
    UserWarning
        If there is no image.
    """
    iterables = {
        'pred_bboxes': pred_bboxes,
        'pred_labels': pred_labels,
        'pred_scores': pred_scores,
        'gt_bboxes': gt_bboxes,
        'gt_labels': gt_labels,
        **{name: column for name, column in gt_columns.items() if column is not None},
    }
    for name, iterable in iterables.items():
        check_iterable(iterable, name)
    i = -1
    for i, arrays in enumerate(zip_longest(*iterables.values(), fillvalue=_END)):
        image = dict(zip(iterables, arrays))
        ended = [name for name, array in image.items() if array is _END]
        if ended:
            longer = next(name for name, array in image.items() if array is not _END)
            raise ValueError(
                f'{ended[0]} ends after {i} images, but {longer} has more: '
                'expected iterables of one length'
            )
        pred_bbox, pred_label, pred_score, gt_bbox, gt_label = (
            as_plain_array(image[name], f'{name}[{i}]') for name in _COLUMNS
        )
        pred_bbox = check_finite_bbox(pred_bbox, f'pred_bboxes[{i}]', dtype=_dtype_of(pred_bbox))
        gt_bbox = check_bbox(gt_bbox, f'gt_bboxes[{i}]', dtype=_dtype_of(gt_bbox), allow_empty=True)
        pred_label = _check_class(pred_label, len(pred_bbox), f'pred_labels[{i}]')
        pred_score = check_number_column(pred_score, len(pred_bbox), f'pred_scores[{i}]')
        if pred_score.dtype.kind in 'iu':
            is_exact = (pred_score <= MAX_INTEGER_SCORE) & (pred_score >= -MAX_INTEGER_SCORE)
            raise_for_row(f'pred_scores[{i}]', pred_score, is_exact, 'an integer up to 2**53')
        gt_label = _check_class(gt_label, len(gt_bbox), f'gt_labels[{i}]')
        yield (
            (pred_bbox, pred_label, pred_score),
            (gt_bbox, gt_label, *(image.get(name) for name in gt_columns)),
        )
    if i < 0:
        warnings.warn(
            'no image to evaluate: every figure is NaN. An iterator can be read only once',
            stacklevel=4,
        )


def check_iterable(iterable: Any, name: str) -> None:
    """Raise ``TypeError`` unless an argument can hold one array per image, in their order."""
    if not isinstance(iterable, Iterable) or isinstance(iterable, (str, bytes, Mapping, Set)):
        raise TypeError(
            f'{name} = {reprlib.repr(iterable)}: expected an iterable of one array per image'
        )


def as_plain_array(array: Any, name: str) -> Array:
    """Return an array on the CPU, or raise for a masked or a ragged one."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f'{name} is a masked array: expected a plain array')
    try:
        return np.asarray(array)
    except ValueError as error:
        raise ValueError(f'{name}: expected an array of numbers: {error}') from error


def check_number_column(column: Any, n_box: int, name: str, minimum: float | None = None) -> Array:
    """Return one finite number for each box, or raise."""
    column = check_column(as_plain_array(column, name), n_box, name)
    raise_for_row(name, column, np.isfinite(column), 'a finite number')
    if minimum is not None:
        raise_for_row(name, column, column >= minimum, f'a number >= {minimum:g}')
    return column


def check_flag_column(column: Any, n_box: int, name: str) -> Array:
    """Return one bool for each box, all False for None, or raise. Numbers may be 0 or 1."""
    if column is None:
        return np.zeros(n_box, dtype=bool)
    column = check_column(as_plain_array(column, name), n_box, name, 'bfiu', 'bool')
    raise_for_row(name, column, (column == 0) | (column == 1), 'False or True')
    return column.astype(bool)


def _check_class(label: Array, n_box: int, name: str) -> Array:
    """Return the labels of one image, or raise if one is too large for arrays over classes."""
    label = check_label(label, n_box, name)
    raise_for_row(name, label, label <= MAX_LABEL, f'a class from 0 to {MAX_LABEL:,}')
    return label


def _dtype_of(bbox: Array) -> Any:
    """Return ChainerCV's precision, so that an IoU at the threshold falls on the same side."""
    return np.result_type(bbox.dtype, np.float32) if bbox.dtype.kind in 'iu' else None
