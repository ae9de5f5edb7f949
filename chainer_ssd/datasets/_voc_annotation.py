"""Pascal VOC's annotation files."""

from collections import namedtuple

from chainer_ssd._extras import require

CORNERS = ('ymin', 'xmin', 'ymax', 'xmax')

# Per object: names, str; corners, the texts of CORNERS, None where one is missing; difficults,
# bool. Of the image: size, (H, W) or None where the file does not say.
Annotation = namedtuple('Annotation', 'names corners difficults size')


def parse_annotation(path):
    """The `Annotation` in an XML file; ValueError naming the file if it is none, or hostile."""
    ElementTree = require('defusedxml.ElementTree', 'data')
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        # ValueError: defusedxml's refusal of entities; LookupError: an unknown encoding
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
    size = tuple(to_number(_text(root, f'size/{side}')) for side in ('height', 'width'))
    known = all(0 < side < float('inf') for side in size)
    return Annotation(names, corners, difficults, size if known else None)


def to_number(text):
    """float, NaN for what is none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return float('nan')


def _text(element, tag):
    text = element.findtext(tag)
    return None if text is None else text.strip()
