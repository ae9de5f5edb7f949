"""The objects of all annotation files of a data set in Pascal VOC's layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chainer_ssd.datasets._box_problems import classify_boxes
from chainer_ssd.datasets._messages import quote
from chainer_ssd.datasets._voc_box import CORNERS
from chainer_ssd.datasets.annotation_problem import AnnotationProblem
from chainer_ssd.datasets.voc_annotation import VOCAnnotation

_FATAL = ('no_name', 'bad_difficult')
_EXPECTED = {
    'inverted_box': 'ymin < ymax and xmin < xmax',
    'no_area': 'ymin < ymax and xmin < xmax',
    'not_finite': 'finite numbers',
}


class VOCObjects(NamedTuple):
    """Objects with a valid box, one entry each, and what was left out."""

    bbox: np.ndarray
    names: list[str]
    is_difficult: np.ndarray
    image_index: np.ndarray
    problems: tuple[AnnotationProblem, ...]
    file_of_name: dict[str, str]  # the first file of each name, of objects without a valid box too


def join_objects(
    annotations: Sequence[VOCAnnotation], files: Sequence[str], image_files: Sequence[str]
) -> VOCObjects:
    """Return the objects of all images.

    Raises
    ------
    ValueError
        If an object has no name, or a flag that cannot be read.
    """
    names, boxes, flags, places = [], [], [], []
    problems: dict[int, list[AnnotationProblem]] = {}
    file_of_name: dict[str, str] = {}
    for i, annotation in enumerate(annotations):
        for problem in annotation.problems:
            if problem.kind in _FATAL:
                raise ValueError(problem.describe())
            problems.setdefault(i, []).append(problem)
        for row, each in enumerate(annotation.objects):
            assert each.name is not None
            file_of_name.setdefault(each.name, files[i])
            if each.bbox is not None:
                names.append(each.name)
                boxes.append(each.bbox)
                flags.append(each.is_difficult)
                places.append((i, row))
    with np.errstate(over='ignore'):  # a number beyond float32 becomes inf, and so invalid
        bbox = np.array(boxes, dtype=np.float64).reshape(-1, 4).astype(np.float32)
    kinds = classify_boxes(bbox)
    for kind, name, box, (i, row) in zip(kinds, names, boxes, places):
        if kind is not None:
            reason = _describe_box(name, box, kind)
            problem = AnnotationProblem(files[i], image_files[i], row, kind, reason)
            problems.setdefault(i, []).append(problem)
    is_valid = np.array([kind is None for kind in kinds], dtype=bool)
    return VOCObjects(
        bbox[is_valid],
        [name for name, valid in zip(names, is_valid) if valid],
        np.array(flags, dtype=bool)[is_valid],
        np.array([i for i, _ in places], dtype=int)[is_valid],
        tuple(each for i in sorted(problems) for each in sorted(problems[i], key=_by_row)),
        file_of_name,
    )


def _by_row(problem: AnnotationProblem) -> tuple[bool, int]:
    return problem.row is None, problem.row or 0


def _describe_box(name: str, box: Sequence[float], kind: str) -> str:
    numbers = ', '.join(f'{value + 1:.12g}' for value in box)
    return f'{quote(name)}, ({", ".join(CORNERS)}) = ({numbers}), expected {_EXPECTED[kind]}'
