import json
import os
import pickle
import warnings

import numpy as np
import pytest
from chainer.iterators import MultiprocessIterator

from chainer_ssd import COCOBboxDataset
from tests.datasets.coco_folder import coco, write
from tests.datasets.voc_folder import picture

TWO = coco(
    [
        (3, 90, [10, 20, 20, 30], 0),
        (7, 2, [0, 0, 80, 60], 1),
        (3, 2, [5.5, 6, 2, 1.5], 0),
        (3, 90, [40, 40, 10, 10], 1),
    ]
)


def test_example(tmp_path):
    dataset = COCOBboxDataset(*write(tmp_path, TWO), return_crowd=True)
    assert len(dataset) == 2
    assert dataset.ids == [3, 7]
    assert dataset.label_names == ('cat', 'dog')
    img, bbox, label, crowd = dataset[0]
    np.testing.assert_array_equal(img, picture(seed=3).transpose(2, 0, 1))
    np.testing.assert_array_equal(
        bbox, np.array([[20, 10, 50, 30], [6, 5.5, 7.5, 7.5], [40, 40, 50, 50]])
    )
    np.testing.assert_array_equal(label, [1, 0, 1])
    np.testing.assert_array_equal(crowd, [False, False, True])
    assert [a.dtype for a in (img, bbox, label, crowd)] == ['f', 'f', 'i', '?']
    np.testing.assert_array_equal(dataset[1][1], [[0, 0, 60, 80]])
    np.testing.assert_array_equal(dataset[1][3], [True])


def test_uint8_images(tmp_path):
    files = write(tmp_path, TWO)
    img = COCOBboxDataset(*files, dtype=np.uint8)[0][0]
    assert img.dtype == np.uint8
    np.testing.assert_array_equal(img, COCOBboxDataset(*files)[0][0])
    with pytest.raises(ValueError, match="dtype = 'f8': expected float32 or uint8"):
        COCOBboxDataset(*files, dtype='f8')


def test_crowds_are_dropped_by_default(tmp_path):
    dataset = COCOBboxDataset(*write(tmp_path, TWO))
    img, bbox, label = dataset[0]
    np.testing.assert_array_equal(bbox, [[20, 10, 50, 30], [6, 5.5, 7.5, 7.5]])
    np.testing.assert_array_equal(label, [1, 0])
    assert [a.shape for a in dataset[1]] == [(3, 60, 80), (0, 4), (0,)]


def test_data_set_without_any_object(tmp_path):
    dataset = COCOBboxDataset(*write(tmp_path, coco([])), return_crowd=True)
    bbox, label, crowd = dataset.get_annotation(1)
    assert (bbox.shape, label.shape, crowd.shape) == ((0, 4), (0,), (0,))
    assert [a.dtype for a in (bbox, label, crowd)] == ['f', 'i', '?']


def test_iscrowd_defaults_to_0(tmp_path):
    content = coco([(3, 2, [1, 2, 3, 4], 0)])
    del content['annotations'][0]['iscrowd']
    assert not COCOBboxDataset(*write(tmp_path, content), return_crowd=True)[0][3].any()


def test_sparse_ids_become_labels_in_order(tmp_path):
    content = coco(
        [(3, i, [1, 1, 5, 5], 0) for i in (90, 1, 44)],
        categories=((90, 'toothbrush'), (1, 'person'), (44, 'bottle')),
    )
    dataset = COCOBboxDataset(*write(tmp_path, content))
    assert dataset.label_names == ('person', 'bottle', 'toothbrush')
    np.testing.assert_array_equal(dataset[0][2], [2, 0, 1])


def test_label_names_give_the_order(tmp_path):
    dataset = COCOBboxDataset(*write(tmp_path, TWO), label_names=['dog', 'bird', 'cat'])
    assert dataset.label_names == ('dog', 'bird', 'cat')
    np.testing.assert_array_equal(dataset[0][2], [0, 2])


def test_annotation_without_the_image(tmp_path):
    dataset = COCOBboxDataset(*write(tmp_path, TWO))
    for image in (tmp_path / 'images').iterdir():
        image.write_bytes(b'')
    assert len(dataset.get_annotation(0)) == 2
    with pytest.raises(ValueError, match='000003.png: cannot be read as an image'):
        dataset[0]


