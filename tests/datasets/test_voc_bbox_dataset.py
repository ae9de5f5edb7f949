import os
import pickle
import re
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from chainer.dataset import concat_examples
from chainer.iterators import MultiprocessIterator, SerialIterator

from chainer_ssd.datasets import VOC_LABEL_NAMES, VOCBboxDataset, voc_bbox_label_names
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
    assert dataset.label_names == ('cat', 'dog')
    np.testing.assert_array_equal(label, [1, 0, 1])
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
    assert dataset.label_names == ()


def test_only_exactly_vocs_names_have_vocs_order(tmp_path):
    def names_of(names):
        root = write(
            tmp_path, {'a': annotation([(name, (1, 1, 5, 5), 0) for name in reversed(names)])}
        )
        return VOCBboxDataset(root, 'train').label_names

    assert names_of(VOC_LABEL_NAMES) == VOC_LABEL_NAMES
    assert names_of(['person']) == ('person',)
    assert names_of(VOC_LABEL_NAMES[:-1]) == tuple(sorted(VOC_LABEL_NAMES[:-1]))
    assert names_of((*VOC_LABEL_NAMES, 'zebra')) == tuple(sorted((*VOC_LABEL_NAMES, 'zebra')))


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
}
KINDS = {'zero area': 'no_area', 'no width': 'no_area', 'no area in float32': 'no_area'}
KINDS['inverted'] = 'inverted_box'


@pytest.mark.parametrize('case', INVALID)
def test_invalid_box(tmp_path, case):
    box = INVALID[case]
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
    assert [(p.file[-5:], p.image[-5:], p.row) for p in dataset.problems] == [
        ('b.xml', 'b.png', 1),
        ('c.xml', 'c.png', 0),
        ('c.xml', 'c.png', 1),
    ]
    assert {p.kind for p in dataset.problems} == {KINDS.get(case, 'not_finite')}

    with pytest.raises(ValueError, match=r"b\.xml, object 1 of .*b\.png: 'dog', .* = ") as raised:
        VOCBboxDataset(root, 'train', on_invalid='raise')
    numbers = [f'{float(text):.12g}' for text in box]
    assert all(number in str(raised.value) for number in numbers), str(raised.value)


UNREADABLE = {
    'rotated': '<robndbox><cx>4</cx><cy>3</cy><w>2</w><h>2</h><angle>.1</angle></robndbox>',
    'polygon': '<polygon><x1>1</x1><y1>1</y1><x2>5</x2><y2>5</y2></polygon>',
    'decimal comma': annotation([('dog', ('1,5', 2, 3, 4), 0)]),
    'word': annotation([('dog', (5, 'five', 9, 9), 0)]),
    'empty': annotation([('dog', ('', 5, 9, 9), 0)]),
    'missing': annotation([('dog', (5, 5, 9), 0)]),
}


@pytest.mark.parametrize('case', UNREADABLE)
def test_an_object_whose_box_cannot_be_read_is_counted_apart(tmp_path, case):
    text = UNREADABLE[case]
    if not text.startswith('<annotation>'):
        text = f'<annotation><object><name>dog</name>{text}</object></annotation>'
    root = write(
        tmp_path, {'a': annotation([('cat', (5, 5, 5, 5), 0), ('cat', (1, 1, 5, 5), 0)]), 'b': text}
    )
    with pytest.warns(UserWarning) as caught:
        dataset = VOCBboxDataset(root, 'train')
    invalid, unreadable = (str(each.message) for each in caught)
    assert re.search(r'^invalid boxes .* dropped: 1, in .*a\.xml$', invalid)
    problem = dataset.problems[1]
    assert problem.kind == 'unreadable_box'
    assert unreadable == (
        'objects left out because their box cannot be read: 1, '
        f'{root}/Annotations/b.xml, object 0 of {root}/JPEGImages/b.png: {problem.reason}'
    )
    assert caught[1].filename == __file__
    assert len(dataset[1][1]) == 0
    assert dataset.label_names == ('cat', 'dog')
    with pytest.raises(ValueError, match=re.escape(f'a.xml, object 0 of {root}')):
        VOCBboxDataset(root, 'train', on_invalid='raise')


def test_an_object_without_a_name_is_an_error(tmp_path):
    root = write(tmp_path, {'a': annotation([('', (1, 1, 5, 5), 0)])})
    with pytest.raises(ValueError, match=r'a\.xml, object 0 of .*a\.png: no <name>'):
        VOCBboxDataset(root, 'train')


