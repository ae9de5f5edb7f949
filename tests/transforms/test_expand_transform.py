import numpy as np
import pytest

from chainer_ssd.transforms import Augmentation, ExpandTransform, RandomResizeTransform

FILL = (1.5, 2.5, 3.5)


def some_example():
    img = np.random.default_rng(0).integers(10, 256, (3, 20, 30)).astype('f')
    return img, np.array([(0, 0, 20, 30), (5, 6, 7, 8)], 'f'), np.array([4, 5])


def test_the_whole_image_lies_on_the_background():
    transform, example = ExpandTransform(4, FILL, probability=1), some_example()
    for seed in range(200):
        img, bbox, label = transform(example, np.random.default_rng(seed))
        assert 20 <= img.shape[1] <= 80 and 30 <= img.shape[2] <= 120
        assert abs(img.shape[1] / 20 - img.shape[2] / 30) < 1 / 20
        y_min, x_min, y_max, x_max = bbox[0].astype(int)  # the box of the whole image
        np.testing.assert_array_equal(img[:, y_min:y_max, x_min:x_max], example[0])
        is_background = np.ones(img.shape[1:], bool)
        is_background[y_min:y_max, x_min:x_max] = False
        assert (img[:, is_background] == np.reshape(FILL, (3, 1))).all()
        np.testing.assert_array_equal(bbox[1] - bbox[0, [0, 1, 0, 1]], example[1][1])
        assert label is example[2]


def test_every_ratio_and_place_occurs():
    transform, ratios, places = ExpandTransform(3, probability=1), [], []
    for seed in range(500):
        img, bbox, _ = transform(some_example(), np.random.default_rng(seed))
        ratios.append(img.shape[1] / 20)
        places.append(bbox[0, :2] / np.maximum(np.subtract(img.shape[1:], (20, 30)), 1))
    assert min(ratios) < 1.1 and max(ratios) > 2.9 and abs(np.mean(ratios) - 2) < 0.1
    assert (np.min(places, axis=0) == 0).all() and (np.max(places, axis=0) == 1).all()
    np.testing.assert_allclose(np.mean(places, axis=0), 0.5, atol=0.06)


@pytest.mark.parametrize('probability', [0, 0.5, 1])
def test_probability(probability):
    transform, example = ExpandTransform(2, probability=probability), some_example()
    same = [
        transform(example, np.random.default_rng(seed))[0].shape == example[0].shape
        for seed in range(400)
    ]
    assert abs(np.mean(same) - (1 - probability)) < 0.1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'max_ratio': 0.5}, 'max_ratio = 0.5: expected a finite number >= 1'),
        ({'max_ratio': float('nan')}, 'max_ratio = nan'),
        ({'fill': (1, 2)}, r'fill = \(1, 2\): expected three numbers from 0 to 255'),
        ({'fill': (1, 2, float('inf'))}, r'fill\[2\] = inf: expected a finite number'),
        ({'probability': 2}, r'probability = 2: expected a number in \[0, 1\]'),
    ],
)
def test_error_names_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        ExpandTransform(**arguments)


def test_a_tiny_image_on_a_large_background_keeps_a_pixel():
    augment = Augmentation(ExpandTransform(50, FILL, probability=1), RandomResizeTransform(5))
    example = np.full((3, 3, 3), 200, 'f'), np.array([(0, 0, 3, 3)], 'f'), np.zeros(1, 'i')
    for seed in range(100):
        img, bbox, _ = augment(example, np.random.default_rng(seed))
        assert len(bbox) == 1
        y_min, x_min, y_max, x_max = np.rint(bbox[0]).astype(int)
        assert (img[:, y_min:y_max, x_min:x_max] == 200).all() and (img[0] == 200).any()
