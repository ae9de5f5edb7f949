"""inspect_datasets: faults in each format, without stopping at the first one."""

import json
import os
import shutil

import pytest

from chainer_ssd import SSDMini
from chainer_ssd.datasets import find_dataset, open_datasets
from chainer_ssd.inspection import inspect_datasets
from tests.datasets.data_forms import NAMES, read_boxes, write_drawn_forms

FORMS = ('flat', 'cvat_voc', 'roboflow_voc', 'roboflow_coco', 'coco', 'yolo', 'yolo_flat')
N_OBJECT = 38


@pytest.fixture(scope='module')
def forms(tmp_path_factory):
    """The forms of the drawn data set. Do not change them."""
    root, folder = write_drawn_forms(tmp_path_factory.mktemp('data'))
    assert sum(len(label) for _, _, label in read_boxes(root).values()) == N_OBJECT
    return folder


@pytest.fixture
def model():
    return SSDMini(3, insize=64)


def kinds(report):
    return {kind: len(found) for kind, found in report.by_kind().items()}


@pytest.mark.parametrize('form', FORMS)
def test_each_form_is_fit(forms, model, form):
    found = find_dataset(forms / form)
    report = inspect_datasets([found], model)
    assert report.is_fit, report.to_text()
    has_splits = len(found.splits) > 1
    assert (report.n_train, report.n_test) == ((8, 4) if has_splits else (16, 0))
    assert [count.name for count in report.classes] == list(NAMES)
    if not has_splits:
        assert sum(count.n_train for count in report.classes) == N_OBJECT
    assert len(report.sides) == sum(count.n_train for count in report.classes)


def test_held_out_images_are_the_test_images(forms, model):
    data = open_datasets([forms / 'yolo_flat'], classes=['nut'])
    report = inspect_datasets(data.found, model, data.choices, data.all_names, ['nut'])
    assert report.is_fit and (report.n_train, report.n_test) == (13, 3)
    assert [count.name for count in report.classes] == ['nut']


def test_faults_of_label_files(forms, model, tmp_path):
    folder = shutil.copytree(forms / 'yolo_flat', tmp_path / 'yolo')
    lines = {
        0: '0 0.1 0.1 0.2 0.1 0.3 0.4',
        1: '7 0.5 0.5 0.2 0.2',
        2: '0 0.5 0.5 0 0.2',
        3: 'x 0.5 0.5 0.2 0.2',
        4: '0 0.5 0.5 1.5 0.2',
        5: '0 0.5 0.5 0.2 0.2\n' * 2,
        6: '',
    }
    for number, text in lines.items():
        (folder / f'part_{number:03}.txt').write_text(text)
    os.remove(folder / 'part_007.txt')
    (folder / 'part_008.png').write_bytes(b'x')
    found = kinds(inspect_datasets([find_dataset(folder)], model))
    assert found == {
        'unreadable box': 1,
        'object without name': 2,
        'box without area': 1,
        'box outside': 1,
        'repeated box': 1,
        'image without objects': 1,
        'image without labels': 1,
        'unreadable image': 1,
    }


def test_faults_of_a_coco_file(forms, model, tmp_path):
    folder = shutil.copytree(forms / 'coco', tmp_path / 'coco')
    file = folder / 'annotations/instances_default.json'
    content = json.loads(file.read_text())
    annotations = content['annotations']
    annotations[0]['bbox'] = [1, 2, 0, 5]
    annotations[1]['bbox'] = None
    annotations[2]['category_id'] = 99
    annotations[3]['image_id'] = 99
    file.write_text(json.dumps(content))
    os.remove(folder / 'images' / content['images'][15]['file_name'])
    content['images'][14]['file_name'] = '../images/../annotations/../../coco/images/a.png'
    content['images'][13]['file_name'] = 'sub\\' + content['images'][13]['file_name']
    (folder / 'images/sub').mkdir()
    name = content['images'][13]['file_name']
    os.rename(folder / 'images' / name[4:], folder / 'images/sub' / name[4:])
    file.write_text(json.dumps(content))
    found = kinds(inspect_datasets([find_dataset(file)], model))
    assert found == {
        'box without area': 1,
        'unreadable box': 1,
        'object without name': 1,
        'missing image': 3,
    }


def test_faults_of_xml_files_in_folders(forms, model, tmp_path):
    folder = shutil.copytree(forms / 'flat', tmp_path / 'flat')
    os.remove(folder / 'part_000.png')
    (folder / 'part_001.xml').write_text('<annotation><object></annotation>')
    (folder / 'part_002.xml').write_text('<annotation><object><name>x</name></object></annotation>')
    shutil.copy(folder / 'part_003.png', folder / 'part_004.png')
    report = inspect_datasets([find_dataset(folder)], model, label_names=NAMES)
    found = kinds(report)
    assert found == {
        'missing image': 1,
        'unreadable annotation': 1,
        'unreadable box': 1,
        'repeated image': 1,
    }
    assert not report.is_fit


def test_images_of_one_name_in_two_folders_are_no_equal_images(forms, model, tmp_path):
    for form, split in (('yolo', 'train'), ('yolo', 'val')):
        source = forms / form / 'images' / split
        for i, file in enumerate(sorted(source.iterdir())[:3]):
            for kind, suffix in (('images', '.png'), ('labels', '.txt')):
                target = tmp_path / 'data' / split / kind
                target.mkdir(parents=True, exist_ok=True)
                path = forms / form / kind / split / f'{file.stem}{suffix}'
                shutil.copy(path, target / f'{i}{suffix}')
    shutil.copy(forms / 'yolo_flat/classes.txt', tmp_path / 'data/classes.txt')
    found = find_dataset(tmp_path / 'data')
    report = inspect_datasets([found], model)
    assert report.is_fit and (report.n_train, report.n_test) == (3, 3)
    shutil.copy(tmp_path / 'data/train/images/1.png', tmp_path / 'data/val/images/2.png')
    assert 'image in both splits' in kinds(inspect_datasets([found], model))
