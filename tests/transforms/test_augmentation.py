"""Properties of all random transforms, and of their composition."""

import pickle
import random as python_random

import chainer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_ssd.transforms import (
    Augmentation,
    CropTransform,
    DistortTransform,
    ExpandTransform,
    FlipTransform,
    MildAugmentation,
    RandomResizeTransform,
    RandomTransformDataset,
    SSDAugmentation,
)

TRANSFORMS = [
    DistortTransform(),
    ExpandTransform(),
    CropTransform(),
    RandomResizeTransform(16),
    FlipTransform(0.5, 0.5),
    SSDAugmentation(32),
    Augmentation(FlipTransform(), CropTransform(), ExpandTransform(2, probability=1)),
]


@st.composite
def examples(draw):
    """Draw (img, bbox, label, difficult). Labels number the boxes. Some boxes reach outside."""
    height, width, n_box, seed = (
        draw(st.integers(*bounds)) for bounds in ((1, 60), (1, 60), (0, 6), (0, 2**32))
    )
    random = np.random.default_rng(seed)
    dtype = draw(st.sampled_from([np.float32, np.uint8]))
    img = random.integers(0, 256, (3, height, width)).astype(dtype)
    start = random.uniform(-0.2, 0.9, (n_box, 2)) * (height, width)
    extent = np.exp(random.uniform(np.log(1e-3), np.log(80), (n_box, 2)))
    bbox = np.concatenate((start, start + extent), axis=1).astype(np.float32)
    bbox = bbox[(bbox[:, :2] < bbox[:, 2:]).all(axis=1)]
    label = np.arange(len(bbox), dtype=np.int32)
    return img, bbox, label, label % 2 == 1


@pytest.mark.parametrize('transform', TRANSFORMS, ids=lambda transform: type(transform).__name__)
@settings(deadline=None)
@given(example=examples(), seed=st.integers(0, 2**32))
def test_every_transform_returns_a_valid_example(transform, example, seed):
    before = pickle.dumps(example)
    states = pickle.dumps((np.random.get_state(), python_random.getstate()))
    img, bbox, label, difficult = transform(example, np.random.default_rng(seed))

    assert img.dtype == np.float32 and img.ndim == 3 and len(img) == 3 and img.size
    assert 0 <= img.min() <= img.max() <= 255
    assert bbox.dtype == np.float32 and bbox.shape == (len(label), 4)
    assert (bbox[:, :2] < bbox[:, 2:]).all()
    assert (bbox[:, :2] >= 0).all() and (bbox[:, 2:] <= img.shape[1:]).all()
    assert label.dtype == np.int32 and (np.diff(label) > 0).all()
    np.testing.assert_array_equal(difficult, label % 2 == 1)

    assert pickle.dumps(example) == before
    assert pickle.dumps((np.random.get_state(), python_random.getstate())) == states
    again = pickle.loads(pickle.dumps(transform))(example, np.random.default_rng(seed))
    for one, other in zip((img, bbox, label, difficult), again):
        np.testing.assert_array_equal(one, other)


def rectangle(random, height=120, width=160):
    """Return an image of a red rectangle on blue, and its box."""
    start = random.uniform(0, 0.7, 2) * (height, width)
    extent = random.uniform(20, 100, 2)
    y_min, x_min = start.astype(int)
    y_max, x_max = np.minimum(start + extent, (height, width)).astype(int)
    img = np.zeros((3, height, width), np.float32)
    img[2] = 255
    img[:, y_min:y_max, x_min:x_max] = np.reshape((255, 0, 0), (3, 1, 1))
    return img, np.array([(y_min, x_min, y_max, x_max)], np.float32), np.zeros(1, np.int32)


def test_boxes_follow_the_pixels():
    # Without colour distortion the red pixels are the object, up to the blur of resizing.
    augment = Augmentation(
        ExpandTransform(fill=(0, 255, 0)),
        CropTransform(),
        RandomResizeTransform(200),
        FlipTransform(0.5, 0.5),
    )
    random = np.random.default_rng(0)
    n_seen = 0
    for _ in range(300):
        img, bbox, _ = augment(rectangle(random), random)
        assert len(bbox) == 1  # the only object is never dropped
        red = (img[0] > 127) & (img[1] < 128) & (img[2] < 128)
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        if not len(rows):
            continue
        n_seen += 1
        found = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        np.testing.assert_allclose(bbox[0], found, atol=2.5)
    assert n_seen > 290


