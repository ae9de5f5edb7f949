"""open_datasets, open_stored_splits and open_split."""

import json
import os
import shutil

import numpy as np
import pytest

from chainer_ssd.datasets import (
    choose_splits,
    find_dataset,
    open_datasets,
    open_split,
    open_stored_splits,
    save_splits,
)
from tests.datasets.data_forms import NAMES, paint, write_drawn_forms
from tests.datasets.data_forms import original_stem as stem_of
from tests.datasets.voc_folder import annotation, write

CAT, DOG = ('cat', (2, 3, 20, 30), 0), ('dog', (5, 6, 40, 50), 1)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The drawn data set and its forms. Do not change them."""
    return write_drawn_forms(tmp_path_factory.mktemp('data'))


def stems(dataset):
    return None if dataset is None else {stem_of(file) for file in dataset.image_files}


def choose(folder, form, **options):
    return choose_splits([find_dataset(folder / form)], **options)[0]


def parts(choice):
    return {part: each.split for part, each in choice.items()}


def test_which_split_is_which_part(data):
    root, forms = data
    assert parts(choose(root, '')) == {'train': 'trainval', 'test': 'test'}
    assert parts(choose(forms, 'yolo')) == {'train': 'train', 'val': 'val', 'test': 'test'}
    assert parts(choose(forms, 'flat')) == {'train': 'all'}
    assert parts(choose(root, '', val_split='val')) == {
        'train': 'train',
        'val': 'val',
        'test': 'test',
    }
    assert parts(choose(root, '', train_split='train', test_split='val')) == {
        'train': 'train',
        'test': 'val',
    }
    with pytest.raises(ValueError, match='no split x, there are train, val, test, trainval'):
        choose(root, '', test_split='x')


def test_val_can_be_left_out(data, tmp_path):
    found = open_datasets([data[1] / 'yolo'])
    assert len(found.val) and '  val: ' in found.describe()
    without = found.without_val()
    assert without.val is None and '  val: ' not in without.describe()
    save_splits(without, tmp_path / 'data.json')
    read = open_stored_splits(tmp_path / 'data.json')
    assert read.val is None and stems(read.train) == stems(found.train)
    assert stems(read.test) == stems(found.test)


def test_without_a_test_split_val_is_tested_on(data, tmp_path):
    shutil.copytree(data[0], tmp_path / 'voc')
    os.remove(tmp_path / 'voc/ImageSets/Main/test.txt')
    # trainval would hold the images of val.
    assert parts(choose(tmp_path, 'voc')) == {'train': 'train', 'test': 'val'}


def test_data_without_splits_is_split_by_content(data):
    _, forms = data
    choices = set()
    for form in 'flat', 'siblings', 'cvat_voc', 'coco', 'yolo_flat':
        found = open_datasets([forms / form])
        assert len(found.train) == 13 and len(found.test) == 3 and found.val is None
        assert found.label_names == NAMES
        assert not stems(found.train) & stems(found.test)
        choices.add(frozenset(stems(found.test)))
        text = found.describe()
        assert f'{found.found[0].format}, ' in text and 'bolt, nut, washer' in text
        assert 'test: 3 images' in text and 'held out by content, seed 0' in text
    assert len(choices) == 1
    other = open_datasets([forms / 'flat'], seed=1)
    assert stems(other.test) not in choices


def test_a_held_out_split_is_the_same_data_in_each_form(data, tmp_path):
    # So trainings on them differ by nothing but YOLO's six decimals.
    root = shutil.copytree(data[0], tmp_path / 'voc')
    expected = None
    for form in 'flat', 'siblings', 'cvat_voc', 'coco', 'yolo_flat':
        found = open_datasets([data[1] / form])
        if expected is None:
            for name, part in ('trainval', found.train), ('test', found.test):
                names = [stem_of(file) for file in part.image_files]
                (root / f'ImageSets/Main/{name}.txt').write_text('\n'.join(names))
            expected = open_datasets([root])
        for part in 'train', 'test':
            actual, wanted = getattr(found, part), getattr(expected, part)
            assert len(actual) == len(wanted)
            for (img, bbox, label, _), (expected_img, *boxes, _) in zip(actual, wanted):
                np.testing.assert_array_equal(img, expected_img)
                np.testing.assert_allclose(bbox, boxes[0], atol=0.01 if 'yolo' in form else 0)
                assert label.tolist() == boxes[1].tolist()


def test_what_val_holds_out(data):
    root, forms = data
    found = open_datasets([forms / 'flat'], val=0.5)  # nothing else to test on
    assert (len(found.train), found.val, len(found.test)) == (8, None, 8)
    found = open_datasets([forms / 'flat'], val=0.25, test_fraction=0.5)
    assert [len(each) for each in (found.train, found.val, found.test)] == [6, 2, 8]
    assert not stems(found.val) & (stems(found.train) | stems(found.test))
    found = open_datasets([root], val=0.25)
    assert [len(each) for each in (found.train, found.val, found.test)] == [9, 3, 4]
    found = open_datasets([forms / 'yolo'], val=0.25)  # instead of its own
    assert [len(each) for each in (found.train, found.val, found.test)] == [6, 2, 4]
    with pytest.raises(ValueError, match='the data has images to test on, the split test'):
        open_datasets([root], test_fraction=0.2)
    with pytest.raises(ValueError, match=r'val = 1: expected a number in \(0, 1\)'):
        open_datasets([root], val=1)


def test_several_data_sets(data, tmp_path):
    root, forms = data
    # An own copy: other images, a class more, and no test split.
    write(tmp_path / 'more', {name: annotation([CAT, ('bolt', (1, 1, 9, 9), 0)]) for name in 'xy'})
    for i, name in enumerate('xy'):
        paint(tmp_path / f'more/JPEGImages/{name}.png', 7000 + i)
    found = open_datasets([root, tmp_path / 'more'])
    assert found.label_names == ('bolt', 'cat', 'nut', 'washer')
    assert len(found.train) == 14 and len(found.test) == 4
    assert found.train[12][2].tolist() == [1, 0] and len(found.train[0]) == 4
    mixed = open_datasets([forms / 'coco', forms / 'yolo', forms / 'flat'])
    assert mixed.label_names == NAMES and len(mixed.test) == 4
    assert len(mixed.train) == 16 + 8 + 16
    with pytest.raises(ValueError, match='expected a sequence of at least one path'):
        open_datasets(str(root))


def test_classes(data):
    _, forms = data
    full = open_datasets([forms / 'coco'])
    n_object = {
        name: sum((full.train.get_annotation(i)[1] == label).sum() for i in range(len(full.train)))
        for label, name in enumerate(NAMES)
    }
    for form in 'coco', 'yolo_flat', 'flat':
        found = open_datasets([forms / form], classes=['washer', 'bolt'])
        assert found.label_names == ('washer', 'bolt') and found.all_names == NAMES
        assert found.train.n_left_out == {'nut': n_object['nut']}
        assert f'left out on purpose: {n_object["nut"]} nut' in found.describe()
        labels = [label for i in range(13) for label in found.train.get_annotation(i)[1]]
        assert labels.count(0) == n_object['washer'] and labels.count(1) == n_object['bolt']
        names = ['nut', 'washer', 'bolt']
        assert open_datasets([forms / form], label_names=names).label_names == tuple(names)
        with pytest.raises(ValueError, match="'bolt' is not among label_names|not among"):
            open_datasets([forms / form], label_names=['nut', 'washer'])
        with pytest.raises(ValueError, match="classes: 'x', expected some of 'bolt', 'nut'"):
            open_datasets([forms / form], classes=['x'])


def test_a_class_of_the_test_split_alone_is_a_class(tmp_path):
    write(tmp_path, {'a': annotation([CAT])})
    write(tmp_path, {'b': annotation([CAT, DOG])}, 'test')
    paint(tmp_path / 'JPEGImages/b.png', 9)
    assert open_datasets([tmp_path]).label_names == ('cat', 'dog')


@pytest.mark.parametrize('form', ['flat', 'coco', 'yolo', 'yolo_flat'])
def test_stored_splits_are_the_same(data, tmp_path, form):
    found = open_datasets([data[1] / form], classes=['nut'], val=0.2)
    save_splits(found, tmp_path / 'data.json')
    stored = open_stored_splits(tmp_path / 'data.json')
    for part in 'train', 'val', 'test':
        before, after = getattr(found, part), getattr(stored, part)
        assert stems(before) == stems(after)
        assert before is None or before.fingerprint == after.fingerprint
    assert stored.label_names == ('nut',) and stored.options == found.options
    moved = shutil.copytree(data[1] / form, tmp_path / 'moved')
    again = open_stored_splits(tmp_path / 'data.json', [moved])
    assert again.train.fingerprint == found.train.fingerprint


def test_images_that_come_later_change_no_split(data, tmp_path):
    folder = shutil.copytree(data[1] / 'flat', tmp_path / 'flat')
    found = open_datasets([folder])
    save_splits(found, tmp_path / 'data.json')
    for i in range(5):
        paint(folder / f'new{i}.png', 8000 + i)
        (folder / f'new{i}.xml').write_text(annotation([]))
    stored = open_stored_splits(tmp_path / 'data.json')
    assert stems(stored.train) == stems(found.train) and stems(stored.test) == stems(found.test)
    name = sorted(stems(found.train))[0]
    os.remove(folder / f'{name}.xml')
    message = f'chosen before are missing: 1, {name}.png'
    with (
        pytest.warns(UserWarning, match='without an ann'),
        pytest.raises(ValueError, match=message),
    ):
        open_stored_splits(tmp_path / 'data.json')


@pytest.mark.parametrize(
    'change', [{'version': 2}, {'data': 3}, {'label_names': 'x'}, {'data': [{'path': 'x'}]}]
)
def test_files_that_hold_no_splits(data, tmp_path, change):
    file = tmp_path / 'data.json'
    save_splits(open_datasets([data[1] / 'flat']), file)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ValueError, match='data.json: not a list of splits'):
        open_stored_splits(file)


def test_one_split(data):
    root, forms = data
    assert len(open_split([forms / 'yolo'], 'auto', None, NAMES)) == 4
    assert len(open_split([forms / 'yolo', root], 'auto', 'val', NAMES)) == 8
    assert len(open_split([forms / 'flat'], 'auto', None, NAMES)) == 16
    found = open_split([forms / 'flat'], 'auto', None, ['nut', 'cat'], leaves_out_others=True)
    assert set(found.n_left_out) == {'bolt', 'washer'}
    with pytest.raises(ValueError, match='no split val, there are all'):
        open_split([forms / 'flat'], 'auto', 'val', NAMES)
