import re
import warnings

import numpy as np
import pytest
from PIL import Image

from chainer_ssd.datasets import COCOBboxDataset, VOCBboxDataset, decide_orientation
from tests.datasets import coco_folder
from tests.datasets.voc_folder import annotation, picture, write

STORED, TURNED = (60, 80), (80, 60)
ANYWHERE = ('dog', (1, 1, 50, 50), 0)  # fits both
WIDE = ('dog', (1, 1, 75, 50), 0)  # fits the stored image only
TALL = ('dog', (1, 1, 50, 75), 0)  # fits the turned image only


def save(path, orientation, size=STORED, seed=0):
    options = {}
    if orientation is not None:
        exif = options['exif'] = Image.Exif()
        exif[0x0112] = orientation
    Image.fromarray(picture(size, seed)).save(path, quality=95, **options)


def make(root, images, **options):
    """Return a data set of images {name: (orientation, annotated size, object)}."""
    xml = {
        name: annotation([each] if each else [], size) for name, (_, size, each) in images.items()
    }
    write(root, xml, suffix='.jpg')
    for name, (orientation, _, _) in images.items():
        save(root / 'JPEGImages' / f'{name}.jpg', orientation)
    return VOCBboxDataset(root, 'train', **options)


@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
@pytest.mark.parametrize(
    ('size', 'each', 'applies'),
    [
        (STORED, ANYWHERE, False),
        (TURNED, ANYWHERE, True),
        (None, WIDE, False),
        (None, TALL, True),
        (STORED, TALL, False),  # the annotated size counts more than the boxes
    ],
)
def test_an_image_proves_where_its_boxes_belong(tmp_path, orientation, size, each, applies):
    expect = (
        pytest.warns(UserWarning, match='with x and y swapped') if size and each is TALL else None
    )
    if expect is None:
        dataset = make(tmp_path, {'a': (orientation, size, each)})
    else:
        with expect:
            dataset = make(tmp_path, {'a': (orientation, size, each)})
    assert dataset.applies_orientation == (applies,)
    assert dataset[0][0].shape[1:] == (TURNED if applies else STORED)


@pytest.mark.parametrize('orientation', [2, 3, 4])
@pytest.mark.parametrize(('size', 'applies'), [(STORED, False), (TURNED, True)])
def test_the_proof_of_one_image_holds_for_the_whole_data_set(tmp_path, orientation, size, applies):
    dataset = make(
        tmp_path,
        {
            'a': (orientation, STORED, ANYWHERE),
            'b': (6, size, ANYWHERE),
            'c': (orientation, STORED, None),
            'd': (1, STORED, ANYWHERE),
        },
    )
    stored = np.asarray(Image.open(dataset.image_files[0])).transpose(2, 0, 1)
    for i in (0, 2):
        same = dataset.applies_orientation[i] == applies
        assert same
    is_stored = (dataset[0][0] == stored).all()
    assert is_stored is np.bool_(not applies)


@pytest.mark.parametrize('orientation', [2, 3, 4, 5, 8])
def test_one_warning_names_the_file_if_nothing_shows_it(tmp_path, orientation):
    size = STORED if orientation < 5 else None
    images = {name: (orientation, size, ANYWHERE) for name in 'ab'}
    with pytest.warns(UserWarning) as caught:
        dataset = make(tmp_path, {**images, 'c': (1, STORED, ANYWHERE)})
    assert len(caught) == 1 and caught[0].filename == __file__
    message = str(caught[0].message)
    assert re.search(r'turned image: 2, in .*a\.jpg, .*b\.jpg\. They are turned', message)
    assert "exif='apply' or exif='ignore'" in message
    assert dataset.applies_orientation == (True,) * 3
    for choice in ('apply', 'ignore'):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            dataset = make(tmp_path, images, exif=choice)
        assert dataset.applies_orientation == (choice == 'apply',) * 2


def test_proofs_that_disagree_hold_for_their_images_only(tmp_path):
    images = {
        'a': (6, STORED, ANYWHERE),
        'b': (6, TURNED, ANYWHERE),
        'c': (3, STORED, ANYWHERE),
    }
    with pytest.warns(UserWarning, match=r'1, in .*c\.jpg\. .* other images prove both') as caught:
        dataset = make(tmp_path, images)
    assert len(caught) == 1
    assert dataset.applies_orientation == (False, True, True)
    assert dataset[0][0].shape[1:] == STORED
    assert dataset[1][0].shape[1:] == TURNED


def test_nothing_is_said_where_nothing_depends_on_it(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        make(
            tmp_path, {'a': (3, STORED, None), 'b': (1, STORED, ANYWHERE), 'c': (None, None, WIDE)}
        )


def test_coco(tmp_path):
    content = coco_folder.coco([(3, 2, [1, 1, 5, 5], 0), (7, 2, [1, 1, 5, 5], 0)], size=STORED)
    for image in content['images']:
        image['file_name'] = f'{image["id"]}.jpg'
    files = coco_folder.write(tmp_path, content)
    for i, orientation in ((3, 3), (7, 6)):
        save(tmp_path / 'images' / f'{i}.jpg', orientation)
    assert COCOBboxDataset(*files).applies_orientation == (False, False)
    assert COCOBboxDataset(*files, exif='apply').applies_orientation == (True, True)
    with pytest.raises(ValueError, match="exif = 'never'"):
        COCOBboxDataset(*files, exif='never')


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
def test_decision_by_format(tmp_path, suffix):
    path = str(tmp_path / f'a{suffix}')
    save(path, 6)
    box = np.array([[0, 0, 50, 70]])
    decision = decide_orientation([path], [None], [box])
    assert decision == ((False,), (), False)
    decision = decide_orientation([path], [None], [box[:, [1, 0, 3, 2]]])
    assert decision == ((True,), (), False)


def test_files_that_cannot_be_read_are_not_turned(tmp_path):
    (tmp_path / 'bad.jpg').write_bytes(b'\xff\xd8\xff\xe1\x00\x04ab')
    files = [str(tmp_path / 'bad.jpg'), str(tmp_path / 'none.jpg')]
    box = np.array([[0, 0, 5, 5]])
    assert decide_orientation(files, [None] * 2, [box] * 2) == ((True, True), (), False)


def test_an_exif_block_behind_a_long_first_block(tmp_path):
    path = tmp_path / 'a.jpg'
    save(path, 6)
    content = path.read_bytes()
    comment = b'\xff\xfe' + (30_000).to_bytes(2, 'big') + b'x' * 29_998
    path.write_bytes(content[:2] + comment + content[2:])
    decision = decide_orientation([str(path)], [STORED], [np.array([[0, 0, 5, 5]])])
    assert decision.applies == (False,)


def test_no_image_without_an_exif_block_is_opened_by_pillow(tmp_path, monkeypatch):
    dataset = make(tmp_path, {'a': (None, STORED, ANYWHERE), 'b': (6, STORED, None)})
    monkeypatch.setattr('chainer_ssd.images.read_header', None)
    boxes = [dataset.get_annotation(i)[0] for i in range(2)]
    assert len(boxes[0]) == 1 and len(boxes[1]) == 0
    decide_orientation(dataset.image_files, dataset.image_sizes, boxes)
