import os
import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from chainer.dataset import concat_examples
from chainer.iterators import MultiprocessIterator, SerialIterator

from chainer_ssd.datasets import VOC_LABEL_NAMES, VOCBboxDataset
from tests.datasets.voc_folder import annotation, picture, write

# The BCCD data set (https://github.com/Shenggan/BCCD_Dataset) in Pascal VOC's layout.
BCCD = os.environ.get('CHAINER_SSD_BCCD') or str(
    Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bccd'
)
needs_bccd = pytest.mark.skipif(
    not os.path.isdir(BCCD), reason=f'{BCCD} is not there (CHAINER_SSD_BCCD names another folder)'
)

TWO = {
    'a': annotation(
        [
            ('dog', (11, 21, 31, 41), 0),
            ('cat', (1, 1, 80, 60), 1),
            ('dog', ('5.5', '6', '7.25', '8'), 0),
        ]
    ),
    'b': annotation([]),
}


def test_example(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, TWO), 'train', return_difficult=True)
    assert len(dataset) == 2
    assert dataset.ids == ['a', 'b']
    img, bbox, label, difficult = dataset[0]
    np.testing.assert_array_equal(img, picture(seed=0).transpose(2, 0, 1))
    np.testing.assert_array_equal(
        bbox, np.array([[20, 10, 40, 30], [0, 0, 59, 79], [5, 4.5, 7, 6.25]])
    )
    np.testing.assert_array_equal(
        label, [VOC_LABEL_NAMES.index(name) for name in ('dog', 'cat', 'dog')]
    )
    np.testing.assert_array_equal(difficult, [False, True, False])
    assert [a.dtype for a in (img, bbox, label, difficult)] == ['f', 'f', 'i', '?']


def test_uint8_images(tmp_path):
    root = write(tmp_path, TWO)
    dataset = VOCBboxDataset(root, 'train', dtype='uint8')
    assert dataset[0][0].dtype == np.uint8
    np.testing.assert_array_equal(dataset[0][0], VOCBboxDataset(root, 'train')[0][0])
    with pytest.raises(ValueError, match="dtype = 'f8': expected float32 or uint8"):
        VOCBboxDataset(root, 'train', dtype='f8')


def test_difficult_objects_are_dropped_by_default(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, TWO), 'train')
    img, bbox, label = dataset[0]
    np.testing.assert_array_equal(bbox, [[20, 10, 40, 30], [5, 4.5, 7, 6.25]])
    assert len(label) == 2


def test_image_without_objects(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, TWO), 'train', return_difficult=True)
    img, bbox, label, difficult = dataset[1]
    assert img.shape == (3, 60, 80)
    assert (bbox.shape, label.shape, difficult.shape) == ((0, 4), (0,), (0,))
    assert [a.dtype for a in (bbox, label, difficult)] == ['f', 'i', '?']


def test_data_set_without_any_object(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, {'a': annotation([])}), 'train')
    assert dataset.get_annotation(0)[0].shape == (0, 4)
    assert dataset.label_names == VOC_LABEL_NAMES


def test_annotation_without_the_image(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, TWO), 'train', return_difficult=True)
    for image in (tmp_path / 'JPEGImages').iterdir():
        image.write_bytes(b'')
    expected = [[20, 10, 40, 30], [0, 0, 59, 79], [5, 4.5, 7, 6.25]]
    np.testing.assert_array_equal(dataset.get_annotation(0)[0], expected)
    assert len(dataset.get_annotation(0)) == 3
    with pytest.raises(ValueError, match='a.png: cannot be read as an image'):
        dataset[0]


def test_returned_arrays_are_copies(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, TWO), 'train', return_difficult=True)
    first = [a.copy() for a in dataset[0]]
    for array in dataset[0] + dataset.get_annotation(0):
        array[...] = 0
    for before, after in zip(first, dataset[0]):
        np.testing.assert_array_equal(before, after)


