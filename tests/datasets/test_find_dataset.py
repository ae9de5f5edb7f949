"""find_dataset: the forms of one data set, and the oddities of tools."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from chainer_ssd.datasets import find_dataset
from chainer_ssd.images import IMAGE_SUFFIXES
from tests.datasets.coco_folder import coco
from tests.datasets.coco_folder import write as write_coco
from tests.datasets.data_forms import load_script, paint, read_boxes, write_drawn_forms
from tests.datasets.data_forms import original_stem as stem_of
from tests.datasets.voc_folder import annotation, write

BCCD = Path(__file__).resolve().parents[3] / 'shared/data/bccd'
FORMS = {
    'flat': ('voc', ('all',)),
    'siblings': ('voc', ('all',)),
    'cvat_voc': ('voc', ('all',)),
    'roboflow_voc': ('voc', ('train', 'val', 'test')),
    'roboflow_coco': ('coco', ('train', 'val', 'test')),
    'coco': ('coco', ('all',)),
    'yolo': ('yolo', ('train', 'val', 'test')),
    'roboflow_yolo': ('yolo', ('train', 'val', 'test')),
    'yolo_flat': ('yolo', ('all',)),
}
OBJECTS = [('cat', (2, 3, 20, 30), 0), ('dog', (5, 6, 40, 50), 1)]


@pytest.fixture(scope='module')
def forms(tmp_path_factory):
    """The drawn data set and its forms. Do not change them."""
    return write_drawn_forms(tmp_path_factory.mktemp('data'))


def compare(root, folder, form):
    """Returns the largest difference of a box to the one of VOC's layout, in pixels."""
    expected = read_boxes(root)
    found = find_dataset(folder / form)
    assert (found.format, found.splits) == FORMS[form]
    largest, stems = 0, []
    for split in found.splits:
        dataset = found.open(split)
        for i, file in enumerate(dataset.image_files):
            stems.append(stem_of(file))
            its_split, bbox, label = expected[stems[-1]]
            bbox_found, label_found = dataset.get_annotation(i)
            assert split in ('all', its_split)
            assert label_found.tolist() == label.tolist()
            assert bbox_found.shape == bbox.shape
            largest = max(largest, np.abs(bbox_found - bbox).max(initial=0))
    assert sorted(stems) == sorted(expected)
    return largest


@pytest.mark.parametrize('form', FORMS)
def test_boxes_of_each_form_equal_those_of_vocs_layout(forms, form):
    assert compare(*forms, form) <= (0.01 if 'yolo' in form else 0)


@pytest.mark.filterwarnings('ignore:invalid boxes')
@pytest.mark.skipif(not BCCD.is_dir(), reason='needs the data set BCCD in ../shared/data')
def test_boxes_of_each_form_of_bccd(tmp_path):
    load_script().write_forms(str(BCCD), str(tmp_path))
    for form in FORMS:
        assert compare(BCCD, tmp_path, form) <= (0.01 if 'yolo' in form else 0)


def test_all_formats_give_items_of_the_same_form(forms):
    for form in FORMS:
        found = find_dataset(forms[1] / form)
        item = found.open(found.splits[0], return_difficult=True, dtype='uint8')[0]
        assert [each.dtype for each in item] == [np.uint8, np.float32, np.int32, bool]
        assert len(found.open(found.splits[0])[0]) == 3


def test_the_format_can_be_given(forms):
    assert find_dataset(forms[1] / 'flat', 'voc').format == 'voc'
    with pytest.raises(ValueError, match='16 .xml files, expected a data set in the format yolo'):
        find_dataset(forms[1] / 'flat', 'yolo')
    with pytest.raises(ValueError, match='format'):
        find_dataset(forms[1] / 'flat', 'csv')


def test_a_folder_with_several_formats_needs_one(forms, tmp_path):
    for form in ('flat', 'yolo_flat'):
        shutil.copytree(forms[1] / form, tmp_path, dirs_exist_ok=True)
    with pytest.raises(ValueError, match='several formats, voc and yolo. Choose one'):
        find_dataset(tmp_path)
    assert find_dataset(tmp_path, 'voc').format == 'voc'
    assert find_dataset(tmp_path, 'yolo').format == 'yolo'