def test_returned_arrays_are_copies(tmp_path):
    dataset = COCOBboxDataset(*write(tmp_path, TWO), return_crowd=True)
    first = [a.copy() for a in dataset[0]]
    for array in dataset[0] + dataset.get_annotation(0):
        array[...] = 0
    for before, after in zip(first, dataset[0]):
        np.testing.assert_array_equal(before, after)


@pytest.mark.filterwarnings('ignore:.*(setDaemon|fork).*:DeprecationWarning')
def test_iterator_of_worker_processes(tmp_path):
    dataset = COCOBboxDataset(*write(tmp_path, TWO), return_crowd=True)
    assert pickle.loads(pickle.dumps(dataset)).ids == dataset.ids
    iterator = MultiprocessIterator(dataset, 2, repeat=False, shuffle=False, n_processes=1)
    try:
        batch = iterator.next()
    finally:
        iterator.finalize()
    for got, expected in zip(batch, (dataset[0], dataset[1])):
        for a, b in zip(got, expected):
            np.testing.assert_array_equal(a, b)


INVALID = {
    'inverted': [10, 10, -5, 5],
    'no width': [10, 10, 0, 5],
    'no height': [10, 10, 5, 0],
    'nan': [float('nan'), 10, 5, 5],
    'inf': [10, 10, float('inf'), 5],
    'too large': [1e300, 10, 5, 5],
    'far too large': [10**400, 10, 5, 5],
    'too small': [1e8, 1, 1e-3, 1],
}
UNREADABLE = {
    'three': ([10, 10, 5], 'bbox has 3 numbers'),
    'five': ([10, 10, 5, 5, 0.3], 'bbox has 5 numbers'),
    'empty': ([], 'bbox has 0 numbers'),
    'text': (['10', 10, 5, 5], 'bbox holds a str'),
    'flags': ([True, 10, 5, 5], 'bbox holds a bool'),
    'null': ([None, 10, 5, 5], 'bbox holds a NoneType'),
    'nested': ([[10, 10, 5, 5]], 'bbox is nested'),
    'points': ([[10, 10], [5, 5], [9, 9], [1, 1]], 'bbox is nested'),
    'word': ('10 10 5 5', 'bbox is a str'),
    'dict': ({'x': 1}, 'bbox is a dict'),
    'none': (None, 'no bbox'),
}


@pytest.mark.parametrize('bbox', INVALID.values(), ids=INVALID)
def test_invalid_box(tmp_path, bbox):
    content = coco([(3, 2, [1, 2, 3, 4], 0), (7, 2, bbox, 0), (7, 90, [1, 1, 2, 2], 0)])
    files = write(tmp_path, content)
    with pytest.warns(UserWarning, match=r'dropped: 1, in .*000007.png$') as caught:
        dataset = COCOBboxDataset(*files)
    assert len(caught) == 1
    np.testing.assert_array_equal(dataset.get_annotation(1)[0], [[1, 1, 3, 3]])
    (problem,) = dataset.problems
    assert problem.row == 1 and problem.kind in ('inverted_box', 'no_area', 'not_finite')
    assert problem.image == dataset.image_files[1] and problem.file == str(files[0])
    with pytest.raises(
        ValueError, match='instances.json, object 1 of .*000007.png: annotation 101, bbox = '
    ):
        COCOBboxDataset(*files, on_invalid='raise')


@pytest.mark.parametrize('case', UNREADABLE)
def test_a_box_that_cannot_be_read_is_counted_apart(tmp_path, case):
    bbox, reason = UNREADABLE[case]
    files = write(tmp_path, coco([(3, 2, [1, 2, 3, 4], 0), (7, 2, bbox, 0)]))
    with pytest.warns(
        UserWarning, match=f'cannot be read: 1, .*json, object 1 of .*0007.png: {reason}'
    ) as caught:
        dataset = COCOBboxDataset(*files)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert len(dataset[1][1]) == 0
    assert [problem.kind for problem in dataset.problems] == ['unreadable_box']
    with pytest.raises(ValueError, match=reason):
        COCOBboxDataset(*files, on_invalid='raise')


