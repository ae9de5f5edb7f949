"""Reading of Pascal VOC's annotation files."""

from __future__ import annotations

from typing import Any, NamedTuple

from chainer_ssd._extras import require
from chainer_ssd.datasets._bbox_dataset import is_known_size

#: Tags of a box, in our order.
CORNERS = ('ymin', 'xmin', 'ymax', 'xmax')


class VOCAnnotation(NamedTuple):
    """The objects of one image. Coordinates are texts, as the file holds them."""

    names: list[str]
    corners: list[tuple[str | None, ...]]  # texts of CORNERS, None where a tag is missing
    difficults: list[bool]
    image_size: tuple[float, float] | None  # (H, W), None if the file does not state it


def parse_annotation(path: str) -> VOCAnnotation:
    """Return the annotation in an XML file.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not well-formed, is hostile (entities), or is not VOC's. The message names
        the file.
    """
    ElementTree = require('defusedxml.ElementTree', 'data')
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        # defusedxml refuses entities with a ValueError. An unknown encoding is a LookupError.
        raise ValueError(f'{path}: not a safe, well-formed XML file: {error!r}') from error
    if root.tag != 'annotation':
        raise ValueError(f"{path}: its root is <{root.tag}>, expected VOC's <annotation>")

    names, corners, difficults = [], [], []
    for row, item in enumerate(root.iterfind('object')):
        name = _text(item, 'name')
        if not name:
            raise ValueError(f'{path}, object {row}: no <name>')
        difficult = _text(item, 'difficult') or '0'
        if difficult not in ('0', '1'):
            raise ValueError(f'{path}, object {row}: <difficult> is {difficult!r}, expected 0 or 1')
        names.append(name)
        corners.append(tuple(_text(item, f'bndbox/{corner}') for corner in CORNERS))
        difficults.append(difficult == '1')
    size = parse_number(_text(root, 'size/height')), parse_number(_text(root, 'size/width'))
    return VOCAnnotation(names, corners, difficults, size if is_known_size(size) else None)


def parse_number(text: str | None) -> float:
    """Return the number in a text, NaN if there is none."""
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float('nan')


def _text(element: Any, tag: str) -> str | None:
    text = element.findtext(tag)
    return None if text is None else text.strip()