def test_chainercvs_name_of_the_class_names():
    assert voc_bbox_label_names is VOC_LABEL_NAMES
    assert len(set(VOC_LABEL_NAMES)) == 20


def test_difficult_objects_are_counted(tmp_path):
    root = write(tmp_path, {'a': annotation([('dog', (1, 1, 5, 5), 1)] * 3)})
    for return_difficult, n_box in ((False, 0), (True, 3)):
        dataset = VOCBboxDataset(root, 'train', return_difficult=return_difficult)
        assert dataset.n_difficult == 3
        assert len(dataset.get_annotation(0)[0]) == n_box
    assert VOCBboxDataset(write(tmp_path / 'b', {'a': annotation([])}), 'train').n_difficult == 0


def test_an_image_that_is_listed_twice_counts_once(tmp_path):
    root = write(tmp_path, TWO)
    (root / 'ImageSets/Main/train.txt').write_text('a\nb\na\n./b\na\n')
    with pytest.warns(UserWarning, match=r'train\.txt: images that .* more than once.*: 2, a, b$'):
        dataset = VOCBboxDataset(root, 'train')
    assert dataset.ids == ['a', 'b'] and len(dataset) == 2


def test_two_images_of_one_name(tmp_path):
    root = write(tmp_path, TWO)
    (root / 'JPEGImages/a.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match=r'JPEGImages/a: several images .*: a\.jpg, a\.png$'):
        VOCBboxDataset(root, 'train')


def test_an_image_that_is_a_pipe(tmp_path):
    root = write(tmp_path, TWO)
    (root / 'JPEGImages/a.png').unlink()
    os.mkfifo(root / 'JPEGImages/a.png')
    with pytest.raises(ValueError, match=r'a\.png: expected a regular file'):
        VOCBboxDataset(root, 'train')


@pytest.mark.parametrize('name', ['../a', '/etc/a', 'b/../../a', '..'])
def test_a_name_that_leads_out_of_the_root(tmp_path, name):
    root = write(tmp_path / 'root', TWO)
    write(tmp_path, TWO)
    (root / 'ImageSets/Main/train.txt').write_text(f'b\n{name}\n')
    with pytest.raises(ValueError, match=rf"train\.txt, line 2: '{name}' leads out of its folder"):
        VOCBboxDataset(root, 'train')


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('a\na 1', "not all lines have a second column. Expected the name alone, 'a'"),
        ('a\na  -1', "not all lines have a second column. Expected the name alone, 'a'"),
        ('z.jpg', "Expected the name without folder and suffix, 'z'"),
        ('z.xml', "Expected the name without folder and suffix, 'z'"),
        ('JPEGImages/z.JPG Annotations/z.xml', "without folder and suffix, 'z'"),
        ('# comment', 'Comments are not allowed'),
        ('x' * 4000, 'xxx...'),
    ],
)
def test_error_says_what_the_line_of_a_list_should_be(tmp_path, line, message):
    root = write(tmp_path, TWO)
    (root / 'ImageSets/Main/train.txt').write_text(f'{line}\n')
    with pytest.raises(FileNotFoundError) as raised:
        VOCBboxDataset(root, 'train')
    assert message in str(raised.value)
    assert 'train.txt' in str(raised.value) and len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    'text',
    [
        'a.jpg\nb.PNG\n',
        'a.xml\r\nb.xml\r\n',
        'JPEGImages/a.jpg\n./JPEGImages/b.png\n',
        'VOC\\JPEGImages\\a.jpg\r\nb\r\n',
        '\ufeffa\r\nb\r\n',
        'a  1\nb -1\n',
        'a\t0\r\nb 1\r\n',
        'a.jpg 1\nb.jpg +1\n',
        'JPEGImages/a.jpg Annotations/a.xml\nJPEGImages/b.jpg Annotations/b.xml\n',
    ],
)
def test_lists_of_other_tools(tmp_path, text):
    root = write(tmp_path, TWO)
    (root / 'ImageSets/Main/train.txt').write_bytes(text.encode())
    assert VOCBboxDataset(root, 'train').ids == ['a', 'b']


def test_names_with_a_suffix_or_a_number_stay_as_they_are(tmp_path):
    names = ['a', 'a.jpg', 'b 1', 'b 0']
    root = write(tmp_path, {name: annotation([]) for name in names})
    assert VOCBboxDataset(root, 'train').ids == names
    (root / 'ImageSets/Main/train.txt').write_text('b 1\nb 0\n')
    assert VOCBboxDataset(root, 'train').ids == ['b 1', 'b 0']