@pytest.mark.parametrize('key', ['segmentation', 'keypoints'])
def test_a_segmentation_without_a_box_is_named(tmp_path, key):
    content = coco([(3, 2, [1, 2, 3, 4], 0)])
    del content['annotations'][0]['bbox']
    content['annotations'][0][key] = [[1, 1, 5, 1, 5, 5]]
    with pytest.warns(UserWarning, match=f'0003.png: no bbox, only {key}$'):
        assert len(COCOBboxDataset(*write(tmp_path, content))[0][1]) == 0


def test_an_annotation_that_stands_twice_counts_once(tmp_path):
    content = coco([(3, 2, [1, 2, 3, 4], 0), (3, 2, [1, 2, 3, 4], 0)])
    assert len(COCOBboxDataset(*write(tmp_path, content))[0][1]) == 2  # two ids
    content['annotations'].append(dict(content['annotations'][0]))
    with pytest.warns(UserWarning, match='stand twice, counted once: 1, first .*annotation 100'):
        dataset = COCOBboxDataset(*write(tmp_path, content))
    assert len(dataset[0][1]) == 2
    assert [(problem.row, problem.kind) for problem in dataset.problems] == [(2, 'repeated')]


def test_area(tmp_path):
    content = json.loads(json.dumps(TWO))
    for area, annotation in zip((5.5, 7, 0, 9), content['annotations']):
        annotation['area'] = area
    files = write(tmp_path, content)
    img, bbox, label, area, crowd = COCOBboxDataset(*files, return_area=True, return_crowd=True)[0]
    assert area.dtype == np.float32 and crowd.dtype == bool
    np.testing.assert_array_equal(area, [5.5, 0, 9])
    np.testing.assert_array_equal(crowd, [False, False, True])
    assert len(COCOBboxDataset(*files, return_area=True)[0]) == 4
    np.testing.assert_array_equal(COCOBboxDataset(*files, return_area=True)[0][3], [5.5, 0])
    assert len(COCOBboxDataset(*files)[0]) == 3


@pytest.mark.parametrize('area', [None, 'x', -1, float('nan'), float('inf'), True])
def test_error_for_a_missing_area_only_if_it_is_asked_for(tmp_path, area):
    files = write(tmp_path, TWO, json.dumps(changed('annotations', 2, 'area', area)))
    COCOBboxDataset(*files)
    with pytest.raises(ValueError, match='annotation 102: area is .*because of return_area'):
        COCOBboxDataset(*files, return_area=True)


@pytest.mark.parametrize('name', ['../a.png', '/etc/passwd', 'images/../../a.png', '..\\a.png'])
def test_a_file_name_that_leads_out_of_the_root(tmp_path, name):
    file, images = write(tmp_path, TWO, json.dumps(changed('images', 0, 'file_name', name)))
    (tmp_path / 'a.png').write_bytes((images / '000000000007.png').read_bytes())
    with pytest.raises(ValueError, match='image 7: file_name .* leads out of its folder'):
        COCOBboxDataset(file, images)


def test_file_names_of_windows_and_absolute_ones_inside_the_root(tmp_path):
    file, images = write(tmp_path, TWO)
    content = json.loads(json.dumps(TWO))
    content['images'][0]['file_name'] = 'images\\000000000007.png'
    content['images'][1]['file_name'] = f'{tmp_path}/images/000000000003.png'
    file.write_text(json.dumps(content))
    dataset = COCOBboxDataset(file, tmp_path)
    expected = tuple(f'{tmp_path}/images/00000000000{i}.png' for i in (3, 7))
    assert dataset.image_files == expected
    assert dataset.fingerprint == COCOBboxDataset(file, tmp_path).fingerprint


def test_an_image_that_is_a_pipe(tmp_path):
    file, images = write(tmp_path, TWO)
    (images / '000000000007.png').unlink()
    os.mkfifo(images / '000000000007.png')
    with pytest.raises(FileNotFoundError, match='000007.png: not a regular file'):
        COCOBboxDataset(file, images)