def test_indices(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, TWO), 'train')
    np.testing.assert_array_equal(dataset[-2][1], dataset[0][1])
    np.testing.assert_array_equal(dataset[np.int64(0)][1], dataset[0][1])
    assert len(dataset[:]) == len(list(dataset)) == 2
    for i in (2, -3):
        with pytest.raises(IndexError):
            dataset[i]
        with pytest.raises(IndexError):
            dataset.get_annotation(i)


@pytest.mark.parametrize('suffix', ['.jpg', '.jpeg', '.png', '.JPG', '.PNG'])
def test_suffixes(tmp_path, suffix):
    dataset = VOCBboxDataset(write(tmp_path, TWO, suffix=suffix), 'train')
    assert dataset[0][0].shape == (3, 60, 80)


def test_list_with_windows_line_ends_mark_and_blank_lines(tmp_path):
    root = write(tmp_path, TWO)
    (root / 'ImageSets/Main/train.txt').write_bytes(b'\xef\xbb\xbfb\r\n\r\n a \r\n')
    assert VOCBboxDataset(root, 'train').ids == ['b', 'a']


def test_label_names(tmp_path):
    root = write(tmp_path, TWO)
    given = VOCBboxDataset(root, 'train', label_names=['cat', 'mouse', 'dog'])
    assert given.label_names == ('cat', 'mouse', 'dog')
    np.testing.assert_array_equal(given[0][2], [2, 2])

    other = write(
        tmp_path / 'other',
        {
            'a': annotation([('zebra', (1, 1, 5, 5), 0), ('cat', (1, 1, 5, 5), 0)]),
            'b': annotation([('RBC', (1, 1, 5, 5), 1)]),
        },
    )
    found = VOCBboxDataset(other, 'train')
    assert found.label_names == ('RBC', 'cat', 'zebra')
    np.testing.assert_array_equal(found[0][2], [2, 1])


def test_name_that_is_not_a_class(tmp_path):
    with pytest.raises(ValueError, match=r"a\.xml: the name 'cat' is not among .*'dog'"):
        VOCBboxDataset(write(tmp_path, TWO), 'train', label_names=('dog',))


@pytest.mark.parametrize(
    'label_names, error',
    [('dog', TypeError), ([1, 2], TypeError), (['dog', 'cat', 'dog'], ValueError)],
)
def test_bad_label_names(tmp_path, label_names, error):
    with pytest.raises(error, match='label_names = '):
        VOCBboxDataset(write(tmp_path, TWO), 'train', label_names=label_names)


INVALID = {
    'zero area': (5, 5, 5, 5),
    'no width': (5, 5, 5, 9),
    'inverted': (9, 5, 5, 9),
    'nan': ('nan', 5, 9, 9),
    'inf': (5, 5, 'inf', 9),
    'past float32': (5, 5, '1e39', 9),
    'past float64': (5, 5, '1e999', 9),
    'no area in float32': (10**9, 5, 10**9 + 1, 9),
    'word': (5, 'five', 9, 9),
    'empty': ('', 5, 9, 9),
    'missing': (5, 5, 9),
}


@pytest.mark.parametrize('box', INVALID.values(), ids=INVALID)
def test_invalid_box(tmp_path, box):
    root = write(
        tmp_path,
        {
            'a': annotation([('dog', (1, 1, 5, 5), 0)]),
            'b': annotation([('cat', (1, 2, 3, 4), 0), ('dog', box, 0), ('cow', (5, 6, 7, 8), 0)]),
            'c': annotation([('dog', box, 0), ('dog', box, 0)]),
        },
    )
    with pytest.warns(UserWarning) as caught:
        dataset = VOCBboxDataset(root, 'train')
    assert len(caught) == 1
    message = str(caught[0].message)
    assert re.search(r'dropped: 3, in .*b\.xml, .*c\.xml$', message), message
    assert 'a.xml' not in message
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(dataset[1][1], [[1, 0, 3, 2], [5, 4, 7, 6]])
    assert [dataset.label_names[label] for label in dataset[1][2]] == ['cat', 'cow']
    assert dataset[2][1].shape == (0, 4)

    with pytest.raises(ValueError, match=r"b\.xml, object 1 \('dog'\): .* = ") as raised:
        VOCBboxDataset(root, 'train', on_invalid='raise')
    assert all(repr(str(text)) in str(raised.value) for text in box if text != '')


