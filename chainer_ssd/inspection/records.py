"""The images of a split with their objects, read file by file without stopping at a fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from chainer_ssd._validation import is_valid_bbox
from chainer_ssd.datasets import (
    AnnotationProblem,
    FoundDataset,
    ImageFolder,
    VOCAnnotation,
    read_voc_annotation,
    read_voc_list,
    voc_annotation_file,
)
from chainer_ssd.inspection.finding import Finding, make_finding

_KIND_OF_PROBLEM = {
    'unreadable_box': 'unreadable box',
    'inverted_box': 'inverted box',
    'no_area': 'box without area',
    'not_finite': 'box not finite',
    'repeated': 'repeated box',
    'no_name': 'object without name',
    'no_image': 'missing image',
    'bad_difficult': 'unreadable flag',
}

Box = tuple[float, float, float, float]


class ObjectRecord(NamedTuple):
    """One object whose box is valid."""

    name: str
    bbox: Box
    is_difficult: bool


class ImageRecord(NamedTuple):
    """One image of a split. Its file may be missing (``''``), and its annotation unreadable."""

    name: str
    annotation_file: str
    image_file: str
    annotated_size: tuple[float, float] | None
    objects: tuple[ObjectRecord, ...]  # with valid boxes
    is_background: bool  # its annotation states that there is no object


def read_voc_records(
    root: str | os.PathLike[str], split: str
) -> tuple[list[ImageRecord], list[Finding]]:
    """Return the images of a split in Pascal VOC's layout, and the faults of its files.

    Parameters
    ----------
    root : str or path
        Folder that holds Annotations/, ImageSets/Main/ and JPEGImages/.
    split : str
        Name of the list in ImageSets/Main/.

    Returns
    -------
    records : list of ImageRecord
        One for each image in the list.
    findings : list of Finding
        Faults of lists, annotations and boxes.

    Raises
    ------
    OSError, ValueError
        If the list cannot be read.
    """
    found = read_voc_list(root, split)
    images = ImageFolder(os.path.join(os.fspath(root), 'JPEGImages'))
    findings = [
        make_finding('listed twice', found.file, f'{name} stands twice') for name in found.repeated
    ]
    records = []
    for name in found.names:
        image_file, path = '', os.path.join(root, 'JPEGImages', name)
        try:
            image_file = images.find(name)
        except FileNotFoundError as error:
            findings.append(make_finding('missing image', path, str(error)))
        except ValueError as error:
            is_special = str(error).endswith('expected a regular file')
            fault = 'unreadable image' if is_special else 'several images'
            findings.append(make_finding(fault, path, str(error)))
        file = voc_annotation_file(root, name)
        records.append(_read_xml_record(name, image_file, file, findings))
    return records, findings


def read_records(found: FoundDataset, split: str) -> tuple[list[ImageRecord], list[Finding]]:
    """Return the images of a split of any format, and the faults of its files.

    Parameters
    ----------
    found : FoundDataset
        The data set.
    split : str
        The split.

    Returns
    -------
    records : list of ImageRecord
        One for each image.
    findings : list of Finding
        Faults of annotations and boxes.

    Raises
    ------
    OSError, ValueError
        If the file of the whole split cannot be read.
    """
    list_name = found.find_list(split)
    if list_name is not None:
        return read_voc_records(found.path, list_name)
    records: list[ImageRecord] = []
    findings: list[Finding] = []
    if found.format == 'voc':
        for pair in found.list_files(split):
            file = pair.annotation_file or ''
            if not pair.image_file:
                findings.append(make_finding('missing image', file, 'no image has its name'))
            records.append(_read_xml_record(pair.name, pair.image_file, file, findings))
        return records, findings
    for pair, annotation in found.read_annotations(split):
        file = pair.annotation_file or ''
        is_background = not annotation.objects and not annotation.problems
        objects = _check_objects(annotation, file, pair.image_file, findings)
        if not pair.name:  # annotations of no image
            continue
        if not pair.image_file:
            text = f'{pair.name} is not there'
            findings.append(make_finding('missing image', file, text))
        elif not file:
            text = 'no label file, so it counts as background'
            findings.append(make_finding('image without labels', pair.image_file, text))
        records.append(
            ImageRecord(
                pair.name,
                file or pair.image_file,
                pair.image_file,
                annotation.image_size,
                objects,
                is_background and bool(file),
            )
        )
    return records, findings


def _read_xml_record(name: str, image_file: str, file: str, findings: list[Finding]) -> ImageRecord:
    """Return the record of one annotation file, and add its faults to ``findings``."""
    annotation, is_background = VOCAnnotation((), None, ()), False
    try:
        annotation = read_voc_annotation(file, image_file or name)
        is_background = not annotation.objects and not annotation.problems
    except FileNotFoundError:
        findings.append(make_finding('missing annotation', file, 'no such file'))
    except (OSError, ValueError) as error:
        findings.append(make_finding('unreadable annotation', file, str(error)))
    objects = _check_objects(annotation, file, image_file, findings)
    return ImageRecord(name, file, image_file, annotation.image_size, objects, is_background)


def _check_objects(
    annotation: VOCAnnotation, file: str, image_file: str, findings: list[Finding]
) -> tuple[ObjectRecord, ...]:
    """Return the objects with valid boxes, and add the other ones to ``findings``."""
    findings += map(_to_finding, annotation.problems)
    objects = []
    for row, each in _readable_objects(annotation):
        kind = _find_invalid(each.bbox)
        if kind is None:
            objects.append(each)
        else:
            text = f'object {row} ({each.name}): (y_min, x_min, y_max, x_max) = {each.bbox}'
            box = each.bbox if kind != 'box not finite' else None
            findings.append(make_finding(kind, file, text, image_file, box))
    return tuple(objects)


def _to_finding(problem: AnnotationProblem) -> Finding:
    where = 'outside any <object>' if problem.row is None else f'object {problem.row}'
    image = problem.image if os.path.isfile(problem.image) else ''
    text = f'{where}: {problem.reason}'
    return make_finding(_KIND_OF_PROBLEM[problem.kind], problem.file, text, image)


def _readable_objects(annotation: VOCAnnotation) -> Iterator[tuple[int, ObjectRecord]]:
    faulty = {problem.row for problem in annotation.problems}
    for row, each in enumerate(annotation.objects):
        if row not in faulty and each.name is not None and each.bbox is not None:
            yield row, ObjectRecord(each.name, each.bbox, each.is_difficult)


def _find_invalid(bbox: Box) -> str | None:
    """Return the kind of an invalid box, None for a valid one."""
    with np.errstate(over='ignore'):
        array = np.array([bbox], np.float32)
    if is_valid_bbox(array)[0]:
        return None
    y_min, x_min, y_max, x_max = array[0]
    if y_min > y_max or x_min > x_max:
        return 'inverted box'
    return 'box without area' if y_min == y_max or x_min == x_max else 'box not finite'