def test_class_names_that_differ_by_case_or_space(tmp_path):
    categories = ((2, 'cat'), (90, 'Cat '), (91, 'dog'))
    with pytest.warns(UserWarning, match="json: class names that differ.*: 'cat' and 'Cat '$"):
        COCOBboxDataset(*write(tmp_path, coco([], categories)))


def test_a_class_background(tmp_path):
    with pytest.warns(UserWarning, match='json: background is not a class'):
        COCOBboxDataset(*write(tmp_path, coco([], ((0, 'background'), (1, 'dog')))))


def test_a_file_in_utf_16(tmp_path):
    file, images = write(tmp_path, TWO)
    file.write_bytes(json.dumps(TWO).encode('utf-16'))
    assert COCOBboxDataset(file, images).label_names == ('cat', 'dog')


def test_a_file_in_another_encoding(tmp_path):
    file, images = write(tmp_path, TWO)
    file.write_bytes(json.dumps({**TWO, 'info': 'é' * 100000}, ensure_ascii=False).encode('cp1252'))
    with pytest.raises(ValueError, match='instances.json: not a well-formed JSON file') as raised:
        COCOBboxDataset(file, images)
    assert len(str(raised.value)) < 1000


def test_an_annotation_file_that_is_no_file(tmp_path):
    file, images = write(tmp_path, TWO)
    os.mkfifo(tmp_path / 'pipe.json')
    (tmp_path / 'zero.json').symlink_to('/dev/zero')
    for name in ('pipe', 'zero'):
        with pytest.raises(ValueError, match=f'{name}.json: expected a regular file'):
            COCOBboxDataset(tmp_path / f'{name}.json', images)
    with open(file, 'wb') as opened:
        opened.truncate(10**12)
    with pytest.raises(ValueError, match='instances.json: expected at most'):
        COCOBboxDataset(file, images)


def test_fingerprint(tmp_path):
    def make(folder, content=TWO, **options):
        return COCOBboxDataset(*write(tmp_path / folder, content), **options).fingerprint

    first = make('a')
    assert make('b') == first
    others = [
        make('c', changed('annotations', 0, 'bbox', [10, 20, 20, 31])),
        make('d', changed('annotations', 0, 'category_id', 2)),
        make('e', changed('images', 0, 'file_name', '000000000008.png')),
        make('f', changed('categories', 0, 'name', 'mouse')),
        make('g', return_crowd=True),
    ]
    assert len({first, *others}) == 6


def test_crowds_are_counted(tmp_path):
    for return_crowd in (False, True):
        assert COCOBboxDataset(*write(tmp_path, TWO), return_crowd=return_crowd).n_crowd == 2


@pytest.mark.parametrize(
    ('bbox', 'message'),
    [
        ([70, 10, 20, 10], 'reach outside their image: 1, in 1 files'),
        ([10, 62, 10, 15], 'fit their image only with x and y swapped'),
        ([0.1, 0.1, 0.5, 0.5], r'look like fractions in \[0, 1\]'),
    ],
)
def test_implausible_box(tmp_path, bbox, message):
    with pytest.warns(UserWarning, match=f'{message}.*000003.png') as caught:
        COCOBboxDataset(*write(tmp_path, coco([(3, 2, bbox, 0)])))
    assert len(caught) == 1


def test_boxes_in_images_of_unknown_size_are_plausible(tmp_path):
    content = coco([(3, 2, [70, 10, 20, 10], 0)])
    for image in content['images']:
        del image['height'], image['width']
    dataset = COCOBboxDataset(*write(tmp_path, content))
    with pytest.warns(UserWarning, match='0003.png: .* and its boxes reach outside'):
        assert dataset[0][1].shape == (1, 4)


def test_annotated_size_differs_from_the_image(tmp_path):
    dataset = COCOBboxDataset(*write(tmp_path, coco([], size=(61, 80))))
    with pytest.warns(UserWarning, match=r'000003.png: \(H, W\) is \(60, 80\), \(61.0, 80.0\) in'):
        dataset[0]
    with warnings.catch_warnings():  # only once
        warnings.simplefilter('error')
        dataset[1]


def without(content, key):
    return {k: v for k, v in content.items() if k != key}


