"""Each fault of a data set is found, and none is reported twice."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from chainer_ssd import SSD300, SSDMini, VOCBboxDataset
from chainer_ssd.inspection import KINDS, inspect_voc, write_html
from chainer_ssd.links import fit_ssd_mini_boxes

SIZE = 60, 80


def box(x_min, y_min, x_max, y_max):
    values = zip(('xmin', 'ymin', 'xmax', 'ymax'), (x_min, y_min, x_max, y_max))
    return '<bndbox>' + ''.join(f'<{key}>{value}</{key}>' for key, value in values) + '</bndbox>'


def obj(name='bolt', content=None, difficult=0):
    content = box(10, 10, 40, 40) if content is None else content
    return f'<object><name>{name}</name><difficult>{difficult}</difficult>{content}</object>'


def xml(*objects, size=SIZE):
    return (
        f'<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>'
        f'{"".join(objects)}</annotation>'
    )


class DataSet:
    """A folder in Pascal VOC's layout. Each image has pixels of its own."""

    def __init__(self, root):
        self.root, self.names = root, {'trainval': [], 'test': []}
        for folder in 'Annotations', 'JPEGImages', 'ImageSets/Main':
            (root / folder).mkdir(parents=True)
        for i in range(3):
            self.add(f'good{i}', xml(obj('bolt'), obj('nut', box(42, 5, 70, 30))))
        self.add('test', xml(obj('bolt'), obj('nut', box(42, 5, 70, 30))), split='test')

    def image_path(self, name, suffix='.png'):
        return self.root / f'JPEGImages/{name}{suffix}'

    def add(self, name, text, split='trainval', pixels=None, **options):
        self.names[split].append(name)
        if text is not None:
            (self.root / f'Annotations/{name}.xml').write_text(text)
        if pixels is None:
            random = np.random.default_rng(abs(hash(name)) % 2**32)
            pixels = random.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        if pixels is not False:
            Image.fromarray(pixels).save(self.image_path(name), **options)

    def inspect(self, **options):
        for split, names in self.names.items():
            (self.root / f'ImageSets/Main/{split}.txt').write_text('\n'.join(names) + '\n')
        return inspect_voc(self.root, SSDMini(2, 64), **options)


@pytest.fixture
def data(tmp_path):
    return DataSet(tmp_path / 'voc')


