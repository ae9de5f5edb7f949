"""The report on a detector: its content, and that no name or image can spoil the page."""

import html.parser
import json
import math

import numpy as np
import pytest

from chainer_ssd import SSDMini
from chainer_ssd.inspection import (
    detect_images_of,
    inspect_detector,
    write_detector_html,
    write_html,
)
from tests.inspection.detected_images import NAMES, Images, make_images
from tests.inspection.test_inspect_voc import DataSet

VOID = {'meta', 'br', 'img'}
LOG = [{'iteration': i, 'main/loss': 5 / i, 'validation/main/map': i / 9} for i in range(1, 9)]


class Page(html.parser.HTMLParser):
    """The elements of a page. Raises where they are not nested."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != 'style':
            self.text.append(data)

    def count(self, tag, css=None):
        return sum(t == tag and css in (None, a.get('class')) for t, a in self.elements)


def check_page(text):
    """Return the parsed page after the checks that hold for every page."""
    page = Page(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {'script', 'link', 'iframe', 'object', 'embed', 'base', 'form', 'style src'}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith('on')]
        for name in ('href', 'src', 'xlink:href'):
            assert attributes.get(name, '#').startswith(('#', 'data:image/jpeg;base64,'))
    policy = next(a['content'] for t, a in page.elements if 'http-equiv' in a)
    assert policy.startswith("default-src 'none'")
    return page


def test_the_page_shows_each_fault_with_three_pictures():
    images = make_images()
    others = make_images(name='training', file='training {}.png')
    report = inspect_detector(images, NAMES, [others])
    text = write_detector_html(report, SSDMini(2, 64), title='result', log=LOG)
    page = check_page(text)
    shown = ' '.join(page.text)
    for words in (
        'nut: 0.0833 of mAP',
        'taken for nut',
        'nut 0.90: wrong class, is bolt',
        'nut 0.80: inexact box',
        'missing label: bolt, 0.70 (test)',
        'swapped class: bolt, detected as nut, 0.90 (training)',
        'denied label: nut, 1.00 (test)',
        'training 3.png',
        'default box matched to this label',
        'mAP of the test images',
    ):
        assert words in shown, words
    n_case = page.count('details', 'case')
    assert n_case == len(report.missed) + len(report.false_detections) + sum(
        len(found) for _, found in report.suspicious
    )
    assert page.count('use') == 4 * n_case  # a thumbnail and three views
    assert page.count('image') <= 2 * len(images.positions)  # each image once
    keys = {a['id'] for t, a in page.elements if t == 'image'}
    assert {a['href'][1:] for t, a in page.elements if t == 'use'} == keys
    matrix = report.summary['confusion_matrix']['matrix']
    assert matrix == [[4, 1, 1], [0, 3, 3], [0, 1, 0]]
    assert len(text) < 300_000


def test_the_same_report_gives_the_same_page_and_the_images_stay():
    images = make_images()
    before = [img.copy() for img, *_ in images.dataset]
    first, second = (
        write_detector_html(inspect_detector(make_images(), NAMES), SSDMini(2, 64)) for _ in 'ab'
    )
    assert first == second
    write_detector_html(inspect_detector(images, NAMES), SSDMini(2, 64))
    for img, (other, *_) in zip(before, images.dataset):
        np.testing.assert_array_equal(img, other)


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e'


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_hostile_names_are_text():
    names = (HOSTILE, "' onload='alert(1)" + 'x' * 100_000)
    images = make_images(name=HOSTILE, file='{}' + HOSTILE)
    report = inspect_detector(images, names)
    log = [{'iteration': HOSTILE, 'main/loss': 1}, {'iteration': 1, 'main/loss': math.nan}]
    text = write_detector_html(report, SSDMini(2, 64), title=HOSTILE, log=log)
    page = check_page(text)
    assert len(text) < 500_000
    shown = ' '.join(page.text)
    assert '\x1b' not in text and '\u202e' not in text
    assert '<script>alert(1)</script>' in shown  # as text
    json.dumps(report.describe_suspicious())


def test_the_page_keeps_its_size_with_large_images():
    images = make_images(n_image=60, size=(600, 800), noise=60)
    report = inspect_detector(images, NAMES)
    text = write_detector_html(report, SSDMini(2, 64), max_bytes=1_000_000)
    assert 200_000 < len(text.encode()) <= 1_000_000
    assert 0 < check_page(text).count('details', 'case') < 72
    few = check_page(write_detector_html(report, max_pictures=4))
    assert few.count('details', 'case') == 4 and few.count('use') == 3 * 4  # without a model


def test_a_small_object_gets_a_part_of_its_image():
    images = make_images(n_image=1, size=(900, 1200))
    small = np.array([[700, 900, 712, 914]], np.float32)
    images.columns[3][0] = small
    images.columns[4][0] = np.array([0], np.int32)
    images.columns[0][0], images.columns[1][0] = small[:0], np.zeros(0, np.int32)
    images.columns[2][0] = np.zeros(0, np.float32)
    page = check_page(write_detector_html(inspect_detector(images, NAMES), SSDMini(2, 64)))
    (part,) = [a for t, a in page.elements if t == 'image']
    x, y, width, height = (float(part[name]) for name in ('x', 'y', 'width', 'height'))
    assert x <= 880 and x + width >= 930 and y <= 680 and y + height >= 730
    assert width < 200 and height < 200


def test_unreadable_images_are_left_out():
    class Broken(Images):
        def __getitem__(self, i):
            raise ValueError(f'image {i} is gone')

    images = make_images()
    images = images._replace(dataset=Broken(images.dataset))
    images.dataset.image_files = ['a'] * 6
    page = check_page(write_detector_html(inspect_detector(images, NAMES)))
    assert page.count('details') == 0 and page.count('svg') > 0


@pytest.mark.parametrize('n_class', [2, 40, 400])
def test_many_classes_and_nothing_detected(n_class):
    names = tuple(f'class {i}' for i in range(n_class))
    images = make_images()
    if n_class == 2:
        images.columns[0] = [bbox[:0] for bbox in images.columns[0]]
        images.columns[1] = [label[:0] for label in images.columns[1]]
        images.columns[2] = [score[:0] for score in images.columns[2]]
    report = inspect_detector(images, names)
    text = write_detector_html(report, SSDMini(n_class, 64))
    check_page(text)
    assert len(text) < 600_000
    assert report.summary['map'] == 0 if n_class == 2 else report.summary['map'] > 0


def test_without_labels_there_is_no_map():
    images = make_images()
    images.columns[3] = [np.zeros((0, 4), 'f')] * 6
    images.columns[4] = [np.zeros(0, int)] * 6
    text = write_detector_html(inspect_detector(images, NAMES), SSDMini(2, 64))
    assert 'mAP -' in text
    check_page(text)


def test_options_are_checked():
    report = inspect_detector(make_images(), NAMES)
    with pytest.raises(ValueError, match='max_bytes = 10: expected an integer >= 1000000'):
        write_detector_html(report, max_bytes=10)
    with pytest.raises(TypeError, match='max_pictures = 1.5'):
        write_detector_html(report, max_pictures=1.5)


class Model:
    """Detects the upper left corner of each image."""

    def predict(self, imgs):
        bbox = np.array([[0, 0, 10, 10]], np.float32)
        n = len(imgs)
        return [bbox] * n, [np.zeros(1, np.int32)] * n, [np.ones(1, np.float32)] * n


def test_the_images_of_a_data_set_are_chosen_evenly_and_unreadable_ones_left_out():
    class Holed(list):
        def __getitem__(self, i):
            if i == 50:
                raise OSError('gone')
            return super().__getitem__(i)

    example = np.zeros((3, 20, 20), 'f'), np.zeros((0, 4), 'f'), np.zeros(0, int)
    dataset = Holed([example] * 101)
    with pytest.raises(OSError, match='gone'):
        detect_images_of(Model(), dataset)
    found = []
    images = detect_images_of(Model(), dataset, 'x', 5, lambda i, error: found.append(i))
    assert images.positions == [0, 25, 75, 100] and found == [50]
    assert [len(column) for column in images.columns] == [4] * 5
    assert images.describe(2) == 'x image 75'
    assert len(detect_images_of(Model(), [example] * 3, max_images=5).positions) == 3
    with pytest.raises(ValueError, match=r'none of 0 images can be read \(test\)'):
        detect_images_of(Model(), [])


def test_the_page_of_a_data_set_has_the_same_policy(tmp_path):
    check_page(write_html(DataSet(tmp_path / 'voc').inspect()))
