"""Ground truth as other frameworks hand it over, x before y, made into targets."""

import itertools
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_ssd._array import checks_values, get_array_module
from chainer_ssd.functions._arguments import where_
from chainer_ssd.ops import encode


class Targets(NamedTuple):
    """Of a batch: index (B, K) as :func:`match` gives it, and what :func:`encode` makes of it:
    mb_locs (B, K, 4) = (dx, dy, dw, dh) and mb_labels (B, K)."""

    index: Any
    mb_locs: Any
    mb_labels: Any


def swap_xy(array):
    """(x, y, ...) to (y, x, ...) in the last axis of 4, and back."""
    return array[..., [1, 0, 3, 2]]


def make_targets(matcher, default_bbox, gt_bboxes, gt_labels, variance, comm):
    """Matches and encodes image by image; ``gt_labels`` count foreground classes from 0."""
    xp = get_array_module(default_bbox)
    shape = len(gt_bboxes), len(default_bbox)
    targets = Targets(
        xp.empty(shape, 'i'), xp.empty((*shape, 4), default_bbox.dtype), xp.empty(shape, 'i')
    )
    for i, (gt_bbox, gt_label) in enumerate(zip(gt_bboxes, gt_labels)):
        try:
            targets.index[i] = matcher(swap_xy(gt_bbox))
            mb_loc, targets.mb_labels[i] = encode(
                default_bbox, swap_xy(gt_bbox), gt_label, targets.index[i], variance
            )
        except ValueError as error:
            raise ValueError(f'{where_(comm)}image {i}: {error}') from error
        targets.mb_locs[i] = swap_xy(mb_loc)
    return targets


def as_array(x):
    """The array of a Variable, an array or a list."""
    x = x.array if isinstance(x, chainer.Variable) else x
    return x if hasattr(x, 'dtype') else np.asarray(x)


def check_images(name, per_image, n_image, comm):
    """Refuses ground truth for another number of images than the predictions are for."""
    if len(per_image) != n_image:
        raise ValueError(
            f'{where_(comm)}{name} holds {len(per_image)} images and the predictions '
            f'{n_image}: expected as many'
        )


def split_images(gt_box, gt_label, gt_lens, n_image, comm):
    """Two lists of one array an image, from such lists or from one array each and ``gt_lens``."""
    if gt_lens is None and not isinstance(gt_box, (list, tuple)) and as_array(gt_box).ndim == 2:
        if n_image != 1:
            raise ValueError(
                f'{where_(comm)}gt_box is one array for {n_image} images: expected '
                'gt_lens with it, or a list of arrays'
            )
        gt_lens = [len(gt_box)]
    if gt_lens is None:
        gt_bboxes, gt_labels = list(map(as_array, gt_box)), list(map(as_array, gt_label))
    else:
        gt_bboxes, gt_labels = (
            _split(name, as_array(gt), as_array(gt_lens).tolist(), comm)
            for name, gt in (('gt_box', gt_box), ('gt_label', gt_label))
        )
    check_images('gt_box', gt_bboxes, n_image, comm)
    check_images('gt_label', gt_labels, n_image, comm)
    return gt_bboxes, gt_labels


def _split(name, array, lens, comm):
    if not all(isinstance(n, int) and n >= 0 for n in lens) or array.shape[:1] != (sum(lens),):
        raise ValueError(
            f'{where_(comm)}gt_lens = {lens} and {name} has shape {array.shape}: '
            'expected whole numbers >= 0 that add up to its rows'
        )
    return [array[stop - n : stop] for n, stop in zip(lens, itertools.accumulate(lens))]


def check_rows(name, box, valid, expected, comm):
    """Refuses rows that are not finite or not ``valid``, naming the first."""
    xp = get_array_module(box)
    if checks_values(xp):
        valid = valid.all(axis=1) & xp.isfinite(box).all(axis=1)
        if not valid.all():
            row = int(xp.flatnonzero(~valid)[0])
            raise ValueError(
                f'{where_(comm)}{name}[{row}] = {tuple(box[row].tolist())}: expected '
                f'finite {expected}'
            )


def check_default_box(name, box, comm, centered=False):
    """Casts default boxes, corners or (cx, cy, w, h), to floats; a size of 0 is legal."""
    xp = get_array_module(box)
    box = _as_numbers(name, box, comm)
    box = box.astype(xp.promote_types(box.dtype, 'f'), copy=False)
    if centered:
        check_rows(name, box, box[:, 2:] >= 0, '(cx, cy, w, h) with w >= 0 and h >= 0', comm)
    else:
        check_rows(
            name,
            box,
            box[:, :2] <= box[:, 2:],
            '(x_min, y_min, x_max, y_max) with x_min <= x_max and y_min <= y_max',
            comm,
        )
    return box


def check_gt_bbox(name, gt_bbox, dtype, comm):
    """Casts boxes (x_min, y_min, x_max, y_max) and refuses those that no detector can learn."""
    if gt_bbox.shape == (0,):  # the empty list
        gt_bbox = gt_bbox.reshape(0, 4)
    gt_bbox = _as_numbers(name, gt_bbox, comm).astype(dtype, copy=False)
    check_rows(
        name,
        gt_bbox,
        gt_bbox[:, :2] < gt_bbox[:, 2:],
        '(x_min, y_min, x_max, y_max) with x_min < x_max and y_min < y_max',
        comm,
    )
    return gt_bbox


def check_gt_label(name, gt_label, n_bbox, n_label, comm, background_label=None):
    """Casts labels of shape (R,) or (R, 1) and refuses those outside 0 ... n_label - 1."""
    xp = get_array_module(gt_label)
    if gt_label.shape not in ((n_bbox,), (n_bbox, 1)):
        raise ValueError(
            f'{where_(comm)}{name} has shape {gt_label.shape} for {n_bbox} boxes: '
            f'expected ({n_bbox},) or ({n_bbox}, 1)'
        )
    if gt_label.dtype.kind not in 'fiu':
        raise TypeError(
            f'{where_(comm)}{name} has dtype {gt_label.dtype}: expected integers or integral floats'
        )
    gt_label = gt_label.reshape(n_bbox)
    if checks_values(xp):
        wrong = ~((gt_label >= 0) & (gt_label < n_label) & (gt_label == xp.floor(gt_label)))
        if background_label is not None:
            wrong |= gt_label == background_label
        if wrong.any():
            row = int(xp.flatnonzero(wrong)[0])
            but = '' if background_label is None else f', background_label {background_label} apart'
            raise ValueError(
                f'{where_(comm)}{name}[{row}] = {gt_label[row].item()}: '
                f'expected a whole number from 0 to {n_label - 1}{but}'
            )
    return gt_label.astype('i')


def _as_numbers(name, box, comm):
    if box.ndim != 2 or box.shape[1] != 4:
        raise ValueError(
            f'{where_(comm)}{name} has shape {box.shape}: expected (..., 4), one box a row'
        )
    if box.dtype.kind not in 'fiu':
        raise TypeError(f'{where_(comm)}{name} has dtype {box.dtype}: expected numbers')
    return box
