"""split_by_content, BboxSubset and JoinedBboxDataset."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from chainer_ssd.datasets import (
    BboxSubset,
    JoinedBboxDataset,
    ShapesBboxDataset,
    VOCBboxDataset,
    split_by_content,
)
from tests.datasets.voc_folder import annotation, picture, write

OBJECTS = [('cat', (2, 3, 20, 30), 0), ('dog', (5, 6, 40, 50), 1)]


class Files:
    """Image files alone."""

    def __init__(self, files):
        self.image_files = tuple(map(str, files))

    def __len__(self):
        return len(self.image_files)


def write_pictures(folder, names, seed=0):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(picture(seed=seed + i)).save(folder / name)
    return [folder / name for name in names]


def held_out_names(files, *args):
    kept, held_out = split_by_content(Files(files), *args)
    assert sorted([*kept, *held_out]) == list(range(len(files)))
    assert list(kept) == sorted(kept) and list(held_out) == sorted(held_out)
    return {os.path.basename(files[i]) for i in held_out}


def test_the_choice_depends_on_content_fraction_and_seed_alone(tmp_path):
    names = [f'{i}.png' for i in range(20)]
    files = write_pictures(tmp_path / 'a', names)
    chosen = held_out_names(files, 0.2)
    assert len(chosen) == 4
    assert held_out_names(files[::-1], 0.2) == chosen
    other_files = write_pictures(tmp_path / 'b', [f'other{name}' for name in names])
    assert held_out_names(other_files, 0.2) == {f'other{name}' for name in chosen}
    choices = {frozenset(held_out_names(files, 0.2, seed)) for seed in range(5)}
    assert len(choices) > 1


def test_equal_images_stay_together_whatever_their_names_and_formats(tmp_path):
    files = write_pictures(tmp_path / 'a', [f'{i}.png' for i in range(8)])
    for i in range(8):
        copy = tmp_path / f'a/copy of {i}.bmp'
        Image.open(files[i]).save(copy)
        files.append(copy)
    for seed in range(10):
        _, held_out = split_by_content(Files(files), 0.25, seed)
        assert len(held_out) == 4
        assert {i + 8 for i in held_out if i < 8} == {i for i in held_out if i >= 8}


def test_augmented_copies_of_roboflow_stay_together(tmp_path):
    names = [f'{source}_jpg.rf.{copy}{copy}ab0.png' for source in 'abcdef' for copy in range(3)]
    files = write_pictures(tmp_path / 'a', names)
    for seed in range(5):
        chosen = held_out_names(files, 0.3, seed)
        assert len(chosen) == 3 and len({name[0] for name in chosen}) == 1


def test_each_side_has_an_image(tmp_path):
    files = write_pictures(tmp_path / 'a', ['0.png', '1.png'])
    for fraction in (0.001, 0.5, 0.999):
        assert len(held_out_names(files, fraction)) == 1
    many = [shutil.copy(files[0], tmp_path / f'a/x{i}.png') for i in range(5)]
    assert held_out_names([*many, files[1]], 0.5) == {'1.png'}


def test_an_image_that_cannot_be_read_is_split_by_its_bytes(tmp_path):
    files = [tmp_path / name for name in ('a.jpg', 'b.jpg', 'c.jpg', 'missing.jpg')]
    for file, content in zip(files, (b'x', b'x', b'y')):
        file.write_bytes(content)
    for seed in range(5):
        chosen = held_out_names(files, 0.5, seed)
        assert ('a.jpg' in chosen) == ('b.jpg' in chosen)


@pytest.mark.parametrize(
    ('fraction', 'error', 'message'),
    [
        (0, ValueError, r'fraction = 0: expected a number in \(0, 1\)'),
        (1, ValueError, 'fraction = 1'),
        ('x', ValueError, "fraction = 'x'"),
    ],
)
def test_wrong_fractions(fraction, error, message):
    with pytest.raises(error, match=message):
        split_by_content(ShapesBboxDataset(3), fraction)


def test_images_that_are_all_equal_cannot_be_split(tmp_path):
    files = write_pictures(tmp_path / 'a', ['0.png'])
    files.append(shutil.copy(files[0], tmp_path / 'a/1.png'))
    with pytest.raises(ValueError, match='2 images with 1 different contents'):
        split_by_content(Files(files), 0.5)


@pytest.fixture
def voc(tmp_path):
    root = write(tmp_path / 'voc', {name: annotation(OBJECTS) for name in 'abc'})
    return VOCBboxDataset(root, 'train', return_difficult=True)


def test_a_subset_is_a_data_set(voc):
    subset = BboxSubset(voc, [2, 0])
    assert len(subset) == 2 and subset.label_names == ('cat', 'dog')
    assert subset.image_files == (voc.image_files[2], voc.image_files[0])
    for found, expected in zip(subset[0], voc[2]):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(subset.get_annotation(1)[0], voc.get_annotation(0)[0])
    assert BboxSubset(voc, [0, 1, 2]).fingerprint == voc.fingerprint
    assert subset.fingerprint != BboxSubset(voc, [0, 2]).fingerprint
    assert BboxSubset(subset, [1]).image_files == (voc.image_files[0],)


def test_a_subset_has_the_problems_of_its_images(tmp_path):
    bad = annotation([('cat', (9, 9, 9, 20), 0)])
    root = write(tmp_path / 'voc', {'a': bad, 'b': bad})
    with pytest.warns(UserWarning, match='invalid boxes'):
        voc = VOCBboxDataset(root, 'train')
    assert [each.image for each in BboxSubset(voc, [1]).problems] == [voc.image_files[1]]


@pytest.mark.parametrize(
    ('indices', 'error'), [([3], ValueError), ([0, 0], ValueError), ([0.5], TypeError)]
)
def test_wrong_indices(voc, indices, error):
    with pytest.raises(error, match='index|each image once'):
        BboxSubset(voc, indices)


def test_a_subset_of_drawn_shapes():
    shapes = ShapesBboxDataset(5)
    kept, held_out = split_by_content(shapes, 0.4)
    subset = BboxSubset(shapes, held_out)
    assert not hasattr(subset, 'image_files') and len(subset) == 2
    np.testing.assert_array_equal(subset[0][0], shapes[held_out[0]][0])
    assert subset.fingerprint != BboxSubset(shapes, kept).fingerprint


def test_joined_data_sets_have_one_list_of_classes(tmp_path, voc):
    root = write(tmp_path / 'other', {'a': annotation([('ant', (1, 1, 9, 9), 0), *OBJECTS])})
    joined = JoinedBboxDataset([voc, VOCBboxDataset(root, 'train', return_difficult=True)])
    assert joined.label_names == ('ant', 'cat', 'dog') and len(joined) == 4
    assert joined[0][2].tolist() == [1, 2] and joined[3][2].tolist() == [0, 1, 2]
    assert joined[3][3].tolist() == [False, False, True]
    np.testing.assert_array_equal(joined[3][1][1:], voc[0][1])
    assert joined.image_files[:3] == voc.image_files and not joined.n_left_out
    assert JoinedBboxDataset([voc]).fingerprint == voc.fingerprint


def test_other_classes_are_left_out_on_purpose_and_counted(voc):
    joined = JoinedBboxDataset([voc], ['dog'], leaves_out_others=True)
    assert joined.n_left_out == {'cat': 3} and len(joined) == 3
    assert joined[1][2].tolist() == [0] and joined[1][3].tolist() == [True]
    with pytest.raises(ValueError, match="the name 'cat' is not among"):
        JoinedBboxDataset([voc], ['dog'])


def test_data_sets_with_other_columns_are_refused(tmp_path, voc):
    root = write(tmp_path / 'other', {'a': annotation(OBJECTS)})
    with pytest.raises(ValueError, match='columns'):
        JoinedBboxDataset([voc, VOCBboxDataset(root, 'train')])
    with pytest.raises(ValueError, match='at least one data set'):
        JoinedBboxDataset([])