def test_what_is_no_data_set_is_described(tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing: no such file or folder'):
        find_dataset(tmp_path / 'nothing')
    with pytest.raises(ValueError, match='no image and no annotation, expected Pascal'):
        find_dataset(tmp_path)
    paint(tmp_path / 'a.png', 0)
    with pytest.raises(ValueError, match='1 images, expected Pascal'):
        find_dataset(tmp_path)
    (tmp_path / 'a.zip').write_bytes(b'')
    with pytest.raises(ValueError, match='Unpack the archive first'):
        find_dataset(tmp_path / 'a.zip')


def write_flat(folder, names, suffix='.png'):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (folder / f'{name}.xml').write_text(annotation(OBJECTS))
        paint(folder / f'{name}.png', i)
        os.rename(folder / f'{name}.png', folder / f'{name}{suffix}')
    return folder


@pytest.mark.parametrize('suffix', [*IMAGE_SUFFIXES, '.JPG', '.Tiff'])
def test_every_suffix_in_any_case(tmp_path, suffix):
    found = find_dataset(write_flat(tmp_path / 'flat', ['a', 'b'], suffix))
    assert len(found.open('all')) == 2 and found.open('all')[0][0].shape == (3, 60, 80)


def test_other_files_do_not_matter(tmp_path):
    folder = write_flat(tmp_path / 'flat', ['a'])
    write_flat(folder / '.cache', ['b'])
    (folder / 'project.xml').write_text('<project/>')
    (folder / 'predefined_classes.txt').write_text('cat\ndog\n')
    (folder / 'notes.json').write_text('{}')
    result = write_flat(folder / 'result', ['c'])
    (result / 'model.json').write_text('{}')
    assert len(find_dataset(folder).open('all')) == 1


def test_images_and_annotations_without_each_other(tmp_path):
    folder = write_flat(tmp_path / 'flat', ['a', 'b'])
    os.remove(folder / 'b.xml')
    with pytest.warns(UserWarning, match='images without an annotation, left out: 1, b.png'):
        assert len(find_dataset(folder).open('all')) == 1
    os.remove(folder / 'a.png')
    with pytest.warns(UserWarning), pytest.raises(FileNotFoundError, match='without an image.*a.x'):
        find_dataset(folder).open('all')


def test_names_that_stand_in_several_folders(tmp_path):
    for split in 'Train', 'VALID':
        write_flat(tmp_path / f'data/{split}/labels', ['a'])
        (tmp_path / f'data/{split}/images').mkdir()
        os.rename(tmp_path / f'data/{split}/labels/a.png', tmp_path / f'data/{split}/images/a.png')
    found = find_dataset(tmp_path / 'data')
    assert found.splits == ('train', 'val')
    assert 'VALID' in found.open('val').image_files[0]
    # Two images of one name in one split, equally near
    for day in 'day', 'night':
        (tmp_path / f'twice/{day}').mkdir(parents=True)
        paint(tmp_path / f'twice/{day}/a.png', 0)
    (tmp_path / 'twice/labels').mkdir()
    (tmp_path / 'twice/labels/a.xml').write_text(annotation(OBJECTS))
    with pytest.raises(ValueError, match='several files belong to it.*day/a.png, night/a.png'):
        find_dataset(tmp_path / 'twice')


def test_images_outside_of_the_folders_of_splits_are_named(tmp_path):
    write_flat(tmp_path / 'data/train', ['a'])
    write_flat(tmp_path / 'data', ['b'])
    with pytest.warns(UserWarning, match='outside of the folders of the splits, left out: 1, .*b'):
        assert find_dataset(tmp_path / 'data').splits == ('train',)


def test_lists_beside_flat_folders(tmp_path):
    folder = write_flat(tmp_path / 'flat', ['a', 'b', 'c'])
    (folder / 'train.txt').write_bytes(b'\xef\xbb\xbfa.png\r\n./images/b.png\r\n')
    (folder / 'Test.txt').write_text('c\n')
    found = find_dataset(folder)
    assert found.splits == ('train', 'test') and len(found.open('train')) == 2
    (folder / 'Test.txt').write_text('x\n')
    with pytest.raises(ValueError, match="Test.txt, line 1: 'x' has no annotation"):
        find_dataset(folder)


def test_vocs_lists(tmp_path):
    root = write(tmp_path / 'voc', {name: annotation(OBJECTS) for name in 'abc'})
    for name, text in {'test': 'c\n', 'cat_train': 'a  1\nb -1\n', 'dog_train': 'a 1\n'}.items():
        (root / f'ImageSets/Main/{name}.txt').write_text(text)
    found = find_dataset(tmp_path)  # one folder above
    assert found.splits == ('train', 'test') and found.path == str(root)
    assert found.open('cat_train').ids == ['a', 'b']
    assert found.find_list('cat_train') == 'cat_train' and found.find_list('x') is None
    write(tmp_path / 'other', {'a': annotation(OBJECTS)})
    with pytest.raises(ValueError, match=f'2 data sets are in it, .*--data {tmp_path}/other'):
        find_dataset(tmp_path)


def test_vocs_lists_with_other_names(tmp_path):
    root = write(tmp_path, {'a': annotation(OBJECTS)}, 'Training')
    (root / 'ImageSets/Main/fold_2.txt').write_text('a\n')
    found = find_dataset(root)
    assert found.splits == ('train', 'fold_2') and found.open('train').ids == ['a']
    assert found.find_list('train') == 'Training'


def test_a_coco_file_and_its_images(tmp_path):
    content = coco([(7, 2, [1, 2, 10, 20], 0)])
    file, images = write_coco(tmp_path / 'data', content)
    assert len(find_dataset(file).open('all')) == 2
    os.rename(images, tmp_path / 'data/Pictures')
    assert len(find_dataset(tmp_path / 'data').open('all')) == 2
    shutil.rmtree(tmp_path / 'data/Pictures')
    with pytest.raises(FileNotFoundError, match="its image '000000000007.png' is in no folder"):
        find_dataset(tmp_path / 'data')


def test_coco_files_by_their_names(tmp_path):
    for split in 'train2017', 'val2017':
        file, images = write_coco(tmp_path / 'x', coco([]))
        (tmp_path / 'data/annotations').mkdir(parents=True, exist_ok=True)
        os.rename(file, tmp_path / f'data/annotations/instances_{split}.json')
        os.rename(images, tmp_path / f'data/{split}')
    captions = tmp_path / 'data/annotations/captions_val2017.json'
    captions.write_text(json.dumps({'images': [], 'annotations': [], 'categories': []}))
    found = find_dataset(tmp_path / 'data')
    assert found.splits == ('train', 'val')
    assert all('/val2017/' in file for file in found.open('val').image_files)
    shutil.copy(captions, tmp_path / 'data/annotations/instances_more_val.json')
    with pytest.raises(ValueError, match='several annotation files of one split.*Give one'):
        find_dataset(tmp_path / 'data')


def test_roboflows_root_category_is_no_class(tmp_path):
    content = coco([(7, 2, [1, 2, 10, 20], 0)], ((0, 'animal'), (2, 'cat'), (90, 'dog')))
    content['categories'][0]['supercategory'] = 'none'
    file, _ = write_coco(tmp_path, content)
    dataset = find_dataset(file).open('all')
    assert dataset.label_names == ('cat', 'dog')
    assert [dataset.get_annotation(i)[1].tolist() for i in range(2)] == [[], [0]]
    # With an annotation it is a class, and so is one that is no group.
    content['annotations'].append({**content['annotations'][0], 'id': 5, 'category_id': 0})
    assert find_dataset(write_coco(tmp_path, content)[0]).open('all').label_names[0] == 'animal'
    content['annotations'].pop()
    content['categories'][0]['name'] = 'fish'
    assert find_dataset(write_coco(tmp_path, content)[0]).open('all').label_names[0] == 'fish'


def write_yolo(folder, yaml, images='images', labels='labels', names=('a', 'b')):
    for split in 'train', 'val':
        for part in images, labels:
            (folder / part / split).mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(names):
            paint(folder / images / split / f'{name}.png', i)
            (folder / labels / split / f'{name}.txt').write_text('1 0.5 0.5 0.25 0.5\n')
    if yaml is not None:
        (folder / 'data.yaml').write_text(yaml)
    return folder


@pytest.mark.parametrize(
    'yaml',
    [
        'train: images/train\nval: images/val\nnames: [cat, dog]\n',
        'path: .\ntrain: [images/train]\nval: images/val\nnames: {0: cat, 1: dog}\n',
        'train: ../images/train\nval: ../images/val\nnames:\n- cat\n- dog\nnc: 2\n',
        'path: /content/x\ntrain: /content/x/images/train\nval: images\\val\nnames: [cat, dog]\n',
    ],
)
def test_entries_of_data_yaml(tmp_path, yaml):
    found = find_dataset(write_yolo(tmp_path / 'yolo', yaml))
    assert found.splits == ('train', 'val') and found.label_names == ('cat', 'dog')
    assert found.open('val')[0][1].tolist() == [[15, 30, 45, 50]]
    assert len(find_dataset(tmp_path / 'yolo/data.yaml').open('train')) == 2


def test_entries_that_do_not_exist(tmp_path):
    yaml = 'train: images/train\nval: images/val\ntest: ../test/images\nnames: [cat, dog]\n'
    with pytest.warns(UserWarning, match=r"do not exist, and are left out: test: '\.\./test/im"):
        assert find_dataset(write_yolo(tmp_path / 'a', yaml)).splits == ('train', 'val')
    with pytest.warns(UserWarning, match='train: '):
        yaml = 'train: x\nval: y\nnames: [cat, dog]\n'
        assert find_dataset(write_yolo(tmp_path / 'b', yaml)).splits == ('train', 'val')


#: Each line refers to the one before ten times.
LAUGHS = 'x0: &x0 [a]\n' + ''.join(
    f'x{i}: &x{i} [{", ".join([f"*x{i - 1}"] * 10)}]\n' for i in range(1, 10)
)


@pytest.mark.parametrize(
    ('yaml', 'message'),
    [
        ('names: [a\n', 'no YAML'),
        ('names: {0: a, 2: b}\n', r'names have the numbers \[0, 2\], expected 0 to 1'),
        ('names: [a, a]\n', 'expected each name once'),
        ('names: 3\n', 'names is 3, expected a list'),
        ('names: [a]\ntrain: 3\n', 'train is 3, expected a path'),
        ('names: [a]\ntrain: /\n', "train is '/', which holds this file"),
        ('names: [a]\nval: ../..\n', "val is '../..', which holds this file"),
        ('names: &x [*x]\n', 'names holds .*, expected a name'),
        ('nc: 3\nnames: [a, b]\n', 'nc is 3, and there are 2 names'),
        (LAUGHS + 'names: [*x9]\n', 'names holds .*, expected a name'),
        (LAUGHS + 'names: *x9\ntrain: *x9\n', 'expected a path'),
        ('!!python/object/apply:os.system [ls]\n', 'no YAML'),
    ],
)
def test_wrong_data_yaml(tmp_path, yaml, message):
    with pytest.raises((ValueError, TypeError), match=message):
        find_dataset(write_yolo(tmp_path, yaml))


def test_a_data_yaml_without_label_files_is_another_formats(forms, tmp_path):
    folder = shutil.copytree(forms[1] / 'coco', tmp_path / 'coco')
    (folder / 'data.yaml').write_text('train: images\nval: images\nnames: [bolt]\n')
    assert find_dataset(folder).format == 'coco'


def test_lists_of_images(tmp_path):
    folder = write_yolo(tmp_path / 'yolo', 'train: train.txt\nval: images/val\nnames: [a, b]\n')
    (folder / 'train.txt').write_text('./images/train/a.png\r\n/home/me/yolo/images/train/b.png\n')
    assert len(find_dataset(folder).open('train')) == 2
    (folder / 'train.txt').write_text('../x.png\n')
    with pytest.raises(ValueError, match=r"train.txt: '\.\./x.png' leads out of its folder"):
        find_dataset(folder)
    (folder / 'train.txt').write_text('images/train/z.png\n')
    with pytest.raises(FileNotFoundError, match="no such image: 'images/train/z.png'"):
        find_dataset(folder)


def test_darknets_folder(tmp_path):
    folder = write_yolo(tmp_path, None)
    for name in 'ab':
        shutil.copy(folder / f'labels/train/{name}.txt', folder / f'images/train/{name}.txt')
    shutil.rmtree(folder / 'labels')
    shutil.rmtree(folder / 'images/val')
    os.rename(folder / 'images/train', folder / 'obj_data')
    (folder / 'obj.names').write_text('cat\ndog\n')
    (folder / 'train.txt').write_text('data/obj_data/a.png\n')
    (folder / 'valid.txt').write_text('data/obj_data/b.png\n')
    found = find_dataset(folder)
    assert found.splits == ('train', 'val') and found.label_names == ('cat', 'dog')
    assert stem_of(found.open('val').image_files[0]) == 'b'


def test_class_names_that_are_not_stated(tmp_path):
    found = find_dataset(write_yolo(tmp_path, None))
    with pytest.raises(ValueError, match='Give them, one a line, with --label-names'):
        found.open('train')
    assert found.open('train', ['cat', 'dog'])[0][2].tolist() == [1]
    (tmp_path / 'labels/classes.txt').write_text('x\ny\n')
    found = find_dataset(tmp_path)
    assert found.open('train').label_names == ('x', 'y')
    assert found.open('train', ['y', 'x'])[0][2].tolist() == [0]
    (tmp_path / 'classes.txt').write_text('y\nx\n')
    with pytest.raises(ValueError, match='several files have class names that differ'):
        find_dataset(tmp_path)


def test_images_without_a_label_file_are_background(tmp_path):
    folder = write_yolo(tmp_path, 'train: images/train\nval: images/val\nnames: [cat, dog]\n')
    os.remove(folder / 'labels/train/b.txt')
    with pytest.warns(UserWarning, match='count as background: 1 of 2, first .*b.png'):
        dataset = find_dataset(folder).open('train')
    assert dataset.n_without_labels == 1 and dataset[1][1].shape == (0, 4)
    shutil.rmtree(folder / 'labels/train')
    with pytest.raises(ValueError, match="none of 2 images has a label file, .*'a.txt'"):
        find_dataset(folder).open('train')