def rotated(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def truncate(data):
    data.add('cut', xml(obj()))
    path = data.image_path('cut')
    path.write_bytes(path.read_bytes()[:-2000])


def deepen(data):
    data.add('deep', xml(obj()), pixels=False)
    Image.fromarray(np.zeros(SIZE, np.uint16)).save(data.image_path('deep'))


def repeat_pixels(data, split):
    pixels = np.random.default_rng(1).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    data.add('one', xml(obj()), pixels=pixels)
    data.add('two', xml(obj()), split, pixels=pixels)


def add_second_suffix(data):
    data.add('double', xml(obj()))
    Image.new('RGB', SIZE[::-1]).save(data.image_path('double', '.jpg'))


#: (kind of the one finding, what spoils the data set)
FAULTS = [
    ('missing image', lambda data: data.add('lost', xml(obj()), pixels=False)),
    ('several images', add_second_suffix),
    ('unreadable image', truncate),
    ('unreadable image', deepen),
    ('missing annotation', lambda data: data.add('bare', None)),
    ('unreadable annotation', lambda data: data.add('torn', '<annotation><object>')),
    (
        'unreadable box',
        lambda data: data.add('turned', xml(obj(), obj(content='<robndbox><cx>3</cx></robndbox>'))),
    ),
    (
        'unreadable box',
        lambda data: data.add('comma', xml(obj(), obj(content=box('1,5', 1, 9, 9)))),
    ),
    (
        'unreadable box',
        lambda data: data.add('poly', xml(obj(), obj(content='<polygon><x1>3</x1></polygon>'))),
    ),
    ('object without name', lambda data: data.add('anonymous', xml(obj(), obj('')))),
    ('unreadable flag', lambda data: data.add('flag', xml(obj(), obj(difficult='perhaps')))),
    ('unknown class', lambda data: data.add('new', xml(obj('washer')), split='test')),
    ('image in both splits', lambda data: data.names['test'].append('good1')),
    ('image in both splits', lambda data: repeat_pixels(data, 'test')),
    ('inverted box', lambda data: data.add('inv', xml(obj(), obj(content=box(40, 9, 10, 30))))),
    ('box without area', lambda data: data.add('flat', xml(obj(), obj(content=box(9, 9, 9, 30))))),
    (
        'box not finite',
        lambda data: data.add('nan', xml(obj(), obj(content=box('nan', 9, 19, 30)))),
    ),
    ('box outside', lambda data: data.add('out', xml(obj(), obj(content=box(50, 40, 90, 70))))),
    ('swapped axes', lambda data: data.add('swap', xml(obj(), obj(content=box(5, 50, 40, 78))))),
    (
        'box in fractions',
        lambda data: data.add('frac', xml(obj(), obj(content=box(0.1, 0.2, 0.5, 0.6)))),
    ),
    ('repeated box', lambda data: data.add('again', xml(obj(), obj()))),
    ('wrong size', lambda data: data.add('size', xml(obj(), size=(120, 160)))),
    ('unclear rotation', lambda data: data.add('exif', xml(obj()), exif=rotated(3))),
    ('repeated image', lambda data: repeat_pixels(data, 'trainval')),
    ('listed twice', lambda data: data.names['trainval'].append('good0')),
    ('image without objects', lambda data: data.add('empty', xml())),
]


def test_a_good_data_set_has_no_finding(data):
    report = data.inspect()
    assert report.findings == [] and report.is_fit
    assert (report.n_train, report.n_test) == (3, 1)
    assert [(each.name, each.n_train, each.n_test) for each in report.classes] == [
        ('bolt', 3, 1),
        ('nut', 3, 1),
    ]
    assert report.to_text().endswith('fit to train on')
    assert report.to_short_text().startswith('0 errors, 0 warnings. default boxes can match ')


@pytest.mark.parametrize(('kind', 'spoil'), FAULTS)
def test_each_fault_is_found_once(data, kind, spoil):
    spoil(data)
    report = data.inspect()
    assert [finding.kind for finding in report.findings] == [kind]
    assert report.is_fit == (KINDS[kind].level != 'error')
    assert kind in report.to_text() and KINDS[kind].advice in report.to_text()


def test_all_faults_at_once_are_found_once_each(data):
    twice = ('image in both splits', 'repeated image')
    for kind, spoil in FAULTS:
        if kind not in twice or spoil is FAULTS[12][1]:
            spoil(data)
    found = Counter(finding.kind for finding in data.inspect().findings)
    expected = Counter(kind for kind, spoil in FAULTS if kind not in twice)
    expected['image in both splits'] = 1
    assert found == expected
    assert sum(found.values()) >= 20


#: Boxes and files that two kinds of findings might claim.
BORDERLINE = [
    ('box outside', lambda data: data.add('n', xml(obj(), obj(content=box(-50, -50, -20, -20))))),
    (None, lambda data: data.add('tiny', xml(obj(), obj(content=box(1, 1, 2, 2))))),
    (
        'wrong size',
        lambda data: data.add('n', xml(obj(content=box(5, 5, 150, 110)), size=(120, 160))),
    ),
    (
        'unreadable image',
        lambda data: (data.add('n', xml(obj()), pixels=False), data.image_path('n').mkdir()),
    ),
    ('box not finite', lambda data: data.add('n', xml(obj(), obj(content=box(1, 1, 1e39, 1e39))))),
]


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(('kind', 'spoil'), BORDERLINE)
def test_a_fault_has_one_kind(data, kind, spoil):
    spoil(data)
    assert [finding.kind for finding in data.inspect().findings] == [kind] * (kind is not None)


#: Faults that do not come from one new training image.
OTHER_FAULTS = 'unknown class', 'image in both splits', 'repeated image', 'listed twice'


@pytest.mark.parametrize(
    ('kind', 'spoil'), [fault for fault in FAULTS if fault[0] not in OTHER_FAULTS]
)
def test_an_image_in_both_lists_has_each_fault_once(data, kind, spoil):
    before = set(data.names['trainval'])
    spoil(data)
    (new,) = (name for name in data.names['trainval'] if name not in before)
    data.names['test'].append(new)
    kinds = Counter(finding.kind for finding in data.inspect(label_names=['bolt', 'nut']).findings)
    assert kinds == {kind: 1, 'image in both splits': 1}


def test_an_unknown_class_of_both_lists_is_found_once(data):
    data.add('both', xml(obj('washer')))
    data.names['test'].append('both')
    kinds = Counter(each.kind for each in data.inspect(label_names=['bolt', 'nut']).findings)
    assert kinds == {'unknown class': 1, 'image in both splits': 1}


def test_the_page_has_no_control_characters(data):
    name = 'x\u202e\x9b31m'
    data.add('file\u202e', xml(obj(name), obj(name, box(50, 40, 90, 70))))
    assert not {'\u202e', '\x9b'} & set(write_html(data.inspect()))


def test_class_faults(data):
    data.add('spelling', xml(obj('Bolt')))
    report = data.inspect(label_names=['bolt', 'Bolt', 'nut', 'washer'])
    kinds = [finding.kind for finding in report.findings]
    assert sorted(kinds) == ['class without objects', 'class without test', 'similar names']


def test_a_data_set_without_objects_is_not_fit(tmp_path):
    data = DataSet(tmp_path / 'voc')
    for name in data.names['trainval']:
        (data.root / f'Annotations/{name}.xml').write_text(xml(obj(difficult=1)))
    report = data.inspect()
    assert 'no object' in [finding.kind for finding in report.findings] and not report.is_fit


def test_a_crowded_image_is_found(data):
    content = [
        obj(content=box(1 + i % 60, 1 + i % 40, 9 + i % 60, 9 + i // 60)) for i in range(3000)
    ]
    data.add('crowd', xml(*content))
    assert 'crowded image' in [finding.kind for finding in data.inspect().findings]


def test_without_pixels_only_the_headers_are_read(data):
    truncate(data)
    assert data.inspect(reads_pixels=False).findings == []


def test_a_scale_of_the_default_boxes_is_proposed(data):
    report = data.inspect()
    assert 0 < report.coverage.fraction <= 1
    for name in data.names['trainval']:
        (data.root / f'Annotations/{name}.xml').write_text(
            xml(*(obj(content=box(x, 10, x + 2, 12)) for x in (5, 25, 45)))
        )
    coverage = data.inspect().coverage
    assert coverage.fraction == 0 and coverage.n_object == 9
    assert len(coverage.unmatched) == 9


def make_long_objects(data, n_object=20):
    """Give the training images objects that are 8 times as wide as high."""
    for name in data.names['trainval']:
        boxes = (box(1, 1 + 2 * i, 1 + 32 + i, 5 + 2 * i) for i in range(n_object))
        text = xml(*(obj(content=each) for each in boxes))
        (data.root / f'Annotations/{name}.xml').write_text(text)


def test_fitted_default_boxes_are_proposed_if_the_recall_is_low(data):
    for name in data.names['trainval']:
        (data.root / f'Annotations/{name}.xml').write_text(xml(obj()))
    report = data.inspect()
    assert report.coverage.fraction == 1 and np.isnan(report.coverage.fit_fraction)
    assert '--fit-boxes' not in report.to_text()
    assert report.to_dict()['coverage']['fit_boxes_fraction'] is None
    make_long_objects(data)
    report = data.inspect()
    coverage = report.coverage
    assert coverage.fraction < 0.9 <= coverage.fit_fraction
    advice = f', and {coverage.fit_fraction:.1%} with --fit-boxes'
    assert advice in report.to_text() and advice in report.to_short_text()
    assert advice in write_html(report)
    assert report.to_dict()['coverage']['fit_boxes_fraction'] == coverage.fit_fraction
    # The figure is that of the training.
    dataset = VOCBboxDataset(data.root, 'trainval')
    assert coverage.fit_fraction == fit_ssd_mini_boxes(dataset, 64).recall


def test_fitted_default_boxes_are_proposed_for_ssd_mini_only(data):
    make_long_objects(data)
    data.inspect()  # writes the lists
    report = inspect_voc(data.root, SSD300(2), reads_pixels=False)
    assert report.coverage.fraction < 0.9 and np.isnan(report.coverage.fit_fraction)
    assert '--fit-boxes' not in report.to_text()


def test_the_page_is_one_file_and_escapes_names(data):
    evil = '&lt;script&gt;alert(1)&lt;/script&gt;'
    data.add('page', xml(obj(evil), obj(evil, box(50, 40, 90, 70))))
    report = data.inspect()
    page = write_html(report, max_pictures=2)
    assert '<script' not in page
    assert '&lt;script&gt;' in page
    assert page.count('data:image/jpeg;base64,') == 2
    assert 'http' not in page.replace('http-equiv', '')
    assert write_html(report, max_pictures=0).count('<img') == 0


def test_escape_sequences_do_not_reach_the_terminal(data):
    name = 'red\x9b31m\u202e'
    data.add('terminal', xml(obj(name), obj(name, box(50, 40, 90, 70))))
    text = data.inspect().to_text()
    assert '\x9b' not in text and '\u202e' not in text


def test_the_report_is_json(data):
    truncate(data)
    content = json.loads(json.dumps(data.inspect().to_dict()))
    assert not content['is_fit']
    (finding,) = content['findings']
    assert finding['kind'] == 'unreadable image' and finding['level'] == 'error'
    assert finding['file'].endswith('cut.png')


def test_kinds_are_documented():
    page = os.path.join(os.path.dirname(__file__), '../../docs/how-to/check-a-data-set.md')
    with open(page, encoding='utf-8') as file:
        text = file.read()
    for name, kind in KINDS.items():
        assert f'| {name} | {kind.level} | {kind.meaning} | {kind.advice} |' in text


@pytest.mark.parametrize('option', [{'iou_thresh': 2}, {'label_names': 'bolt'}])
def test_wrong_options_are_named(data, option):
    with pytest.raises((TypeError, ValueError), match=next(iter(option))):
        data.inspect(**option)


@pytest.mark.parametrize('split', ['none', '../secret', ''])
def test_a_list_that_cannot_be_read_is_an_error(data, split):
    with pytest.raises((OSError, ValueError)):
        data.inspect(train_split=split)
