"""Boxes in COCO's annotation files, or the reason why a box cannot be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from chainer_ssd.datasets._box_problems import classify_boxes
from chainer_ssd.datasets._messages import quote
from chainer_ssd.datasets.annotation_problem import AnnotationProblem

_EXPECTED = 'expected [x, y, width, height]'


def read_boxes(
    annotations: Mapping[int, Mapping[str, Any]], images: Mapping[int, str], file: str
) -> tuple[dict[int, np.ndarray], tuple[AnnotationProblem, ...]]:
    """Return the valid boxes of annotations, and the other annotations.

    Parameters
    ----------
    annotations : dict
        Annotations by their row in the file.
    images : dict
        Image file of each id.
    file : str
        The annotation file.

    Returns
    -------
    boxes : dict
        (y_min, x_min, y_max, x_max), float32, by row.
    problems : tuple of AnnotationProblem
        Annotations that were left out, by row.
    """
    found: dict[int, tuple[str, str]] = {}
    seen: dict[int, Mapping[str, Any]] = {}
    values: dict[int, list[float]] = {}
    for row, each in annotations.items():
        key = each.get('id')
        if isinstance(key, int) and each == seen.setdefault(key, each) and each is not seen[key]:
            found[row] = 'repeated', f'annotation {key} stands twice, expected each id once'
            continue
        reason = _describe_unreadable(each)
        if reason is None:
            values[row] = [to_number(value) or 0.0 for value in each['bbox']]
        else:
            found[row] = 'unreadable_box', reason
    corners = to_corners(values.values())
    boxes = {}
    for row, box, kind in zip(values, corners, classify_boxes(corners)):
        if kind is None:
            boxes[row] = box
        else:
            each = annotations[row]
            found[row] = (
                kind,
                (
                    f'annotation {quote(each.get("id"))}, bbox = {quote(each["bbox"])}, expected '
                    'finite [x, y, width, height] with width > 0 and height > 0'
                ),
            )
    problems = (
        AnnotationProblem(file, images[annotations[row]['image_id']], row, *found[row])
        for row in sorted(found)
    )
    return boxes, tuple(problems)


def to_corners(values: Iterable[list[float]]) -> np.ndarray:
    """Return boxes [x, y, width, height] as (y_min, x_min, y_max, x_max), float32 (N, 4)."""
    x, y, width, height = np.array(list(values), dtype=np.float64).reshape(-1, 4).T
    # A number beyond float32 becomes inf, and so invalid.
    with np.errstate(over='ignore', invalid='ignore'):
        return np.stack((y, x, y + height, x + width), axis=1).astype(np.float32)


def to_number(value: Any) -> float | None:
    """Return a number of JSON as a float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _describe_unreadable(annotation: Mapping[str, Any]) -> str | None:
    bbox = annotation.get('bbox')
    if bbox is None:
        others = [key for key in ('segmentation', 'keypoints') if annotation.get(key)]
        return f'no bbox, only {others[0]}' if others else 'no bbox'
    if not isinstance(bbox, list):
        return f'bbox is a {type(bbox).__name__}, {_EXPECTED}'
    if any(isinstance(value, (list, dict)) for value in bbox):
        return f'bbox is nested, {_EXPECTED}'
    if len(bbox) != 4:
        return f'bbox has {len(bbox)} numbers, {_EXPECTED}'
    for value in bbox:
        if to_number(value) is None:
            return f'bbox holds a {type(value).__name__}, expected four numbers'
    return None
