"""Encoding boxes as offsets from default boxes, and decoding them.

``decode(default_bbox, encode(...))`` returns the encoded box, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._validation import (
    as_array,
    as_bbox,
    check_bbox,
    check_default_bbox,
    check_index,
    check_label,
    raise_for_row,
)
from chainer_ssd.ops.boxes import center_to_corner, corner_to_center
from chainer_ssd.ops.code_types import (
    check_code,
    clip_corners,
    compute_offsets,
    decode_corners,
    to_code_form,
)
from chainer_ssd.ops.padded_truths import encode_padded, pad_rows

#: Logarithm: a decoded side is at most 1e6 times that of its default box. So exp cannot overflow.
MAX_LOG_RATIO = math.log(1e6)


def encode(
    default_bbox: Array,
    bbox: Array | Sequence[Any],
    label: Array | Sequence[int],
    index: Array,
    variance: Array | Sequence[float] = (0.1, 0.2),
    code_type: str = 'center_size',
    variance_in_target: bool = False,
) -> tuple[Array, Array]:
    """Return the targets of the default boxes of one image.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    bbox : array or list of shape (R, 4)
        Ground truths (y_min, x_min, y_max, x_max), in the unit of ``default_bbox``.
    label : integer array or list of shape (R,)
        Foreground classes, counted from 0.
    index : integer array of shape (K,)
        Result of :func:`match`: the row of the ground truth, -1 background, -2 ignored.
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        Scales of (dy, dx) and (dh, dw), or of dy, dx, dh and dw, or of each default box.
    code_type : {'center_size', 'corner', 'corner_size'}
        What an offset is. ``'center_size'``: difference of the centers in sides of the default
        box, and logarithm of the ratio of the sides. ``'corner'``: difference of the corners.
        ``'corner_size'``: that difference in sides of the default box. Default: as in the paper.
    variance_in_target : bool
        Whether the offsets are not divided by ``variance``, as with Caffe's
        ``encode_variance_in_target``. Default: False.

    Returns
    -------
    mb_loc : float array of shape (K, 4)
        (dy, dx, dh, dw), at least float32. Exactly 0 where no ground truth is assigned. Of the
        corners: offsets of (y_min, x_min, y_max, x_max).
    mb_label : int32 array of shape (K,)
        0 background, -1 ignored, else the label of the ground truth + 1.

    Raises
    ------
    ValueError
        If a ground truth is not finite or has no area, or a default box without area has one
        assigned. If a label is negative, above 2**31 - 2 or not an integer. If an index points
        at no ground truth, or shapes disagree. If there is no such code type.
    TypeError
        If a dtype of boxes is not integer or float, or ``variance_in_target`` is no flag.

    Notes
    -----
    Liu et al. (2016), equation 2, with the variances of its Caffe code. The code types are those
    of Caffe's ``bbox_util.cpp``. The models of this package use ``'center_size'``.

    Examples
    --------
    >>> import numpy as np
    >>> default_bbox = np.array([(5, 5, 10, 10), (50, 50, 10, 10)], np.float32)
    >>> mb_loc, mb_label = encode(default_bbox, [(0, 0, 10, 10)], [2], np.array([0, -1]))
    >>> mb_label.tolist()
    [3, 0]
    """
    encoder = Encoder(default_bbox, variance, code_type, variance_in_target)
    return encoder(check_bbox(bbox), label, index)


class Encoder:
    """:func:`encode` for many images: default boxes and variances are checked once.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        As :func:`encode` takes it.
    code_type, variance_in_target
        As :func:`encode` takes them.

    Raises
    ------
    ValueError
        If a default box is not finite or has a negative size, or a variance is not a positive
        number. If there is no such code type.
    TypeError
        If the dtype of the default boxes is not integer or float.
    """

    def __init__(
        self,
        default_bbox: Array,
        variance: Array | Sequence[float] = (0.1, 0.2),
        code_type: str = 'center_size',
        variance_in_target: bool = False,
    ) -> None:
        check_code(code_type, variance_in_target)
        self.default_bbox = check_default_bbox(default_bbox)
        self.variance = check_variance(variance, self.default_bbox)
        self.code_type, self.variance_in_target = code_type, variance_in_target

    def __call__(
        self, bbox: Array, label: Array | Sequence[int], index: Array
    ) -> tuple[Array, Array]:
        """Return the targets of one image.

        Parameters
        ----------
        bbox : float array of shape (R, 4)
            Valid ground truths, such as :class:`Matcher` has checked.
        label, index
            As :func:`encode` takes them.

        Returns
        -------
        mb_loc, mb_label
            As :func:`encode` returns them.

        Raises
        ------
        ValueError
            As :func:`encode`. A ground truth that is not assigned is not checked.
        """
        xp = get_array_module(self.default_bbox, bbox, index)
        bbox = as_bbox(bbox)
        label = xp.asarray(check_label(label, len(bbox)))
        index = xp.asarray(check_index(index, len(self.default_bbox), len(bbox)))

        positive = xp.flatnonzero(index >= 0)
        truth_of_positive = index[positive]
        truth = to_code_form(self.code_type, bbox)[truth_of_positive]
        default = self.default_bbox[positive]
        if checks_values(xp):
            self._check_assigned(xp, truth, default, bbox, index)
        loc = self._compute_offsets(truth, default, positive)

        mb_loc = xp.zeros(self.default_bbox.shape, loc.dtype)
        mb_loc[positive] = loc
        mb_label = xp.minimum(index, -1) + 1
        mb_label[positive] = label[truth_of_positive] + 1
        return mb_loc, mb_label

    def encode_batch(
        self, bboxes: Sequence[Array], labels: Sequence[Any], index: Array
    ) -> tuple[Array, Array]:
        """Return the targets of a batch.

        On a GPU, all images are encoded at once, and no step waits for the device. The targets
        equal those of one image at a time. On a CPU each image is encoded alone, which is faster
        there.

        Parameters
        ----------
        bboxes : sequence of B float arrays of shape (R_i, 4)
            Valid ground truths of each image, such as :class:`Matcher` has checked. On a GPU they
            may still be on the CPU, and are then copied together.
        labels : sequence of B integer arrays or lists of shape (R_i,)
            Foreground classes of each image, counted from 0.
        index : integer array of shape (B, K)
            Matches, as :meth:`Matcher.assign_batch` returns them.

        Returns
        -------
        mb_locs : float array of shape (B, K, 4)
            As :func:`encode` returns them, for each image.
        mb_labels : int32 array of shape (B, K)
            As :func:`encode` returns them, for each image.

        Raises
        ------
        ValueError
            As :func:`encode`. The message begins with the number of the image. Also if the numbers
            of images disagree.
        """
        xp = get_array_module(self.default_bbox, index, *bboxes)
        index = as_array(index, 'index', 'iu', 'integers')
        n_box = len(self.default_bbox)
        if not len(bboxes) == len(labels) == len(index) or index.shape[1:] != (n_box,):
            raise ValueError(
                f'bboxes holds {len(bboxes)} images, labels {len(labels)}, and index has shape '
                f'{index.shape}: expected (B, {n_box}) for B images'
            )
        dtype = xp.result_type(self.default_bbox, *{as_bbox(bbox).dtype for bbox in bboxes})
        mb_locs = xp.zeros((*index.shape, 4), dtype)
        mb_labels = xp.zeros(index.shape, 'i')
        checked = []
        for i, (bbox, label) in enumerate(zip(bboxes, labels)):
            try:
                if xp is np or checks_values(xp):
                    mb_locs[i], mb_labels[i] = self(bbox, label, index[i])
                else:
                    bbox = as_bbox(bbox)
                    checked.append((bbox, check_label(label, len(bbox))))
            except ValueError as error:
                raise ValueError(f'image {i}: {error}') from error
        if not checked or not n_box:
            return mb_locs, mb_labels
        truths, labels = (
            pad_rows(xp, arrays, kind) for arrays, kind in zip(zip(*checked), (dtype, 'i'))
        )
        truths = to_code_form(self.code_type, truths)
        every_box = self.default_bbox, slice(None)
        return encode_padded(
            xp, truths, labels, index, lambda truth: self._compute_offsets(truth, *every_box)
        )

    def _compute_offsets(self, truth: Array, default_bbox: Array, box: Any) -> Array:
        """Return the offsets of ground truths from default boxes, whose numbers are ``box``."""
        loc = compute_offsets(self.code_type, truth, default_bbox)
        if not self.variance_in_target:
            loc /= self.variance[box] if self.variance.ndim == 2 else self.variance
        return loc

    def _check_assigned(
        self, xp: Any, truth: Array, default: Array, bbox: Array, index: Array
    ) -> None:
        """Raise unless all assigned pairs have finite centers and positive sizes."""
        center = truth if self.code_type == 'center_size' else corner_to_center(truth)
        if not (xp.isfinite(center).all() and (center[:, 2:] > 0).all()):
            check_bbox(bbox)
        if not default[:, 2:].all():
            has_area = self.default_bbox[:, 2:].all(axis=1)
            row = int(xp.flatnonzero((index >= 0) & ~has_area)[0])
            raise ValueError(
                f'default_bbox[{row}] = {tuple(self.default_bbox[row].tolist())} has no area, '
                f'and ground truth {int(index[row])} is assigned to it'
            )


def decode(
    default_bbox: Array,
    mb_loc: Array,
    variance: Array | Sequence[float] = (0.1, 0.2),
    code_type: str = 'center_size',
    variance_in_target: bool = False,
    clip: Sequence[float] | None = None,
) -> Array:
    """Return the boxes of offsets from default boxes, the inverse of :func:`encode`.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    mb_loc : float array or list of shape (..., K, 4)
        (dy, dx, dh, dw).
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        As :func:`encode` takes it.
    code_type, variance_in_target
        As :func:`encode` takes them.
    clip : sequence of 2 floats or None
        Height and width of an image at whose borders the boxes end, in the unit of
        ``default_bbox``. Caffe clips to (1, 1). Default: no limit.

    Returns
    -------
    float array of shape (..., K, 4)
        ``bbox``: (y_min, x_min, y_max, x_max) in the unit of ``default_bbox``, at least float32.
        A side is at most 1e6 times that of its default box. With a code type of corners, a side may
        be negative.

    Raises
    ------
    ValueError
        If shapes disagree, an offset is not finite, a default box is not finite or has a negative
        size, or a variance is not a positive number. Offsets on a GPU are checked under
        ``chainer.config.debug`` only. If there is no such code type, or ``clip`` is not valid.
    TypeError
        If a dtype is not integer or float, or an array is masked.
    """
    xp = get_array_module(default_bbox, mb_loc)
    default_bbox = check_default_bbox(default_bbox)
    mb_loc = as_array(mb_loc, 'mb_loc')
    if mb_loc.shape[-2:] != default_bbox.shape:
        raise ValueError(
            f'mb_loc has shape {mb_loc.shape} and default_bbox {default_bbox.shape}: '
            'expected (..., K, 4) and (K, 4)'
        )
    if checks_values(xp) and not xp.isfinite(mb_loc).all():
        rows = mb_loc.reshape(-1, 4)
        raise_for_row('mb_loc', rows, xp.isfinite(rows).all(axis=1), 'finite offsets')
    check_code(code_type, variance_in_target)
    variance = check_variance(variance, default_bbox)
    loc = mb_loc * (xp.ones_like(variance) if variance_in_target else variance)
    if code_type == 'center_size':
        # c = c_default + s_default · σ_c · (dy, dx),   s = s_default · exp(σ_s · (dh, dw))
        center = default_bbox[:, :2] + default_bbox[:, 2:] * loc[..., :2]
        size = default_bbox[:, 2:] * xp.exp(xp.minimum(loc[..., 2:], MAX_LOG_RATIO))
        bbox = center_to_corner(xp.concatenate((center, size), axis=-1))
    else:
        bbox = decode_corners(code_type, default_bbox, loc)
    return bbox if clip is None else clip_corners(bbox, clip)


def check_variance(variance: Array | Sequence[float], default_bbox: Array) -> Array:
    """Return variances as an array, or raise if they are invalid.

    Parameters
    ----------
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        As :func:`encode` takes it.
    default_bbox : float array of shape (K, 4)
        The default boxes.

    Returns
    -------
    float array of shape (4,) or (K, 4)
        In the dtype of the default boxes.

    Raises
    ------
    ValueError
        If the shape is another one, or a variance is not a finite positive number.
    """
    xp = get_array_module(default_bbox, variance)
    variance = xp.asarray(as_array(variance, 'variance'), default_bbox.dtype)
    if variance.shape not in ((2,), (4,), default_bbox.shape):
        raise ValueError(
            f'variance has shape {variance.shape}: expected (2,), (4,) or {default_bbox.shape}'
        )
    if checks_values(xp):
        valid = (variance > 0) & xp.isfinite(variance)
        if not valid.all():
            valid = valid.all(axis=1) if valid.ndim == 2 else valid
            raise_for_row('variance', variance, valid, 'finite positive numbers')
    return variance.repeat(2) if variance.shape == (2,) else variance
