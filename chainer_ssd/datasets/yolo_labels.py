"""YOLO's label files, read and written: one object a line, in fractions of its image."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._files import read_bytes, replace_file
from chainer_ssd._options import check_positive_number
from chainer_ssd._validation import check_column, check_finite_bbox, check_label, raise_for_row
from chainer_ssd.datasets._messages import quote, shorten
from chainer_ssd.datasets._voc_box import parse_number
from chainer_ssd.datasets.annotation_problem import AnnotationProblem

_MAX_BYTES = 16 * 2**20
_N_BOX, _N_POLYGON = 5, 7  # numbers in a line: with a box, with a triangle
_EXPECTED = 'expected a class and four fractions: x_center, y_center, width, height'


class YOLOObject(NamedTuple):
    """One line of a label file.

    Attributes
    ----------
    row : int
        Position of the line among those that are not empty, from 0.
    label : int
        Number of its class. It may be out of range.
    bbox : tuple of float or None
        (y_min, x_min, y_max, x_max) in pixels. It may be inverted or not finite. None if it cannot
        be read.
    """

    row: int
    label: int
    bbox: tuple[float, float, float, float] | None


class YOLOLabels(NamedTuple):
    """The content of a label file.

    Attributes
    ----------
    objects : tuple of YOLOObject
        All lines whose class can be read.
    problems : tuple of AnnotationProblem
        At most one for each line.
    """

    objects: tuple[YOLOObject, ...]
    problems: tuple[AnnotationProblem, ...]


def read_yolo_labels(
    file: str | os.PathLike[str], image_size: tuple[float, float], image: str = ''
) -> YOLOLabels:
    """Return the objects in a label file of YOLO, and what is wrong with them.

    Parameters
    ----------
    file : str or path
        Text file with one object a line: the number of its class, then ``x_center y_center width
        height`` as fractions of the image. At most 16 MiB.
    image_size : tuple of float
        (H, W) of the image in pixels.
    image : str
        Image file, for ``AnnotationProblem.image``.

    Returns
    -------
    YOLOLabels
        Objects and problems. An empty file has neither.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not text, or too large. The message names the file.
    """
    file = os.fspath(file)
    try:
        text = read_bytes(file, _MAX_BYTES).decode('utf-8-sig')
    except UnicodeDecodeError:
        raise ValueError(f'{shorten(file, 300)}: not a text file of YOLO labels') from None
    objects, problems = [], []
    lines = [line.split() for line in text.splitlines()]
    for row, words in enumerate(filter(None, lines)):
        label = parse_number(words[0])
        if label is None or not label.is_integer():
            reason = f'the class is {quote(words[0])}, expected the number of a class'
            problems.append(AnnotationProblem(file, image, row, 'no_name', reason))
            continue
        bbox, why = _read_box(words, image_size)
        objects.append(YOLOObject(row, int(label), bbox))
        if why is not None:
            problems.append(AnnotationProblem(file, image, row, 'unreadable_box', why))
    return YOLOLabels(tuple(objects), tuple(problems))


def write_yolo_labels(
    file: str | os.PathLike[str],
    bbox: Any,
    label: Any,
    image_size: tuple[float, float],
    score: Any = None,
) -> None:
    """Write a label file of YOLO, whole or not at all.

    :func:`read_yolo_labels` reads the boxes back, to 1e-8 of the image's sides.

    Parameters
    ----------
    file : str or path
        The text file. Without objects it is empty, which marks an image without objects.
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max) in pixels.
    label : int array of shape (R,)
        Classes, counted from 0.
    image_size : tuple of float
        (H, W) of the image in pixels.
    score : float array of shape (R,), optional
        Written as a sixth number in each line, as YOLO writes predictions. Label files for a
        training have none. Default: not written.

    Raises
    ------
    ValueError
        If shapes disagree, a number is not finite, a label is negative, or a size is not above 0.
    TypeError
        If a dtype is not that of numbers.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> write_yolo_labels('a.txt', [[10, 20, 30, 60]], [2], (100, 200))    # doctest: +SKIP
    >>> open('a.txt').read()                                               # doctest: +SKIP
    '2 0.20000000 0.20000000 0.20000000 0.20000000\\n'
    """
    bbox = check_finite_bbox(bbox, dtype=np.float64)
    label = check_label(label, len(bbox))
    height, width = (check_positive_number('image_size', side) for side in image_size)
    # x_center = (x_min + x_max) / 2W,   width = (x_max − x_min) / W, and so for y
    (y_min, x_min, y_max, x_max) = (bbox / (height, width, height, width)).T
    columns = [(x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min]
    formats = ['%d', *['%.8f'] * 4]
    if score is not None:
        columns.append(check_column(score, len(bbox), 'score').astype(np.float64))
        raise_for_row('score', columns[-1], np.isfinite(columns[-1]), 'finite numbers')
        formats.append('%.6f')
    lines = [' '.join(formats) % row + '\n' for row in zip(label.tolist(), *columns)]
    with replace_file(file) as stream:
        stream.write(''.join(lines).encode('ascii'))


def _read_box(
    words: list[str], image_size: tuple[float, float]
) -> tuple[tuple[float, float, float, float] | None, str | None]:
    """Return the box of one line in pixels, or None and the reason."""
    values = []
    for word in words[1:]:
        value = parse_number(word)
        if value is None:
            if ',' in word and parse_number(word.replace(',', '.')) is not None:
                return None, f'{quote(word)}, expected a decimal point, no comma'
            return None, f'{quote(word)}, {_EXPECTED}'
        values.append(value)
    n_number = len(words)
    if n_number == _N_BOX + 1:
        return None, f'6 numbers as predictions have, the last is a confidence, {_EXPECTED}'
    if n_number >= _N_POLYGON and n_number % 2:
        what = f'only a polygon of {n_number // 2} points'
        return None, f'{what}{" or a rotated box" if n_number == 9 else ""}, {_EXPECTED}'
    if n_number != _N_BOX:
        return None, f'{n_number} numbers, {_EXPECTED}'
    if min(values) > 1:
        return None, f'all of {", ".join(map(quote, words[1:]))} are above 1, {_EXPECTED}'
    x, y, width, height = values
    image_height, image_width = image_size
    return (
        (y - height / 2) * image_height,
        (x - width / 2) * image_width,
        (y + height / 2) * image_height,
        (x + width / 2) * image_width,
    ), None
