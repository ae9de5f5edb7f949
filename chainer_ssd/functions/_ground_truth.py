"""Ground truth in the formats of PaddlePaddle and ssd.pytorch, split by image and checked.

Both interfaces have x before y.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import short_repr
from chainer_ssd._validation import as_array as as_numeric_array
from chainer_ssd._validation import raise_for_row
from chainer_ssd.functions._argument_checks import rank_prefix

#: All letters of ``dtype.kind``. Each dtype is checked where its meaning is known.
_ALL_KINDS = 'biufcmMOSUV'


def as_array(x: Any, name: str) -> Array:
    """Return the array of a ``chainer.Variable``, an array or a list, of any dtype."""
    x = x.array if isinstance(x, chainer.Variable) else x
    return as_numeric_array(x, name, _ALL_KINDS)


def as_image_list(name: str, per_image: Any, comm: Any) -> list[Array]:
    """Return ground truths as a list with one array per image, or raise."""
    if isinstance(per_image, (str, bytes, dict, set, frozenset)) or not isinstance(
        per_image, (Iterable, np.ndarray)
    ):
        raise TypeError(
            f'{rank_prefix(comm)}{name} = {short_repr(per_image)}: expected a list with one array '
            'for each image'
        )
    if getattr(per_image, 'ndim', 1) == 0:
        raise ValueError(f'{rank_prefix(comm)}{name} has shape (): expected one array per image')
    return [as_array(each, f'{rank_prefix(comm)}{name}[{i}]') for i, each in enumerate(per_image)]


def check_n_image(name: str, per_image: Sequence[Any], n_image: int, comm: Any) -> None:
    """Raise unless there is ground truth for as many images as there are predictions."""
    if len(per_image) != n_image:
        raise ValueError(
            f'{rank_prefix(comm)}{name} holds {len(per_image)} images and the predictions '
            f'{n_image}: expected the same number'
        )


def split_images(
    gt_box: Any, gt_label: Any, gt_lens: Any, n_image: int, comm: Any
) -> tuple[list[Array], list[Array]]:
    """Return the boxes and the labels as lists with one array per image.

    Parameters
    ----------
    gt_box, gt_label
        Lists of arrays, or one array each, as :func:`chainer_ssd.ssd_loss` takes them.
    gt_lens : sequence of int or None
        Number of ground truths of each image, if ``gt_box`` and ``gt_label`` are one array each.
    n_image : int
        Number of images of the predictions.
    comm : communicator or None
        Its rank is named in messages.
    """
    if (
        gt_lens is None
        and not isinstance(gt_box, (list, tuple))
        and as_array(gt_box, 'gt_box').ndim == 2
    ):
        if n_image != 1:
            raise ValueError(
                f'{rank_prefix(comm)}gt_box is one array for {n_image} images: expected '
                'gt_lens with it, or a list of arrays'
            )
        gt_lens = [len(gt_box)]
    if gt_lens is None:
        gt_bboxes = as_image_list('gt_box', gt_box, comm)
        gt_labels = as_image_list('gt_label', gt_label, comm)
    else:
        lens = as_array(gt_lens, 'gt_lens').tolist()
        gt_bboxes = _split_rows('gt_box', as_array(gt_box, 'gt_box'), lens, comm)
        gt_labels = _split_rows('gt_label', as_array(gt_label, 'gt_label'), lens, comm)
    check_n_image('gt_box', gt_bboxes, n_image, comm)
    check_n_image('gt_label', gt_labels, n_image, comm)
    return gt_bboxes, gt_labels


def split_column(name: str, column: Any, gt_lens: Any, n_image: int, comm: Any) -> list[Array]:
    """Return a further column of the ground truth as a list with one array per image.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    column
        List of arrays, or one array with ``gt_lens`` or for one image.
    gt_lens, n_image, comm
        As those of :func:`split_images`.
    """
    if gt_lens is not None:
        lens = as_array(gt_lens, 'gt_lens').tolist()
        columns = _split_rows(name, as_array(column, name), lens, comm)
    elif n_image == 1 and getattr(column, 'ndim', 0) == 1:
        columns = [as_array(column, name)]
    else:
        columns = as_image_list(name, column, comm)
    check_n_image(name, columns, n_image, comm)
    return columns


def _split_rows(name: str, array: Array, lens: list[Any], comm: Any) -> list[Array]:
    is_valid = isinstance(lens, list) and all(type(n) is int and n >= 0 for n in lens)
    if not is_valid or array.shape[:1] != (sum(lens),):
        raise ValueError(
            f'{rank_prefix(comm)}gt_lens = {short_repr(lens)} and {name} has shape {array.shape}: '
            'expected integers >= 0 whose sum is the number of rows'
        )
    return [array[stop - n : stop] for n, stop in zip(lens, itertools.accumulate(lens))]


def check_gt_label(
    gt_label: Array,
    n_bbox: int,
    n_class: int,
    name: str,
    background_label: int | None = None,
) -> Array:
    """Return labels as int32 of shape (R,), or raise.

    Parameters
    ----------
    gt_label : array of shape (R,) or (R, 1)
        Integers, or floats that are integers.
    n_bbox : int
        Number of boxes R.
    n_class : int
        Labels must be in 0 ... n_class - 1.
    name : str
        Name of the argument in messages.
    background_label : int or None
        A label in that range that is not legal.
    """
    xp = get_array_module(gt_label)
    if gt_label.shape not in ((n_bbox,), (n_bbox, 1)):
        raise ValueError(
            f'{name} has shape {gt_label.shape} for {n_bbox} boxes: '
            f'expected ({n_bbox},) or ({n_bbox}, 1)'
        )
    if gt_label.dtype.kind not in 'fiu':
        raise TypeError(f'{name} has dtype {gt_label.dtype}: expected integers or integral floats')
    gt_label = gt_label.reshape(n_bbox)
    if checks_values(xp):
        valid = (gt_label >= 0) & (gt_label < n_class) & (gt_label == xp.floor(gt_label))
        expected = f'an integer from 0 to {n_class - 1}'
        if n_class == 0:
            expected = 'no ground truth: the number of classes counts the background, too'
        if background_label is not None:
            valid &= gt_label != background_label
            expected += f', except background_label {background_label}'
        raise_for_row(name, gt_label, valid, expected)
    return gt_label.astype('i')
