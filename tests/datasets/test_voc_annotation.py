import tracemalloc

import pytest

from chainer_ssd.datasets import VOCObject, read_voc_annotation
from tests.datasets.voc_folder import annotation

ENTITY_EXPANSION = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol">'
    + ''.join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip('abcdefgh', 'bcdefghi'))
    + ']><annotation>&i;</annotation>'
)
BOX = '<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>'
PLAIN = f'<object><name>bolt</name>{BOX}</object>'


def read(tmp_path, content):
    path = tmp_path / 'one.xml'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_voc_annotation(path, 'one.png')


def read_objects(tmp_path, *objects):
    return read(tmp_path, f'<annotation>{"".join(objects)}</annotation>')


def test_content_of_an_annotation(tmp_path):
    found = read(
        tmp_path,
        annotation([('dog', (1, 2, 3, 4), 0), (' big\n cat ', ('5.5', '1', '7', ' 8e0 '), 1)]),
    )
    assert found.objects == (
        VOCObject('dog', (1, 0, 3, 2), False),
        VOCObject('big cat', (0, 4.5, 7, 6), True),
    )
    assert found.image_size == (60, 80)
    assert found.problems == ()


@pytest.mark.parametrize(
    'size', [None, (0, 0), ('', 80), ('nan', 80), ('inf', 80), (60, '9' * 5000)]
)
def test_unusable_size_is_none(tmp_path, size):
    assert read(tmp_path, annotation([], size)).image_size is None


def test_parts_of_an_object_are_not_objects(tmp_path):
    part = f'<part><name>head</name>{BOX.replace("1", "2")}</part>'
    found = read_objects(tmp_path, PLAIN.replace('<bndbox>', f'{part}<bndbox>'))
    assert found.objects == (VOCObject('bolt', (1, 0, 3, 2), False),)
    assert found.problems == ()


@pytest.mark.parametrize('shape', ['robndbox', 'polygon'])
def test_a_box_beside_another_shape_is_read(tmp_path, shape):
    found = read_objects(tmp_path, PLAIN.replace('<bndbox>', f'<{shape}/><bndbox>'))
    assert found.objects[0].bbox == (1, 0, 3, 2)
    assert found.problems == ()


@pytest.mark.parametrize(
    ('box', 'reason'),
    [
        ('<robndbox><cx>1</cx></robndbox>', 'only a rotated <robndbox>, expected a <bndbox>'),
        ('<polygon><x1>1</x1></polygon>', 'only a <polygon>, expected a <bndbox>'),
        (BOX.replace('<ymin>2', '<ymin>2,5'), "<ymin> is '2,5', expected a decimal point"),
        (BOX.replace('<ymin>2', '<ymin>0,5'), "<ymin> is '0,5', expected a decimal point"),
        (BOX.replace('<ymin>2', '<ymin>two'), "<ymin> is 'two', expected a number"),
        (BOX.replace('<ymin>2', '<ymin>1_0'), "<ymin> is '1_0', expected a number"),
        (BOX.replace('<ymin>2', '<ymin>'), "<ymin> is '', expected a number"),
        (BOX.replace('<ymin>2', '<ymin>' + '9' * 5000), "<ymin> is '999.*...', expected a number"),
        (BOX.replace('ymin', 'Ymin'), '<Ymin> in the wrong case, expected <ymin>'),
        (BOX.replace('bndbox', 'Bndbox'), '<Bndbox> in the wrong case, expected <bndbox>'),
        (BOX.replace('bndbox', 'BndBox'), '<BndBox> in the wrong case'),
        (BOX.replace('<ymin>2</ymin>', ''), 'no <ymin> in its <bndbox>'),
        (BOX.replace('<ymin>2</ymin>', '<ymin>2</ymin><ymin>9</ymin>'), '2 <ymin> elements'),
        ('<bndbox xmin="1" ymin="2" xmax="3" ymax="4"/>', 'no <ymin> in its <bndbox>'),
        (BOX + BOX.replace('4', '9'), '2 <bndbox> elements in one <object>, expected one'),
        (f'<part><name>head</name>{BOX}</part>', 'only boxes of its <part> elements'),
        (f'<box>{BOX}</box>', 'only a <box>, expected a <bndbox>'),
        (f'<boxes>{BOX}</boxes>', 'its <bndbox> stands in <boxes>, expected it in <object>'),
        ('', 'no <bndbox>'),
    ],
)
def test_an_object_whose_box_cannot_be_read_is_a_problem(tmp_path, box, reason):
    found = read_objects(tmp_path, PLAIN, f'<object><name>nut</name>{box}</object>', PLAIN)
    assert [each.bbox for each in found.objects] == [(1, 0, 3, 2), None, (1, 0, 3, 2)]
    assert found.objects[1].name == 'nut'
    (problem,) = found.problems
    assert problem[:4] == (str(tmp_path / 'one.xml'), 'one.png', 1, 'unreadable_box')
    assert len(problem.reason) < 180
    with pytest.raises(ValueError, match=reason):
        raise ValueError(problem.reason)
    assert problem.describe() == f'{tmp_path}/one.xml, object 1 of one.png: {problem.reason}'