def test_composition_looks_like_the_single_steps():
    steps = [
        DistortTransform(),
        ExpandTransform(),
        CropTransform(),
        RandomResizeTransform(100),
        FlipTransform(0.5, 0.5),
    ]
    differences = []
    for seed in range(200):
        smooth = np.random.default_rng(seed).uniform(0, 255, (3, 3, 4)).repeat(30, 1).repeat(30, 2)
        bbox = np.array([(10, 20, 50, 70), (40, 60, 80, 110)], np.float32)
        example = smooth.astype(np.float32), bbox, np.arange(2)
        img, bbox, label = Augmentation(*steps)(example, np.random.default_rng(seed))
        random = np.random.default_rng(seed)
        for step in steps:
            example = step(example, random)
        np.testing.assert_array_equal(label, example[2])
        np.testing.assert_allclose(bbox, example[1], atol=1)
        differences.append(np.abs(img - example[0]).mean())
    assert np.mean(differences) < 3 and max(differences) < 15


def test_image_without_boxes():
    random = np.random.default_rng(0)
    example = np.zeros((3, 40, 50), np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    for _ in range(50):
        img, bbox, label = SSDAugmentation(24, fill=(9, 9, 9))(example, random)
        assert img.shape == (3, 24, 24) and bbox.shape == (0, 4) and label.shape == (0,)


def test_memory_layout_and_dtype_make_no_difference():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    images = [
        planes,
        planes.astype('f'),
        planes.astype('d'),
        pixels.transpose(2, 0, 1),
        pixels.astype('f').transpose(2, 0, 1),
        planes[:, ::-1].copy()[:, ::-1],
        pixels[:, ::-1].copy()[:, ::-1].transpose(2, 0, 1),
    ]
    for seed in range(40):
        results = [
            SSDAugmentation(40)((img, [(5, 5, 30, 40)], [0]), np.random.default_rng(seed))
            for img in images
        ]
        for img, bbox, _ in results[1:]:
            np.testing.assert_array_equal(img, results[0][0])
            np.testing.assert_array_equal(bbox, results[0][1])


class Numbered(chainer.dataset.DatasetMixin):
    def __len__(self):
        return 7

    def get_example(self, i):
        img = np.random.default_rng(i).integers(0, 256, (3, 50, 60)).astype(np.float32)
        return img, np.array([(10, 10, 30, 40)], np.float32), np.array([i], np.int32)


def epochs(create, n_epoch=3):
    dataset = RandomTransformDataset(Numbered(), SSDAugmentation(20), seed=3)
    iterator = create(dataset, 3, order_sampler=dataset.next_epoch)
    found = []
    while iterator.epoch < n_epoch:
        found += iterator.next()
    iterator.finalize()
    return found


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # Chainer calls setDaemon and forks
def test_a_sample_depends_on_seed_epoch_and_index_only():
    expected = epochs(chainer.iterators.SerialIterator)
    assert len({img.tobytes() for img, _, _ in expected}) == len(expected)  # all epochs differ
    for create in (
        chainer.iterators.MultithreadIterator,
        lambda *args, **kwargs: chainer.iterators.MultiprocessIterator(
            *args, n_processes=2, n_prefetch=2, shared_mem=20000, **kwargs
        ),
    ):
        for one, other in zip(epochs(create), expected):
            for array, other_array in zip(one, other):
                np.testing.assert_array_equal(array, other_array)


@pytest.mark.parametrize(
    ('example', 'message'),
    [
        ((np.zeros((1, 5, 5)), [], []), r'img has shape \(1, 5, 5\): expected \(3, H, W\)'),
        ((np.zeros((3, 0, 5)), [], []), r'img has shape \(3, 0, 5\)'),
        (
            (np.zeros((3, 5, 5)), [(0, 0, 1, 1), (2, 2, 2, 3)], [0, 0]),
            r'bbox\[1\] = \(2.0, 2.0, 2.0',
        ),
        (
            (np.zeros((3, 5, 5)), [(0, 0, 1, 1)], [0, 0]),
            r'example\[2\] has length 2: expected 1, one entry for each box',
        ),
    ],
)
def test_error_describes_the_example(example, message):
    with pytest.raises(ValueError, match=message):
        SSDAugmentation(10)(example, np.random.default_rng(0))


def test_the_mild_augmentation_is_its_steps_in_a_row():
    steps = Augmentation(
        ExpandTransform(max_ratio=1.4),
        CropTransform(scale=(0.7, 1), max_aspect_ratio=4 / 3),
        RandomResizeTransform(48),
        FlipTransform(),
    )
    img = np.random.default_rng(0).integers(0, 256, (3, 60, 80)).astype('u1')
    for seed in range(20):
        example = img, np.array([(5, 6, 40, 50)], 'f'), np.array([1])
        found, expected = (
            augmentation(example, np.random.default_rng(seed))
            for augmentation in (MildAugmentation(48), steps)
        )
        for a, b in zip(found, expected):
            np.testing.assert_array_equal(a, b)
        assert found[0].shape == (3, 48, 48)
