import pickle

import numpy as np
import pytest
from chainer.iterators import MultiprocessIterator

from chainer_ssd.datasets import ShapesBboxDataset, shapes_bbox_dataset


def overlap(a, b):
    """Return the intersection of two inclusive boxes as a fraction of the smaller one."""

    def area(box):
        return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)

    both = area((*np.maximum(a[:2], b[:2]), *np.minimum(a[2:], b[2:])))
    if (np.maximum(a[:2], b[:2]) > np.minimum(a[2:], b[2:])).any():
        return 0
    return both / min(area(a), area(b))


@pytest.mark.parametrize('size', [32, 100, 160])
def test_examples(size):
    dataset = ShapesBboxDataset(40, size, max_objects=4)
    assert len(dataset) == 40
    assert dataset.label_names == ('circle', 'square', 'triangle')
    for img, bbox, label in dataset:
        assert img.shape == (3, size, size)
        assert (img.dtype, bbox.dtype, label.dtype) == ('f', 'f', 'i')
        assert img.min() >= 0 and img.max() <= 255
        np.testing.assert_array_equal(img, np.rint(img))
        assert bbox.shape == (len(label), 4) and 1 <= len(label) <= 4
        assert set(label) <= {0, 1, 2}
        assert (bbox >= 0).all() and (bbox <= size - 1).all()
        assert (bbox[:, :2] < bbox[:, 2:]).all()
        for i, a in enumerate(bbox):
            assert all(overlap(a, b) <= 0.2 for b in bbox[:i])


def test_same_seed_and_index_same_example():
    a, b = ShapesBboxDataset(10, 64, seed=3), ShapesBboxDataset(20, 64, seed=3)
    for x, y in zip(a[7], b[7]):  # independent of the length and of the items before
        np.testing.assert_array_equal(x, y)
    for x, y in zip(a[-3], b[7]):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(b.get_annotation(7), b[7][1:]):
        np.testing.assert_array_equal(x, y)


def test_seed_and_index_change_the_example():
    dataset = ShapesBboxDataset(2, 64)
    assert (dataset[0][0] != dataset[1][0]).mean() > 0.5
    assert (dataset[0][0] != ShapesBboxDataset(2, 64, seed=1)[0][0]).mean() > 0.5


def test_random_stream_is_the_same_in_every_numpy_release():
    bbox, label = ShapesBboxDataset(1, 128, seed=0).get_annotation(0)
    np.testing.assert_array_equal(bbox, [[20, 13, 40, 32], [73, 19, 120, 66]])
    np.testing.assert_array_equal(label, [1, 0])


def test_classes_are_equally_frequent():
    dataset = ShapesBboxDataset(700)
    labels = np.concatenate([dataset.get_annotation(i)[1] for i in range(700)])
    np.testing.assert_allclose(np.bincount(labels) / len(labels), 1 / 3, atol=0.04)
    n_object = np.array([len(dataset.get_annotation(i)[1]) for i in range(700)])
    assert n_object.min() == 1 and n_object.max() == 5


def test_boxes_are_tight_and_shapes_match_their_labels(monkeypatch):
    """On black without distractors, the box is the extent of the pixels in the object's colour."""
    monkeypatch.setattr(
        shapes_bbox_dataset,
        'draw_background',
        lambda random, size: np.zeros((3, size, size), dtype=np.float32),
    )
    monkeypatch.setattr(shapes_bbox_dataset, 'draw_distractors', lambda random, img: None)
    filled = {0: [], 1: [], 2: []}
    dataset = ShapesBboxDataset(150, 128, max_objects=1)
    for img, bbox, label in dataset:
        # The noise is at most 25. The brightest channel of an object is at least 52.
        color = np.median(img[:, img.max(axis=0) > 40], axis=1)
        inside = np.tensordot(color, img, 1) > 0.5 * color @ color
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        extent = rows[0], columns[0], rows[-1], columns[-1]
        np.testing.assert_allclose(bbox, [extent], atol=1)
        height, width = bbox[0, 2:] - bbox[0, :2] + 1
        filled[label[0]].append(inside.sum() / (height * width))
    # A shape fills a fraction of its box: a disc π/4, a square 1/2 to 1, a triangle about 1/2.
    assert np.abs(np.array(filled[0]) - np.pi / 4).max() < 0.06
    assert 0.45 < min(filled[1]) and 0.9 < max(filled[1])
    assert 0.4 < min(filled[2]) and max(filled[2]) < 0.6


def test_objects_stand_out():
    """The colours inside and outside of a disc differ by more than the texture varies."""
    dataset = ShapesBboxDataset(200, 128, max_objects=1)
    contrast = []
    for img, bbox, label in dataset:
        if label[0] == 0:
            ((y_min, x_min, y_max, x_max),) = bbox.astype(int)
            cy, cx, r = (y_min + y_max) / 2, (x_min + x_max) / 2, (y_max - y_min) / 2
            y, x = np.ogrid[:128, :128]
            distance = np.hypot(y - cy, x - cx)
            inside = img[:, distance < r - 1].mean(axis=1)
            around = img[:, (distance > r + 1) & (distance < r + 4)].mean(axis=1)
            contrast.append(np.linalg.norm(inside - around))
    assert len(contrast) > 40
    assert np.percentile(contrast, 5) > 50


def test_pickle():
    dataset = ShapesBboxDataset(3, 48, seed=5, max_objects=2)
    for a, b in zip(dataset[2], pickle.loads(pickle.dumps(dataset))[2]):
        np.testing.assert_array_equal(a, b)


# Chainer calls Thread.setDaemon. Since Python 3.12, any fork beside a thread warns too.
@pytest.mark.filterwarnings('ignore:.*(setDaemon|fork).*:DeprecationWarning')
def test_worker_processes():
    dataset = ShapesBboxDataset(6, 48)
    with MultiprocessIterator(dataset, 3, repeat=False, shuffle=False, n_processes=2) as iterator:
        examples = [example for batch in iterator for example in batch]
    assert len(examples) == 6
    for found, expected in zip(examples, dataset):
        for a, b in zip(found, expected):
            np.testing.assert_array_equal(a, b)


def test_index_out_of_range():
    dataset = ShapesBboxDataset(3, 48)
    for i in (3, -4):
        with pytest.raises(IndexError):
            dataset[i]


@pytest.mark.parametrize(
    'name, value, error',
    [
        ('length', 0, ValueError),
        ('length', 2.5, TypeError),
        ('size', 31, ValueError),
        ('size', (64, 64), TypeError),
        ('seed', -1, ValueError),
        ('seed', 2**32, ValueError),
        ('seed', None, TypeError),
        ('max_objects', 0, ValueError),
    ],
)
def test_bad_arguments(name, value, error):
    with pytest.raises(error, match=f'{name} = .*: expected'):
        ShapesBboxDataset(**{'length': 3, name: value})


def test_fingerprint():
    first = ShapesBboxDataset(8, 64, 1, 3)
    assert first.fingerprint == ShapesBboxDataset(8, 64, 1, 3).fingerprint
    assert len(first.fingerprint) == 64
    others = [(9, 64, 1, 3), (8, 65, 1, 3), (8, 64, 2, 3), (8, 64, 1, 4)]
    assert len({first.fingerprint, *(ShapesBboxDataset(*o).fingerprint for o in others)}) == 5
    assert first.problems == ()