def test_error_names_the_unicode_form_of_the_file(tmp_path):
    root = write(tmp_path, {unicodedata.normalize('NFD', 'é'): annotation([])})
    (root / 'ImageSets/Main/train.txt').write_text('é', encoding='utf-8')
    with pytest.raises(FileNotFoundError, match='The file of this name has Unicode form NFD'):
        VOCBboxDataset(root, 'train')


def test_a_name_with_a_second_column_can_be_a_file(tmp_path):
    assert VOCBboxDataset(write(tmp_path, {'photo 1': annotation([])}), 'train').ids == ['photo 1']


def test_class_names_that_differ_by_case_or_space(tmp_path):
    names = ('Bolt', 'bolt', 'hot dog', 'hotdog', 'nut')
    root = write(tmp_path, {'a': annotation([(name, (1, 1, 5, 5), 0) for name in names])})
    with pytest.warns(UserWarning) as caught:
        VOCBboxDataset(root, 'train')
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "'Bolt' and 'bolt', 'hot dog' and 'hotdog'" in message
    assert str(root) in message and 'nut' not in message
    with pytest.raises(ValueError, match=r"the name 'Bolt' is not among .*\. It has 'BOLT'$"):
        VOCBboxDataset(root, 'train', label_names=['BOLT'])


def test_fingerprint(tmp_path):
    def make(folder, xml=TWO, **options):
        return VOCBboxDataset(write(tmp_path / folder, xml), 'train', **options).fingerprint

    first = make('a')
    assert re.fullmatch('[0-9a-f]{64}', first)
    assert make('b') == first  # the root does not matter
    assert make('b', dtype='uint8') == first
    moved = annotation([('dog', (11, 21, 31, 42), 0), ('dog', ('5.5', '6', '7.25', '8'), 0)])
    others = [
        make('c', {**TWO, 'a': moved}),
        make('d', {'b': TWO['b'], 'a': TWO['a']}),
        make('e', {'c': TWO['a'], 'b': TWO['b']}),
        make('f', label_names=['dog', 'cat']),
        make('g', return_difficult=True),
    ]
    assert len({first, *others}) == 6


def test_attributes(tmp_path):
    root = write(tmp_path, {**TWO, 'b': annotation([], size=None)})
    dataset = VOCBboxDataset(root, 'train')
    assert dataset.image_files == (f'{root}/JPEGImages/a.png', f'{root}/JPEGImages/b.png')
    assert dataset.image_sizes == ((60, 80), None)
    assert dataset.applies_orientation == (True, True)
    assert dataset.problems == ()


def test_a_long_list_of_files_is_cut(tmp_path):
    root = write(tmp_path, {f'file{i}': annotation([('dog', (5, 5, 5, 5), 0)]) for i in range(23)})
    with pytest.warns(UserWarning, match=r'dropped: 23, in .*file9\.xml.* and \d+ more files$'):
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
    dataset = VOCBboxDataset(write(tmp_path, {'a': far, 'b': far}), 'train')
    with pytest.warns(UserWarning, match=r'a\.png: .* \(60, 80\), and its boxes reach outside'):
        assert len(dataset[0][1]) == 1
    dataset[1]  # only once per data set


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


@pytest.mark.parametrize(
    ('option', 'value', 'error'),
    [
        ('on_invalid', 'ignore', ValueError),
        ('exif', 'no', ValueError),
        ('dtype', 'float', ValueError),
        ('dtype', 'none-such', ValueError),
        ('return_difficult', 'no', TypeError),
        ('label_names', {'dog', 'cat'}, TypeError),
        ('root', 5, TypeError),
        ('root', b'root', TypeError),
        ('split', 5, TypeError),
        ('split', '../train', ValueError),
        ('split', '/etc/passwd', ValueError),
        ('split', '', ValueError),
        ('split', 'a\x1b[31m', ValueError),
    ],
)
def test_bad_option(tmp_path, option, value, error):
    options = {'root': write(tmp_path, TWO), 'split': 'train', option: value}
    with pytest.raises(error, match=f'{option} = ') as raised:
        VOCBboxDataset(**options)
    assert str(raised.value).isprintable()


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
    with pytest.raises(ValueError, match=r'BloodImage_00338\.xml, object \d+ of .*\.jpg: .RBC.'):
        VOCBboxDataset(BCCD, 'trainval', on_invalid='raise')
