"""Checks of examples that are matched with default boxes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._validation import check_bbox, check_index
from chainer_ssd.ops import MIN_MATCH_IOU, bbox_iou

_N_COLUMN = 4  # img, bbox, label, index
_IOU_ROUNDING = 1e-5


def read_matched_example(dataset: Any, position: int, n_box: int) -> tuple[Array, Array]:
    """Return the ground truths and the assignment of an example, validated."""
    example = dataset[position]
    if not isinstance(example, (tuple, list)) or len(example) != _N_COLUMN:
        raise ValueError(
            f'dataset[{position}] is a {type(example).__name__} of {len(example)}: '
            'expected (img, bbox, label, index), as MatchTransform returns it'
        )
    bbox = check_bbox(example[1], f'bbox of dataset[{position}]', allow_empty=True)
    return bbox, check_index(example[3], n_box, len(bbox), f'index of dataset[{position}]')


def warn_of_other_boxes(position: int, corners: Array, bbox: Array, index: Array) -> bool:
    """Warn and return True if the surest default box of a matched ground truth is unmatched.

    Every match type assigns that box, to this ground truth or to another one.

    Parameters
    ----------
    position : int
        Number of the example, for the message.
    corners : float array of shape (K, 4)
        (y_min, x_min, y_max, x_max) of the default boxes.
    bbox : float array of shape (R, 4)
        Ground truths.
    index : int array of shape (K,)
        The assignment.
    """
    rows = np.unique(index[index >= 0])
    if not len(rows):
        return False
    iou = bbox_iou(corners, bbox[rows])
    best = iou.max(axis=0)
    is_matched = ((iou >= best - _IOU_ROUNDING) & (index >= 0)[:, None]).any(axis=0)
    wrong = np.flatnonzero(~is_matched & (best > MIN_MATCH_IOU + _IOU_ROUNDING))
    if not len(wrong):
        return False
    warnings.warn(
        f'MatchReport: ground truth {rows[wrong[0]]} of dataset[{position}] has default boxes, but '
        f'not the one with the largest IoU ({best[wrong[0]]:.2f}). The data set was matched with '
        'other default boxes, so the figures mean nothing',
        stacklevel=4,
    )
    return True
