import os

import pytest

from chainer_ssd.datasets import find_voc_image, read_voc_list, voc_annotation_file
from chainer_ssd.images import IMAGE_SUFFIXES
from tests.datasets.voc_folder import annotation, write


def read(tmp_path, content, split='train'):
    folder = tmp_path / 'ImageSets' / 'Main'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'train.txt').write_bytes(content)
    return read_voc_list(tmp_path, split)


@pytest.mark.parametrize(
    'content',
    [
        b'a\nb b\n',
        b'a\rb b\r',
        b' a \r\n\r\nb b\r\n',
        b'\xef\xbb\xbfa\nb b',
        'a\nb b\n'.encode('utf-16'),
        b'\xfe\xff' + 'a\r\nb b'.encode('utf-16-be'),
        b'./a\n.//b b\n',
    ],
)
def test_names(tmp_path, content):
    found = read(tmp_path, content)
    assert found.names == ('a', 'b b')
    assert found.repeated == ()
    assert found.file == str(tmp_path / 'ImageSets/Main/train.txt')


def test_other_line_ends_of_unicode_belong_to_the_name(tmp_path):
    assert read(tmp_path, 'a\u2028b\n'.encode()).names == ('a\u2028b',)


def test_repeated_names(tmp_path):
    found = read(tmp_path, b'b\na\nb\na\nb\nc\n./c')
    assert found.names == ('b', 'a', 'c')
    assert found.repeated == ('b', 'a', 'c')


def test_names_in_folders(tmp_path):
    assert read(tmp_path, b'day/a\nday/b\n').names == ('day/a', 'day/b')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'lists no image'),
        (b'\n \r\n', 'lists no image'),
        ('a\né\n'.encode('cp1252'), 'line 2: byte 0xe9 is not UTF-8. Save the list as UTF-8'),
        (b'\xff\xfea', 'is not UTF-16'),
        ('a\n'.encode('utf-16-le'), 'line 1: .* holds control characters'),
        (b'a\nb\x00\n', 'line 2: .* holds control characters'),
        (b'\x1b[31mred\n', 'line 1: .* holds control characters'),
        (b'a\n../b\n', "line 2: '../b' leads out of its folder"),
        (b'/etc/passwd\n', "line 1: '/etc/passwd' leads out of its folder"),
        (b'a/../../b\n', 'line 1: .* leads out of its folder'),
        (b'.\n', 'line 1: .*: expected a name of a file'),
        (b'x' * 100_000, 'line 1: .* has 100000 letters'),
    ],
)
def test_error_names_the_list_and_the_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf'train\.txt.*{message}') as raised:
        read(tmp_path, content)
    assert str(raised.value).isprintable() and len(str(raised.value)) < 700


@pytest.mark.parametrize('split', ['../train', '/etc/train', 'a/../../train', '..', ''])
def test_a_split_that_leads_out_of_its_folder(tmp_path, split):
    with pytest.raises(ValueError, match='split = '):
        read(tmp_path, b'a\n', split)


def test_lists_that_are_no_files(tmp_path):
    read(tmp_path, b'a\n')
    folder = tmp_path / 'ImageSets' / 'Main'
    os.mkfifo(folder / 'pipe.txt')
    (folder / 'zero.txt').symlink_to('/dev/zero')
    for split in ('pipe', 'zero'):
        with pytest.raises(ValueError, match=rf'{split}\.txt: expected a regular file'):
            read_voc_list(tmp_path, split)
    with open(folder / 'huge.txt', 'wb') as file:
        file.truncate(10**11)
    with pytest.raises(ValueError, match=r'huge\.txt: expected at most \d+ bytes'):
        read_voc_list(tmp_path, 'huge')


@pytest.mark.parametrize('suffix', ['.JPG', '.Jpg', '.TIFF', *IMAGE_SUFFIXES])
def test_image_suffixes(tmp_path, suffix):
    root = write(tmp_path, {'a': annotation([])})
    os.rename(root / 'JPEGImages/a.png', root / f'JPEGImages/a{suffix}')
    assert find_voc_image(root, 'a') == f'{root}/JPEGImages/a{suffix}'


def test_images_in_folders_and_beside_other_files(tmp_path):
    folder = tmp_path / 'JPEGImages' / 'day'
    folder.mkdir(parents=True)
    for name in ('a.jpg', 'a.txt', 'a.json', 'a.b.jpg', 'a.b'):
        (folder / name).write_bytes(b'')
    assert find_voc_image(tmp_path, 'day/a') == str(folder / 'a.jpg')
    assert find_voc_image(tmp_path, 'day/a.b') == str(folder / 'a.b.jpg')


def test_image_errors(tmp_path):
    folder = tmp_path / 'JPEGImages'
    with pytest.raises(FileNotFoundError, match='JPEGImages is not a folder'):
        find_voc_image(tmp_path, 'a')
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r'JPEGImages/a: no image .*\.webp.\)$'):
        find_voc_image(tmp_path, 'a')
    (folder / 'a.pcx').write_bytes(b'')
    with pytest.raises(FileNotFoundError, match=r'JPEGImages/a: no image .*, only a\.pcx$'):
        find_voc_image(tmp_path, 'a')
    for name in ('a.jpg', 'a.PNG'):
        (folder / name).write_bytes(b'')
    with pytest.raises(ValueError, match=r'JPEGImages/a: several images .*: a\.PNG, a\.jpg$'):
        find_voc_image(tmp_path, 'a')
    with pytest.raises(ValueError, match=r"name = '\.\./a' leads out of its folder"):
        find_voc_image(tmp_path, '../a')


def test_annotation_file(tmp_path):
    assert voc_annotation_file(tmp_path, 'day/a') == f'{tmp_path}/Annotations/day/a.xml'
