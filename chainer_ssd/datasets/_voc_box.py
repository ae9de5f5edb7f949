"""The box of one object in Pascal VOC's XML, or the reason why it cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from chainer_ssd.datasets._messages import quote, shorten

#: Tags of a box, in our order.
CORNERS = ('ymin', 'xmin', 'ymax', 'xmax')

Box = tuple[float, float, float, float]

# Elements of other formats that hold a box or an outline, in lower case.
_OTHER_SHAPES = {
    'robndbox': 'a rotated <robndbox>',
    'rotated_box': 'a <rotated_box>',
    'rbox': 'a rotated <rbox>',
    'obb': 'a rotated <obb>',
    'polygon': 'a <polygon>',
    'points': '<points>',
    'segmentation': 'a <segmentation>',
    'mask': 'a <mask>',
    'ellipse': 'an <ellipse>',
    'bbox': 'a <bbox>',
    'box': 'a <box>',
}
_BOX_TAGS = {'bndbox', *_OTHER_SHAPES, *CORNERS}

# float() also takes 1_0 and words. "nan" and "inf" are numbers here, so that they are called not
# finite instead of unreadable.
_NUMBER = re.compile(
    r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,5})?|[+-]?(nan|inf|infinity)'
)
_MAX_DIGITS = 400  # more than any float64 has before its point


def group_children(element: Any) -> dict[str, list[Any]]:
    """Return the children of an element by their tag."""
    groups: dict[str, list[Any]] = {}
    for child in element:
        groups.setdefault(child.tag, []).append(child)
    return groups


def read_box(element: Any, boxes: list[Any]) -> tuple[Box | None, str | None]:
    """Return the box of an <object> from its <bndbox> elements, 0-based, or None and the reason."""
    if not boxes:
        return None, _describe_absence(element)
    if len(boxes) > 1:
        return None, f'{len(boxes)} <bndbox> elements in one <object>, expected one'
    children = group_children(boxes[0])
    values = []
    for corner in CORNERS:
        texts = children.get(corner, ())
        if len(texts) != 1:
            return None, _describe_corner(boxes[0], corner, len(texts))
        text = (texts[0].text or '').strip()
        value = parse_number(text)
        if value is None:
            if ',' in text and parse_number(text.replace(',', '.')) is not None:
                return None, f'<{corner}> is {quote(text)}, expected a decimal point, no comma'
            return None, f'<{corner}> is {quote(text)}, expected a number'
        values.append(value - 1)
    return tuple(values), None  # type: ignore[return-value]


def find_stray_boxes(root: Any) -> list[str]:
    """Return one reason for each box or object that stands outside the <object> elements."""
    return [
        reason for child in root if child.tag != 'object' for reason in _walk(child, 'annotation')
    ] + [
        '<object> stands in an <object>, expected it directly in <annotation>'
        for child in root.iterfind('object')
        for inner in child.iter()
        if inner is not child and inner.tag.lower() == 'object'
    ]


def parse_number(text: str | None) -> float | None:
    """Return the number in a text, None if there is none."""
    text = (text or '').strip()
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text.lower()):
        return None
    return float(text)


def _walk(element: Any, parent: str) -> Iterator[str]:
    tag = element.tag.lower()
    inner = {child.tag.lower() for child in element}
    if tag == 'object' or tag in _BOX_TAGS or inner & _BOX_TAGS:
        yield (
            f'<{shorten(element.tag, 40)}> stands in <{shorten(parent, 40)}>, expected an '
            '<object> directly in <annotation>'
        )
    else:
        for child in element:
            yield from _walk(child, element.tag)


def _describe_absence(element: Any) -> str:
    tags = {child.tag.lower(): child.tag for child in element}
    if 'bndbox' in tags:
        return f'<{shorten(tags["bndbox"], 40)}> in the wrong case, expected <bndbox>'
    for tag, what in _OTHER_SHAPES.items():
        if tag in tags:
            return f'only {what}, expected a <bndbox>'
    if element.find('part/bndbox') is not None:
        return 'only boxes of its <part> elements, expected a <bndbox> of the object'
    wrapped = [child for child in element if any(each.tag == 'bndbox' for each in child.iter())]
    if wrapped:
        return f'its <bndbox> stands in <{shorten(wrapped[0].tag, 40)}>, expected it in <object>'
    return 'no <bndbox>'


def _describe_corner(box: Any, corner: str, n: int) -> str:
    if n:
        return f'{n} <{corner}> elements in one <bndbox>, expected one'
    for child in box:
        if child.tag.lower() == corner:
            return f'<{child.tag}> in the wrong case, expected <{corner}>'
    return f'no <{corner}> in its <bndbox>'