def test_a_long_list_of_files_is_cut(tmp_path):
    root = write(tmp_path, {f'file{i}': annotation([('dog', (5, 5, 5, 5), 0)]) for i in range(23)})
    with pytest.warns(UserWarning, match=r'dropped: 23, in .*file19\.xml and 3 more files$'):
        VOCBboxDataset(root, 'train')


@pytest.mark.parametrize(
    'box, what',
    [
        ((70, 1, 85, 9), 'reach outside their image'),
        ((1, 1, 80, 62), 'reach outside their image'),
        ((-3, 1, 9, 9), 'reach outside their image'),
        ((1, 62, 60, 80), 'fit their image only with x and y swapped'),
        (('0.1', '0.2', '0.6', '0.9'), r'look like fractions in \[0, 1\]'),
    ],
)
def test_implausible_boxes(tmp_path, box, what):
    fine = ('dog', (5, 5, 40, 30), 0)
    root = write(
        tmp_path,
        {
            'a': annotation([fine]),
            'b': annotation([fine, ('dog', box, 0), ('dog', box, 0)]),
            'c': annotation([('dog', box, 0)]),
        },
    )
    with pytest.warns(UserWarning) as caught:
        dataset = VOCBboxDataset(root, 'train')
    assert len(caught) == 1
    assert re.search(rf'{what}.*: 3, in 2 files; first in .*b\.xml', str(caught[0].message))
    assert caught[0].filename == __file__
    assert [len(dataset[i][1]) for i in range(3)] == [1, 3, 1]


@pytest.mark.parametrize('box', [(1, 1, 80, 60), (0, 0, 79, 59), (0, 0, 80, 60)])
def test_every_convention_of_corners_is_plausible(tmp_path, box):
    VOCBboxDataset(write(tmp_path, {'a': annotation([('dog', box, 0)])}), 'train')


def test_boxes_in_an_image_of_unknown_size_are_plausible(tmp_path):
    far = annotation([('dog', (100, 1, 200, 9), 0)], size=None)
    assert len(VOCBboxDataset(write(tmp_path, {'a': far}), 'train')[0][1]) == 1


def test_annotated_size_differs_from_the_image(tmp_path):
    dataset = VOCBboxDataset(
        write(
            tmp_path, {name: annotation([('dog', (1, 1, 5, 5), 0)], size=(50, 50)) for name in 'ab'}
        ),
        'train',
    )
    with pytest.warns(UserWarning, match=r'a\.png: \(H, W\) is \(60, 80\), \(50.0, 50.0\) in'):
        dataset[0]
    dataset[1]  # only once per data set


@pytest.mark.parametrize(
    'gone', ['ImageSets/Main/train.txt', 'Annotations/b.xml', 'JPEGImages/b.png']
)
def test_missing_file(tmp_path, gone):
    root = write(tmp_path, TWO)
    (root / gone).unlink()
    with pytest.raises(FileNotFoundError, match=gone.split('.')[0].split('/')[-1]):
        VOCBboxDataset(root, 'train')


def test_error_for_a_missing_list_names_the_existing_lists(tmp_path):
    root = write(tmp_path, TWO)
    for name in ('val', 'cat_train', 'cat_val'):
        (root / f'ImageSets/Main/{name}.txt').write_text('a\n')
    with pytest.raises(
        FileNotFoundError,
        match=(r'tarin\.txt: no such list: there are val, train, cat_val, cat_train$'),
    ):
        VOCBboxDataset(root, 'tarin')
    for i in range(9):
        (root / f'ImageSets/Main/zebra_{i}_train.txt').write_text('a\n')
    with pytest.raises(FileNotFoundError, match=r'there are val, train, cat_val.* and 3 more$'):
        VOCBboxDataset(root, 'tarin')


