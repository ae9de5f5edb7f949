"""Detections as COCO's result files hold them, and label files of YOLO that are written."""

import json

import numpy as np
import pytest

from chainer_ssd.datasets import (
    COCOIds,
    read_coco_ids,
    read_yolo_labels,
    to_coco_results,
    write_yolo_labels,
)

BBOX = np.array([[1, 2, 11, 32], [0, 0, 0.5, 0.25]], np.float32)
LABEL, SCORE = np.array([1, 0], np.int32), np.array([0.9, 0.1234567], np.float32)


def write_coco(path, names=(), classes=('a', 'b'), **more):
    content = {
        'images': [{'id': 3 * i, 'file_name': name} for i, name in enumerate(names)],
        'annotations': [],
        'categories': [{'id': 9 - i, 'name': name} for i, name in enumerate(classes)],
        **more,
    }
    path.write_text(json.dumps(content))
    return path


def test_results_of_an_image():
    assert to_coco_results(7, BBOX, LABEL, SCORE, (5, 8)) == [
        {'image_id': 7, 'category_id': 8, 'bbox': [2, 1, 30, 10], 'score': 0.9},
        {'image_id': 7, 'category_id': 5, 'bbox': [0, 0, 0.25, 0.5], 'score': 0.123457},
    ]
    assert to_coco_results(7, BBOX[:0], LABEL[:0], SCORE[:0], (5,)) == []


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'image_id': '7'}, TypeError, 'image_id'),
        ({'bbox': BBOX[:, :3]}, ValueError, 'bbox'),
        ({'bbox': BBOX * np.nan}, ValueError, r'bbox\[0\]'),
        ({'label': LABEL[:1]}, ValueError, 'label'),
        ({'label': LABEL + 1}, ValueError, r'label\[0\] = 2: expected 0 to 1'),
        ({'score': SCORE * np.inf}, ValueError, r'score\[0\]'),
        ({'score': ['a', 'b']}, TypeError, 'score'),
    ],
)
def test_wrong_detections_are_named(change, error, message):
    values = {'image_id': 1, 'bbox': BBOX, 'label': LABEL, 'score': SCORE, 'category_ids': (1, 2)}
    with pytest.raises(error, match=message):
        to_coco_results(**{**values, **change})


def test_numbers_of_a_file(tmp_path):
    file = write_coco(tmp_path / 'a.json', ['x.jpg', 'train/x.jpg', './val//y.jpg'], 'cab')
    ids = read_coco_ids(file, ['a', 'b'])
    assert ids.categories == (8, 7)
    assert ids.images == {'x.jpg': 0, 'train/x.jpg': 3, 'val/y.jpg': 6}
    for name, number in (
        ('x.jpg', 0),
        ('test/x.jpg', 0),
        ('/d/train/x.jpg', 3),
        ('d/train/../train/x.jpg', 3),
        ('val/y.jpg', 6),
        ('y.jpg', None),
        ('xx.jpg', None),
    ):
        assert ids.find_image(name) == number, name
    assert COCOIds({'a.jpg': 1}, ()).find_image(tmp_path / 'a.jpg') == 1


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'categories': []}, 'no categories .a., expected one'),
        ({'categories': [{'id': i, 'name': 'a'} for i in range(2)]}, '2 categories .a., expected'),
        ({'images': [{'id': i, 'file_name': 'a'} for i in range(2)]}, 'two images have the file'),
        ({'images': [{'id': 1}]}, 'image 1: no file_name'),
        ({'images': [{'id': 'x', 'file_name': 'a'}]}, r"images\[0\]: id is 'x'"),
        ({'images': None}, "no list 'images'"),
    ],
)
def test_a_file_without_the_numbers_is_named(tmp_path, content, message):
    file = write_coco(tmp_path / 'a.json', **content)
    with pytest.raises(ValueError, match=f'{file}.*{message}'):
        read_coco_ids(file, ['a'])


@pytest.mark.parametrize('size', [(1, 1), (17, 6000), (1200, 1600), (60000, 3)])
def test_yolo_labels_are_read_as_they_were_written(tmp_path, size):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (50, 2, 2)).astype(np.float32) * np.array(size, np.float32)
    bbox = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    label = rng.integers(0, 90, 50)
    write_yolo_labels(tmp_path / 'a.txt', bbox, label, size)
    found = read_yolo_labels(tmp_path / 'a.txt', size)
    assert not found.problems and [each.label for each in found.objects] == label.tolist()
    np.testing.assert_allclose([each.bbox for each in found.objects], bbox, rtol=0, atol=0.001)


def test_yolo_labels_with_scores_and_without_objects(tmp_path):
    file = tmp_path / 'a.txt'
    write_yolo_labels(file, BBOX, LABEL, (20, 40), SCORE)
    assert (
        file.read_text().splitlines()[0] == '1 0.42500000 0.30000000 0.75000000 0.50000000 0.900000'
    )
    write_yolo_labels(file, [], [], (20, 40))
    assert file.read_bytes() == b'' and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'bbox': BBOX * np.nan}, ValueError, r'bbox\[0\]'),
        ({'label': LABEL - 1}, ValueError, r'label\[1\]'),
        ({'label': LABEL[:1]}, ValueError, 'label'),
        ({'label': LABEL + 0.5}, (TypeError, ValueError), 'label'),
        ({'image_size': (0, 9)}, ValueError, 'image_size = 0'),
        ({'score': SCORE * np.nan}, ValueError, r'score\[0\]'),
    ],
)
def test_wrong_labels_are_named_and_nothing_is_written(tmp_path, change, error, message):
    values = {'bbox': BBOX, 'label': LABEL, 'image_size': (20, 40), **change}
    with pytest.raises(error, match=message):
        write_yolo_labels(tmp_path / 'a.txt', **values)
    assert not list(tmp_path.iterdir())
