"""Detections as COCO's result files hold them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._options import check_integer, check_label_names
from chainer_ssd._validation import check_column, check_finite_bbox, check_label, raise_for_row
from chainer_ssd.datasets._coco_annotation import index_by_id, read_coco
from chainer_ssd.datasets._messages import join_first, quote, shorten

_BOX_DIGITS, _SCORE_DIGITS = 4, 6
_MAX_ID = 2**63 - 1


class COCOIds(NamedTuple):
    """The numbers that a file of COCO gives to images and classes.

    Attributes
    ----------
    images : dict of str to int
        The id of each image by its ``file_name``.
    categories : tuple of int
        The id of each class, in the order of the labels.
    """

    images: Mapping[str, int]
    categories: tuple[int, ...]

    def find_image(self, file: str | os.PathLike[str]) -> int | None:
        """Return the id of an image file.

        Parameters
        ----------
        file : str or path
            The file. Its path ends with a ``file_name``. The longest one counts.

        Returns
        -------
        int or None
            None if there is no such image.
        """
        parts = os.path.abspath(file).replace(os.sep, '/').split('/')
        names = ('/'.join(parts[i:]) for i in range(len(parts)))
        return next((self.images[name] for name in names if name in self.images), None)


def read_coco_ids(file: str | os.PathLike[str], label_names: Sequence[str]) -> COCOIds:
    """Return the numbers of images and classes in a file of COCO.

    Parameters
    ----------
    file : str or path
        A JSON file with ``images``, ``annotations`` and ``categories``.
    label_names : sequence of str
        Names of the classes. Each is the name of a category.

    Returns
    -------
    COCOIds
        The numbers.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not COCO's, two images have one name, or a class is no category or several.
    TypeError
        If ``label_names`` is not a sequence of str.
    """
    file = os.fspath(file)
    label_names = check_label_names(label_names)
    coco = read_coco(file)
    name = shorten(file, 300)
    images: dict[str, int] = {}
    for number, image in index_by_id(coco['images'], name, 'images').items():
        file_name = image.get('file_name')
        if not isinstance(file_name, str) or not file_name:
            raise ValueError(f'{name}, image {number}: no file_name')
        file_name = os.path.normpath(file_name).replace(os.sep, '/')
        if file_name in images:
            raise ValueError(f'{name}: two images have the file_name {quote(file_name)}')
        images[file_name] = number
    numbers: dict[Any, list[int]] = {}
    for number, each in index_by_id(coco['categories'], name, 'categories').items():
        numbers.setdefault(each.get('name'), []).append(number)
    for label_name in label_names:
        if len(numbers.get(label_name, ())) != 1:
            there = join_first(quote(each) for each in numbers)
            count = len(numbers.get(label_name, ()))
            raise ValueError(
                f'{name}: {count or "no"} categories {quote(label_name)}, expected one. '
                f'There are {there}'
            )
    return COCOIds(images, tuple(numbers[label_name][0] for label_name in label_names))


def to_coco_results(
    image_id: int, bbox: Any, label: Any, score: Any, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the detections of one image as COCO's result files hold them.

    A list with the detections of all images is what ``pycocotools``' ``COCO.loadRes`` reads.

    Parameters
    ----------
    image_id : int
        The number of the image in COCO's file.
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max) in pixels.
    label : int array of shape (R,)
        Classes, counted from 0.
    score : float array of shape (R,)
        Scores.
    category_ids : sequence of int
        The number of each class in COCO's file, in the order of the labels.

    Returns
    -------
    list of dict
        ``image_id``, ``category_id``, ``bbox`` = [x_min, y_min, width, height], and ``score``.
        Boxes are rounded to 4 digits, scores to 6.

    Raises
    ------
    ValueError
        If shapes disagree, a number is not finite, or a label has no category.
    TypeError
        If a dtype is not that of numbers.

    Notes
    -----
    The format is described at https://cocodataset.org/#format-results.
    """
    image_id = check_integer('image_id', image_id, -_MAX_ID, _MAX_ID)
    bbox = check_finite_bbox(bbox, dtype=np.float64)
    label = check_label(label, len(bbox))
    raise_for_row('label', label, label < len(category_ids), f'0 to {len(category_ids) - 1}')
    score = check_column(score, len(bbox), 'score').astype(np.float64)
    raise_for_row('score', score, np.isfinite(score), 'finite numbers')
    y_min, x_min, y_max, x_max = bbox.T
    boxes = np.stack([x_min, y_min, x_max - x_min, y_max - y_min], axis=1)
    return [
        {
            'image_id': image_id,
            'category_id': int(category_ids[each]),
            'bbox': [round(side, _BOX_DIGITS) for side in box],
            'score': round(value, _SCORE_DIGITS),
        }
        for box, each, value in zip(boxes.tolist(), label.tolist(), score.tolist())
    ]
