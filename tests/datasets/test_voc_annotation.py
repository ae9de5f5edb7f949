import pytest

from chainer_ssd.datasets._voc_annotation import parse_annotation
from tests.datasets.voc_folder import annotation

ENTITY_EXPANSION = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol">'
    + ''.join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip('abcdefgh', 'bcdefghi'))
    + ']><annotation>&i;</annotation>'
)


def parse(tmp_path, content):
    path = tmp_path / 'one.xml'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return parse_annotation(str(path))


def test_content_of_an_annotation(tmp_path):
    found = parse(
        tmp_path,
        annotation(
            [('dog', (1, 2, 3, 4), 0), (' big cat ', ('5.5', '', 'x', ' 8 '), 1)], size=(60, 80)
        ),
    )
    assert found.names == ['dog', 'big cat']
    assert found.corners == [('2', '1', '4', '3'), ('', '5.5', '8', 'x')]
    assert found.difficults == [False, True]
    assert found.image_size == (60, 80)


@pytest.mark.parametrize(
    'size', [None, (0, 0), ('', 80), ('nan', 80), ('inf', 80), (60, '9' * 5000)]
)
def test_unusable_size_is_none(tmp_path, size):
    assert parse(tmp_path, annotation([], size)).image_size is None


def test_parts_of_an_object_are_not_objects(tmp_path):
    found = parse(
        tmp_path,
        """<annotation><object><name>person</name>
        <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>
        </bndbox></part>
        <bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>
        </object></annotation>""",
    )
    assert found.names == ['person']
    assert found.corners == [('20', '10', '40', '30')]
    assert found.difficults == [False]


def test_missing_corners_are_none(tmp_path):
    found = parse(tmp_path, '<annotation><object><name>a</name></object></annotation>')
    assert found.corners == [(None,) * 4]


@pytest.mark.parametrize(
    'content',
    [
        ENTITY_EXPANSION,
        ENTITY_EXPANSION.encode('utf-16'),
        '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotation>&a;</annotation>',
        '<!DOCTYPE l [<!ENTITY % a SYSTEM "file:///etc/hostname"> %a;]><annotation/>',
        '',
        '\0\0',
        '<annotation><object>',
        b'<annotation>\xff\xfe</annotation>',
        '<annotation>&b;',
        '<?xml version="1.0" encoding="none-such"?><annotation/>',
    ],
    ids=[
        'entities',
        'utf-16 entities',
        'external',
        'parameter',
        'empty',
        'zeros',
        'cut',
        'bytes',
        'undefined',
        'encoding',
    ],
)
def test_error_names_hostile_and_malformed_files(tmp_path, content):
    with pytest.raises(ValueError, match='one.xml: not a safe, well-formed XML file'):
        parse(tmp_path, content)


@pytest.mark.parametrize(
    'content, message',
    [
        ('<html><body/></html>', "its root is <html>, expected VOC's <annotation>"),
        ('<annotation><object/></annotation>', 'object 0: no <name>'),
        (annotation([('a', (1, 1, 2, 2), 0), (' ', (1, 1, 2, 2), 0)]), 'object 1: no <name>'),
        (annotation([('a', (1, 1, 2, 2), 'maybe')]), "object 0: <difficult> is 'maybe'"),
    ],
)
def test_error_describes_what_is_not_vocs(tmp_path, content, message):
    with pytest.raises(ValueError, match=f'one.xml.*{message}'):
        parse(tmp_path, content)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.xml'):
        parse_annotation(str(tmp_path / 'none.xml'))
