"""Reading of Pascal VOC's annotation files."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from chainer_ssd.datasets._bbox_dataset import to_size
from chainer_ssd.datasets._messages import quote, shorten
from chainer_ssd.datasets._voc_box import find_stray_boxes, group_children, parse_number, read_box
from chainer_ssd.datasets._voc_xml import parse_xml
from chainer_ssd.datasets.annotation_problem import AnnotationProblem


class VOCObject(NamedTuple):
    """One <object> of an annotation file.

    Attributes
    ----------
    name : str or None
        Class name. Each run of white space is one space. None if there is none.
    bbox : tuple of float or None
        (y_min, x_min, y_max, x_max), pixels, 0-based: the file's minus 1. It may be inverted or not
        finite. None if it cannot be read.
    is_difficult : bool
        The file's <difficult>.
    """

    name: str | None
    bbox: tuple[float, float, float, float] | None
    is_difficult: bool


class VOCAnnotation(NamedTuple):
    """The content of an annotation file.

    Attributes
    ----------
    objects : tuple of VOCObject
        All <object> elements, in the order of the file.
    image_size : tuple of float or None
        (H, W), None if the file does not state it.
    problems : tuple of AnnotationProblem
        At most one for each object, and one for each box outside any <object>.
    """

    objects: tuple[VOCObject, ...]
    image_size: tuple[float, float] | None
    problems: tuple[AnnotationProblem, ...]


def read_voc_annotation(file: str | os.PathLike[str], image: str = '') -> VOCAnnotation:
    """Return the objects in an XML file, and what is wrong with them.

    An object that cannot be read does not end the reading. It is among the ``problems``.

    Parameters
    ----------
    file : str or path
        Annotation file. At most 4 MiB.
    image : str
        Image file or name, for ``AnnotationProblem.image``.

    Returns
    -------
    VOCAnnotation
        Objects, annotated size of the image, and problems.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not well-formed, is hostile (entities, too deep, too large), or is not VOC's.
        The message names the file.
    ImportError
        If defusedxml is missing (``pip install "chainer_ssd[data]"``).
    """
    file = os.fspath(file)
    root = parse_xml(file)
    if root.tag != 'annotation':
        raise ValueError(
            f'{shorten(file, 300)}: its root is <{shorten(root.tag, 80)}>, '
            "expected VOC's <annotation>"
        )
    objects, problems = [], []
    for row, element in enumerate(root.iterfind('object')):
        found, kind, reason = _read_object(element)
        objects.append(found)
        if kind is not None:
            problems.append(AnnotationProblem(file, image, row, kind, reason))
    problems.extend(
        AnnotationProblem(file, image, None, 'unreadable_box', reason)
        for reason in find_stray_boxes(root)
    )
    size = to_size(
        parse_number(root.findtext('size/height')), parse_number(root.findtext('size/width'))
    )
    return VOCAnnotation(tuple(objects), size, tuple(problems))


def _read_object(element: Any) -> tuple[VOCObject, str | None, str]:
    """Return an object, and the kind and reason of its worst problem. None: no problem."""
    children = group_children(element)
    name, name_problem = _read_name(children.get('name', []))
    is_difficult, difficult_problem = _read_difficult(children.get('difficult', []))
    for tag in children:
        if tag != tag.lower() == 'difficult':
            difficult_problem = f'<{tag}> in the wrong case, expected <difficult>'
    bbox, box_problem = read_box(element, children.get('bndbox', []))
    found = VOCObject(name, bbox, is_difficult)
    for kind, reason in (
        ('no_name', name_problem),
        ('bad_difficult', difficult_problem),
        ('unreadable_box', box_problem),
    ):
        if reason is not None:
            return found, kind, reason
    return found, None, ''


def _read_name(elements: list[Any]) -> tuple[str | None, str | None]:
    names = [' '.join((each.text or '').split()) for each in elements]
    if len(set(names)) > 1:
        return None, f'{len(names)} <name> elements, expected one'
    if not names or not names[0]:
        return None, 'no <name>'
    return names[0], None


def _read_difficult(elements: list[Any]) -> tuple[bool, str | None]:
    flags = {_to_flag((each.text or '').strip()) for each in elements}
    if None in flags:
        return False, f'<difficult> is {quote(elements[0].text)}, expected 0 or 1'
    if len(flags) > 1:
        return False, f'{len(elements)} <difficult> elements that differ, expected one'
    return bool(flags and flags.pop()), None


def _to_flag(text: str) -> bool | None:
    if text in ('', '0'):
        return False
    if text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    number = parse_number(text)
    return bool(number) if number in (0, 1) else None
