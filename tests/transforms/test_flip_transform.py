import pickle

import numpy as np
import pytest

from chainer_ssd import FlipTransform


def example():
    img = np.zeros((3, 6, 8), 'f')
    img[:, 1:3, 2:7] = 1
    return img, np.array([[1, 2, 3, 7]], 'f'), np.array([4]), np.array([True])


@pytest.mark.parametrize('horizontal, vertical', [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_box_stays_on_its_object(horizontal, vertical):
    before = example()
    img, bbox, label, difficult = FlipTransform(horizontal, vertical)(
        before, np.random.default_rng(0)
    )
    y0, x0, y1, x1 = bbox[0].astype(int)
    assert (img[:, y0:y1, x0:x1] == 1).all() and img.sum() == before[0].sum()
    assert (x0, x1) == ((1, 6) if horizontal else (2, 7))
    assert (y0, y1) == ((3, 5) if vertical else (1, 3))
    assert label is before[2] and difficult is before[3] and bbox.dtype == np.float32
    for a, b in zip(before, example()):
        np.testing.assert_array_equal(a, b)  # the input is unchanged


def test_flips_half_of_the_time_and_depends_on_the_generator_only():
    flip = pickle.loads(pickle.dumps(FlipTransform()))

    def flipped(seed):
        return flip(example(), np.random.default_rng(seed))[1][0, 1] == 1

    seen = [flipped(seed) for seed in range(200)]
    assert 70 < sum(seen) < 130
    assert seen == [flipped(seed) for seed in range(200)]


def test_no_boxes():
    img, bbox, label = FlipTransform(1, 1)(
        (example()[0], np.zeros((0, 4), 'f'), np.zeros(0, 'i')), np.random.default_rng(0)
    )
    assert bbox.shape == (0, 4) and label.shape == (0,)


def test_error_names_the_probability():
    with pytest.raises(ValueError, match=r'vertical = 2: expected a number in \[0, 1\]'):
        FlipTransform(vertical=2)