@pytest.mark.parametrize('wrong', ['', 'a/[b]/Annotations', 'a', 'a/[b]/ImageSets/'])
def test_error_for_a_wrong_folder_names_a_right_one_nearby(tmp_path, wrong):
    right = write(tmp_path / 'a' / '[b]', TWO)
    with pytest.raises(FileNotFoundError) as error:
        VOCBboxDataset(tmp_path / wrong, 'train')
    assert str(error.value).endswith(
        f"not in Pascal VOC's layout (Annotations, ImageSets/Main, JPEGImages). "
        f'These folders are: {right}'
    )


def test_error_for_a_folder_without_a_data_set(tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'empty').mkdir()
    for name in ('file', 'nowhere'):
        with pytest.raises(FileNotFoundError, match=rf'{name} is not a folder$'):
            VOCBboxDataset(tmp_path / name, 'train')
    with pytest.raises(FileNotFoundError, match=r"empty is not in Pascal VOC's layout .*\)$"):
        VOCBboxDataset(tmp_path / 'empty', 'train')


def test_constructor_names_a_bad_annotation(tmp_path):
    root = write(tmp_path, {**TWO, 'c': '<annotation>'})
    with pytest.raises(ValueError, match=r'c\.xml'):
        VOCBboxDataset(root, 'train')


def test_empty_list(tmp_path):
    root = write(tmp_path, TWO)
    (root / 'ImageSets/Main/train.txt').write_text('\n')
    with pytest.raises(ValueError, match=r'train\.txt: lists no image'):
        VOCBboxDataset(root, 'train')


def test_bad_on_invalid(tmp_path):
    with pytest.raises(ValueError, match="on_invalid = 'ignore': expected one of"):
        VOCBboxDataset(write(tmp_path, TWO), 'train', on_invalid='ignore')


def test_pickle(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, TWO), 'train', return_difficult=True)
    again = pickle.loads(pickle.dumps(dataset))
    assert again.label_names == dataset.label_names
    for a, b in zip(dataset[0], again[0]):
        np.testing.assert_array_equal(a, b)


# Chainer calls Thread.setDaemon. Since Python 3.12, any fork beside a thread warns too.
@pytest.mark.filterwarnings('ignore:.*(setDaemon|fork).*:DeprecationWarning')
def test_worker_processes(tmp_path):
    dataset = VOCBboxDataset(write(tmp_path, TWO), 'train')
    iterator = MultiprocessIterator(dataset, 2, repeat=False, shuffle=False, n_processes=2)
    with iterator:
        (batch,) = list(iterator)
    assert concat_examples([img for img, _, _ in batch]).shape == (2, 3, 60, 80)
    for found, expected in zip(batch, dataset):
        for a, b in zip(found, expected):
            np.testing.assert_array_equal(a, b)


@needs_bccd
def test_bccd():
    with pytest.warns(UserWarning) as caught:
        trainval = VOCBboxDataset(BCCD, 'trainval')
    assert len(caught) == 1
    message = str(caught[0].message)
    assert 'dropped: 2, in' in message
    assert re.findall(r'BloodImage_\d+', message) == ['BloodImage_00338', 'BloodImage_00343']
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        test = VOCBboxDataset(BCCD, 'test', label_names=trainval.label_names)
    assert (len(trainval), len(test)) == (292, 72)
    assert trainval.label_names == test.label_names == ('Platelets', 'RBC', 'WBC')

    labels = np.concatenate(
        [d.get_annotation(i)[1] for d in (trainval, test) for i in range(len(d))]
    )
    # 4,888 objects as published, two of them RBC without area
    np.testing.assert_array_equal(np.bincount(labels), [361, 4153, 372])
    for batch in SerialIterator(test, 16, repeat=False, shuffle=False):
        for img, bbox, label in batch:
            assert img.shape == (3, 480, 640) and 0 <= img.min() < img.max() <= 255
            assert len(bbox) == len(label) > 0
            assert (bbox >= 0).all() and (bbox[:, 2] < 480).all() and (bbox[:, 3] < 640).all()


@needs_bccd
def test_bccd_raises_on_request():
    with pytest.raises(ValueError, match=r'BloodImage_00338\.xml, object \d+ \(.RBC.\)'):
        VOCBboxDataset(BCCD, 'trainval', on_invalid='raise')