@pytest.mark.parametrize(
    ('stray', 'tag', 'parent'),
    [
        (f'<objects>{PLAIN}</objects>', 'object', 'objects'),
        (PLAIN.replace('object>', 'item>'), 'item', 'annotation'),
        (PLAIN.replace('object>', 'Object>'), 'Object', 'annotation'),
        (PLAIN.replace('object>', 'OBJECT>').replace('bndbox', 'BNDBOX'), 'OBJECT', 'annotation'),
        ('<Object><name>nut</name></Object>', 'Object', 'annotation'),
        (f'<items>{PLAIN.replace("object>", "item>")}</items>', 'item', 'items'),
        (f'<a><b>{PLAIN}</b></a>', 'object', 'b'),
        ('<item><name>nut</name><polygon/></item>', 'item', 'annotation'),
        ('<item><name>nut</name><xmin>1</xmin></item>', 'item', 'annotation'),
        (BOX, 'bndbox', 'annotation'),
    ],
)
def test_a_box_outside_the_objects_is_a_problem(tmp_path, stray, tag, parent):
    found = read_objects(tmp_path, PLAIN, stray)
    assert len(found.objects) == 1
    (problem,) = found.problems
    assert (problem.row, problem.kind) == (None, 'unreadable_box')
    assert problem.reason.startswith(f'<{tag}> stands in <{parent}>, expected an <object>')
    assert problem.describe() == f'{problem.file}, outside any <object>: {problem.reason}'


def test_each_box_in_a_wrapper_is_a_problem(tmp_path):
    assert len(read_objects(tmp_path, f'<objects>{PLAIN * 3}</objects>').problems) == 3


def test_an_object_in_an_object_is_a_problem(tmp_path):
    found = read_objects(tmp_path, PLAIN.replace('</object>', f'{PLAIN}</object>'))
    assert [each.bbox for each in found.objects] == [(1, 0, 3, 2)]
    assert found.problems[0].reason.startswith('<object> stands in an <object>')


def test_the_head_of_an_annotation_holds_no_object(tmp_path):
    head = (
        '<folder/><filename>a.jpg</filename><source><database>x</database><annotation>y'
        '</annotation><image>z</image></source><owner><flickrid/><name>n</name></owner>'
        '<segmented>0</segmented>'
    )
    assert read_objects(tmp_path, head, PLAIN).problems == ()


@pytest.mark.parametrize(
    ('text', 'flag'),
    [('0', False), ('1', True), ('', False), ('true', True), ('False', False), (' 0.0 ', False)]
    + [('1.0', True), ('TRUE', True)],
)
def test_difficult(tmp_path, text, flag):
    found = read_objects(tmp_path, PLAIN.replace('<bnd', f'<difficult>{text}</difficult><bnd'))
    assert found.objects[0].is_difficult is flag
    assert found.problems == ()


@pytest.mark.parametrize(
    ('change', 'kind', 'reason'),
    [
        ('<difficult>2</difficult>', 'bad_difficult', "<difficult> is '2', expected 0 or 1"),
        ('<difficult>Unspecified</difficult>', 'bad_difficult', "is 'Unspecified'"),
        ('<difficult>nan</difficult>', 'bad_difficult', "is 'nan'"),
        ('<difficult>0</difficult><difficult>1</difficult>', 'bad_difficult', 'that differ'),
        ('<Difficult>1</Difficult>', 'bad_difficult', 'wrong case, expected <difficult>'),
        ('<name>nut</name>', 'no_name', '2 <name> elements, expected one'),
    ],
)
def test_flags_and_names_that_cannot_be_read(tmp_path, change, kind, reason):
    (problem,) = read_objects(tmp_path, PLAIN.replace('<bndbox>', f'{change}<bndbox>')).problems
    assert problem.kind == kind
    assert reason in problem.reason


@pytest.mark.parametrize('name', ['<name> </name>', '<name/>', '', '<Name>nut</Name>'])
def test_an_object_without_a_name(tmp_path, name):
    found = read_objects(tmp_path, PLAIN.replace('<name>bolt</name>', name))
    assert found.objects[0].name is None
    assert found.problems[0].kind == 'no_name'


