"""YOLOBboxDataset and read_yolo_labels."""

import numpy as np
import pytest
from PIL import Image

from chainer_ssd.datasets import YOLOBboxDataset, read_yolo_image_size, read_yolo_labels
from tests.datasets.voc_folder import picture

NAMES = ('cat', 'dog')


def write(folder, *labels, size=(60, 80), exif=None):
    """Writes an image and a label file for each text, None for no label file."""
    images, files = [], []
    for i, text in enumerate(labels):
        images.append(folder / f'{i}.jpg')
        options = {} if exif is None else {'exif': exif}
        Image.fromarray(picture(size, seed=i)).save(images[-1], **options)
        files.append(None if text is None else folder / f'{i}.txt')
        if text is not None:
            files[-1].write_text(text)
    return images, files


def create(folder, *labels, **options):
    images, files = write(folder, *labels)
    return YOLOBboxDataset(images, files, NAMES, folder, **options)


def test_items(tmp_path):
    dataset = create(tmp_path, '1 0.5 0.5 0.25 0.5\n\n0 .25 0.25 1e-1 0.1\r\n', '')
    img, bbox, label = dataset[0]
    assert img.shape == (3, 60, 80) and img.dtype == np.float32
    np.testing.assert_allclose(bbox, [[15, 30, 45, 50], [12, 16, 18, 24]], atol=1e-5)
    assert bbox.dtype == np.float32 and label.dtype == np.int32 and label.tolist() == [1, 0]
    assert dataset[1][1].shape == (0, 4) and dataset.image_sizes == ((60, 80), (60, 80))
    assert dataset.label_names == NAMES and not dataset.problems
    dataset = create(tmp_path, '1 0.5 0.5 0.25 0.5\n', return_difficult=True, dtype='uint8')
    assert dataset[0][3].tolist() == [False] and dataset[0][0].dtype == np.uint8


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('0 0.1 0.1 0.2 0.1 0.3 0.4', 'only a polygon of 3 points, expected a class and four'),
        ('0 .1 .1 .2 .1 .2 .2 .1 .2', 'only a polygon of 4 points or a rotated box'),
        ('0 0.5 0.5 0.2 0.2 0.9', '6 numbers as predictions have, the last is a confidence'),
        ('0 0.5 0.5 0.2', '4 numbers, expected'),
        ('0', '1 numbers, expected'),
        ('0 0,5 0.5 0.2 0.2', 'expected a decimal point, no comma'),
        ('0 0.5 x 0.2 0.2', "'x', expected a class and four fractions"),
        ('0 30 20 10 12', "all of '30', '20', '10', '12' are above 1, expected"),
    ],
)
def test_lines_without_a_box_are_named(tmp_path, line, reason):
    with pytest.warns(UserWarning, match='box cannot be read: 1'):
        dataset = create(tmp_path, f'1 0.5 0.5 0.2 0.2\n{line}\n')
    (problem,) = dataset.problems
    assert (problem.kind, problem.row) == ('unreadable_box', 1) and reason in problem.reason
    assert problem.file == str(tmp_path / '0.txt') and problem.image == str(tmp_path / '0.jpg')
    assert dataset[0][2].tolist() == [1]
    with pytest.raises(ValueError, match='0.txt, object 1 of'):
        create(tmp_path, f'1 0.5 0.5 0.2 0.2\n{line}\n', on_invalid='raise')


@pytest.mark.parametrize(
    ('line', 'kind'),
    [
        ('0 0.5 0.5 0 0.2', 'no_area'),
        ('0 0.5 0.5 -0.1 0.2', 'inverted_box'),
        ('0 nan 0.5 0.1 0.2', 'not_finite'),
        ('0 0.5 0.5 1e99 0.2', 'not_finite'),
    ],
)
def test_invalid_boxes_are_dropped_and_named(tmp_path, line, kind):
    with pytest.warns(UserWarning, match='invalid boxes .* dropped: 1, in .*1.txt'):
        dataset = create(tmp_path, '0 0.5 0.5 0.2 0.2', f'{line}\n1 0.5 0.5 0.2 0.2')
    assert [(each.kind, each.row) for each in dataset.problems] == [(kind, 0)]
    assert dataset[1][2].tolist() == [1]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('2 0.5 0.5 0.2 0.2', r"0.txt, object 0: class 2, expected 0 to 1, .*'cat', 'dog'"),
        ('-1 0.5 0.5 0.2 0.2', 'class -1'),
        ('cat 0.5 0.5 0.2 0.2', "the class is 'cat', expected the number of a class"),
        ('0.5 0.5 0.5 0.2 0.2', "the class is '0.5'"),
    ],
)
def test_classes_that_do_not_exist_are_an_error(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        create(tmp_path, line)


def test_files_that_are_no_labels(tmp_path):
    images, files = write(tmp_path, '')
    files[0].write_bytes(b'\xff\xfe\0')
    with pytest.raises(ValueError, match='0.txt: not a text file'):
        YOLOBboxDataset(images, files, NAMES, tmp_path)
    with pytest.raises(FileNotFoundError):
        YOLOBboxDataset(images, [tmp_path / 'x.txt'], NAMES, tmp_path)
    with pytest.raises(FileNotFoundError, match='x.jpg: no such image'):
        YOLOBboxDataset([tmp_path / 'x.jpg'], files, NAMES, tmp_path)
    with pytest.raises(ValueError, match='1 image_files and 2 label_files'):
        YOLOBboxDataset(images, files * 2, NAMES, tmp_path)
    images[0].write_bytes(b'x')
    files[0].write_text('0 0.5 0.5 0.2 0.2')
    with pytest.raises(ValueError, match='0.jpg: cannot be read as an image'):
        YOLOBboxDataset(images, files, NAMES, tmp_path)


def test_boxes_outside_of_their_image_cause_one_warning(tmp_path):
    with pytest.warns(UserWarning, match='reach outside their image: 1') as caught:
        create(tmp_path, '0 0.5 0.5 1.5 0.2')
    assert len(caught) == 1 and caught[0].filename == __file__.replace('yolo_bbox', 'yolo_bbox')


@pytest.mark.parametrize(('exif', 'size'), [('auto', (80, 60)), ('ignore', (60, 80))])
def test_fractions_belong_to_the_turned_image(tmp_path, exif, size):
    tag = Image.Exif()
    tag[0x0112] = 6
    images, files = write(tmp_path, '0 0.5 0.5 0.5 0.5', exif=tag)
    dataset = YOLOBboxDataset(images, files, NAMES, tmp_path, exif=exif)
    img, bbox, _ = dataset[0]
    height, width = img.shape[1:]
    assert (height, width) == size == dataset.image_sizes[0]
    assert bbox.tolist() == [[height / 4, width / 4, height * 3 / 4, width * 3 / 4]]
    assert read_yolo_image_size(str(images[0]), exif) == size


def test_fingerprint(tmp_path):
    first = create(tmp_path, '0 0.5 0.5 0.2 0.2').fingerprint
    assert create(tmp_path, '0 0.5 0.5 0.2 0.2 ').fingerprint == first
    assert create(tmp_path, '1 0.5 0.5 0.2 0.2').fingerprint != first


def test_reading_of_one_file(tmp_path):
    _, files = write(tmp_path, '5 0.5 0.5 0.5 0.5\nx\n')
    labels = read_yolo_labels(files[0], (60, 80), 'a.jpg')
    assert [(each.row, each.label) for each in labels.objects] == [(0, 5)]
    assert labels.objects[0].bbox == (15, 20, 45, 60)
    assert [(each.kind, each.row) for each in labels.problems] == [('no_name', 1)]