def changed(key, row, field, value):
    content = json.loads(json.dumps(TWO))
    content[key][row][field] = value
    return content


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (without(TWO, 'images'), "no list 'images'"),
        (without(TWO, 'annotations'), "no list 'annotations'"),
        (without(TWO, 'categories'), "no list 'categories'"),
        ({**TWO, 'categories': {}}, "no list 'categories'"),
        ({**TWO, 'annotations': [3]}, "'annotations' holds something that is not a JSON object"),
        ([TWO], "no list 'images'"),
        ({**TWO, 'images': [], 'annotations': []}, 'lists no image'),
        (changed('images', 0, 'id', 3), r'images\[1\]: id 3 is there twice'),
        (changed('images', 0, 'id', '7'), r"images\[0\]: id is '7', expected an integer"),
        (changed('images', 0, 'file_name', None), 'image 7: no file_name'),
        (changed('categories', 0, 'id', 90), r'categories\[1\]: id 90 is there twice'),
        (changed('categories', 0, 'name', None), 'a category without a name'),
        (changed('categories', 0, 'name', 'dog'), 'expected each name once'),
        (
            changed('annotations', 2, 'image_id', 4),
            'annotation 102: there is no image with its .* 4',
        ),
        (changed('annotations', 2, 'image_id', [3]), r'annotation 102: there is no image .* \[3\]'),
        (changed('annotations', 2, 'image_id', True), 'there is no image with its .* True'),
        (changed('annotations', 2, 'category_id', 2.0), 'there is no category with its .* 2.0'),
        (changed('images', 0, 'id', True), r'images\[0\]: id is True, expected an integer'),
        (changed('images', 0, 'file_name', '000000000003.png'), 'also that of image 3'),
        (changed('images', 0, 'file_name', './000000000003.png'), 'also that of image 3'),
        (changed('categories', 0, 'name', ' '), 'a category without a name'),
        (changed('categories', 0, 'name', 7), 'a category without a name, id 2 has 7'),
        (changed('annotations', 2, 'category_id', 3), 'annotation 102: there is no category .* 3'),
        (changed('annotations', 2, 'iscrowd', 2), 'annotation 102: iscrowd is 2, expected 0 or 1'),
    ],
)
def test_error_describes_a_file_that_is_not_cocos(tmp_path, content, message):
    files = write(tmp_path, TWO, json.dumps(content))
    with pytest.raises(ValueError, match=f'instances.json.*{message}'):
        COCOBboxDataset(*files)


@pytest.mark.parametrize(
    'text', ['', '{"images": [', '[' * 200000, '\x00'], ids=['empty', 'cut off', 'nested', 'binary']
)
def test_error_describes_a_file_that_is_not_json(tmp_path, text):
    with pytest.raises(ValueError, match='instances.json: not a well-formed JSON file'):
        COCOBboxDataset(*write(tmp_path, TWO, text))


def test_a_name_that_is_not_among_label_names(tmp_path):
    with pytest.raises(ValueError, match="annotation 101: the name 'cat' is not among label_names"):
        COCOBboxDataset(*write(tmp_path, TWO), label_names=['dog'])


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'on_invalid': 'keep'}, ValueError, "on_invalid = 'keep'"),
        ({'label_names': 'dog'}, TypeError, "label_names = 'dog'"),
        ({'exif': True}, ValueError, 'exif = True'),
        ({'return_crowd': 'no'}, TypeError, "return_crowd = 'no'"),
        ({'return_area': 2}, TypeError, 'return_area = 2'),
        ({'label_names': ['dog', 'dog', 'cat']}, ValueError, 'expected each name once'),
    ],
)
def test_error_names_the_option(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        COCOBboxDataset(*write(tmp_path, TWO), **options)


def test_missing_files(tmp_path):
    file, images = write(tmp_path, TWO)
    (images / '000000000007.png').unlink()
    with pytest.raises(FileNotFoundError, match='000007.png: no such image, which .*json'):
        COCOBboxDataset(file, images)
    with pytest.raises(FileNotFoundError, match='other.json'):
        COCOBboxDataset(tmp_path / 'other.json', images)