def declared(encoding, name, codec=None):
    text = f'<?xml version="1.0" encoding="{encoding}"?><annotation>{PLAIN}</annotation>'
    return text.replace('bolt', name).encode(codec or encoding)


@pytest.mark.parametrize(
    ('content', 'name'),
    [
        (declared('gb2312', '螺栓'), '螺栓'),
        (declared('GB2312', '鎔', 'gbk'), '鎔'),  # not in GB2312
        (declared('gb18030', '螺栓'), '螺栓'),
        (declared('Shift_JIS', 'ボルト'), 'ボルト'),
        (declared('EUC-KR', '볼트'), '볼트'),
        (declared('big5', '螺栓'), '螺栓'),
        (declared('windows-1252', 'écrou'), 'écrou'),
        (declared('utf-16', 'écrou'), 'écrou'),
        (b'\xef\xbb\xbf\r\n' + declared('utf-8', 'écrou'), 'écrou'),
        (b'\n  ' + declared('utf-8', 'écrou'), 'écrou'),
        (f'<annotation xmlns="http://a.b/c">{PLAIN}</annotation>', 'bolt'),
        (f'<v:annotation xmlns:v="d">{PLAIN}</v:annotation>', 'bolt'),
        (f'<!DOCTYPE annotation><annotation>{PLAIN}</annotation>', 'bolt'),
    ],
)
def test_encodings_and_namespaces(tmp_path, content, name):
    found = read(tmp_path, content)
    assert [each.name for each in found.objects] == [name]
    assert found.problems == ()


@pytest.mark.parametrize(
    'content',
    [
        ENTITY_EXPANSION,
        ENTITY_EXPANSION.encode('utf-16'),
        ENTITY_EXPANSION.replace('?>', ' encoding="gbk"?>', 1),
        '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotation>&a;</annotation>',
        '<!DOCTYPE l [<!ENTITY % a SYSTEM "file:///etc/hostname"> %a;]><annotation/>',
        '',
        '\0\0',
        '<annotation><object>',
        b'<annotation>\xff\xfe</annotation>',
        '<annotation>&b;',
        '<?xml version="1.0" encoding="none-such"?><annotation/>',
        b'<?xml version="1.0" encoding="gbk"?><annotation>\xff\xff</annotation>',
        '<a>' * 100_000,
        '<annotation>' + '<a/>' * 450_000 + '</annotation>',
    ],
    ids=[
        'entities',
        'utf-16 entities',
        'gbk entities',
        'external',
        'parameter',
        'empty',
        'zeros',
        'cut',
        'bytes',
        'undefined',
        'encoding',
        'bytes for gbk',
        'deep',
        'tags',
    ],
)
def test_error_names_hostile_and_malformed_files(tmp_path, content):
    with pytest.raises(ValueError, match='one.xml: not a safe, well-formed XML file') as raised:
        read(tmp_path, content)
    assert str(raised.value).isprintable() and len(str(raised.value)) < 500


@pytest.mark.parametrize('size', [5_000_000, 100_000_000])
def test_a_large_file_is_refused_in_bounded_memory(tmp_path, size):
    path = tmp_path / 'one.xml'
    path.write_bytes(b'<annotation a="')
    with open(path, 'r+b') as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match='one.xml: expected at most 4194304 bytes'):
            read_voc_annotation(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_large_attribute_and_a_large_name_are_read(tmp_path):
    name = 'x' * 1_000_000
    found = read(tmp_path, f'<annotation a="{name}">{PLAIN.replace("bolt", name)}</annotation>')
    assert found.objects[0].name == name


def test_error_without_utf8_says_so(tmp_path):
    with pytest.raises(ValueError, match='its text is not UTF-8'):
        read(
            tmp_path, f'<annotation>{PLAIN.replace("bolt", "écrou")}</annotation>'.encode('latin1')
        )


@pytest.mark.parametrize('tag', ['html', 'Annotation', 'x' * 100_000])
def test_error_describes_what_is_not_vocs(tmp_path, tag):
    with pytest.raises(ValueError, match="one.xml: its root is <.*>, expected VOC's") as raised:
        read(tmp_path, f'<{tag}/>')
    assert len(str(raised.value)) < 500


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.xml'):
        read_voc_annotation(tmp_path / 'none.xml')
    (tmp_path / 'zero.xml').symlink_to('/dev/zero')
    with pytest.raises(ValueError, match='zero.xml: expected a regular file'):
        read_voc_annotation(tmp_path / 'zero.xml')
