import pickle

import numpy as np
import pytest

from chainer_ssd import MatchTransform, generate_default_bbox, match

DEFAULT_BBOX = generate_default_bbox((4, 2), ((2,), (2,)), (8, 16), (10, 20, 30))
IMG = np.zeros((3, 32, 32), 'f')
BBOX = np.array([(2, 2, 12, 14), (10, 10, 30, 30)], 'f')
LABEL = np.array([3, 0], 'i')


def test_is_match_in_the_pipeline():
    img, bbox, label, index = MatchTransform(DEFAULT_BBOX)((IMG, BBOX, LABEL))
    assert img is IMG and label is LABEL
    np.testing.assert_array_equal(bbox, BBOX)
    np.testing.assert_array_equal(index, match(DEFAULT_BBOX, BBOX))
    assert index.dtype == np.int32 and {-1, 0, 1} == set(index.tolist())


def test_options_are_those_of_match():
    transform = MatchTransform(DEFAULT_BBOX, 0.3, match_type='argmax', neg_overlap=0.2)
    np.testing.assert_array_equal(
        transform((IMG, BBOX, LABEL))[3], match(DEFAULT_BBOX, BBOX, 0.3, 'argmax', 0.2)
    )


def test_difficult_truths_are_ignored():
    difficult = np.array([False, True])
    *_, index = MatchTransform(DEFAULT_BBOX)((IMG, BBOX, LABEL, difficult))
    np.testing.assert_array_equal(index, match(DEFAULT_BBOX, BBOX, ignore=difficult))
    assert {-2, -1, 0} == set(index.tolist())


def test_an_image_without_truths_is_background():
    *_, index = MatchTransform(DEFAULT_BBOX)(
        (IMG, np.zeros((0, 4), 'f'), np.zeros(0, 'i'), np.zeros(0, bool))
    )
    assert (index == -1).all()


def test_survives_pickling():
    transform = pickle.loads(pickle.dumps(MatchTransform(DEFAULT_BBOX, 0.4)))
    np.testing.assert_array_equal(transform((IMG, BBOX, LABEL))[3], match(DEFAULT_BBOX, BBOX, 0.4))


def test_a_wrong_option_fails_before_training():
    with pytest.raises(ValueError, match="match_type = 'hungarian'"):
        MatchTransform(DEFAULT_BBOX, match_type='hungarian')
    with pytest.raises(ValueError, match=r'default_bbox has shape \(3,\)'):
        MatchTransform(np.zeros(3))


@pytest.mark.parametrize(
    ('bbox', 'label', 'message'),
    [
        ([(2, 2, 2, 14)], [0], r'bbox\[0\] = \(2.0, 2.0, 2.0, 14.0\)'),
        (BBOX, [0], 'label has length 1: expected 2'),
    ],
)
def test_a_wrong_example_is_named(bbox, label, message):
    with pytest.raises(ValueError, match=message):
        MatchTransform(DEFAULT_BBOX)((IMG, bbox, label))
