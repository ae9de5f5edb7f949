import pickle

import chainer
import numpy as np
import pytest

from chainer_ssd import (
    EncodeTransform,
    MatchTransform,
    MultiboxTrainChain,
    encode,
    generate_default_bbox,
)

DEFAULT_BBOX = generate_default_bbox((4, 2), ((2,), (2,)), (8, 16), (10, 20, 30))
IMG = np.zeros((3, 32, 32), 'f')
BBOX = np.array([(2, 2, 12, 14), (10, 10, 30, 30)])
LABEL = np.array([3, 0])
INDEX = MatchTransform(DEFAULT_BBOX)((IMG, BBOX, LABEL))[3]


@pytest.mark.parametrize('dtype', ['i4', 'f4', 'f8'])
def test_is_encode_in_the_pipeline(dtype):
    img, mb_loc, mb_label = EncodeTransform(DEFAULT_BBOX)((IMG, BBOX.astype(dtype), LABEL, INDEX))
    loc, label = encode(DEFAULT_BBOX, BBOX, LABEL, INDEX)
    assert img is IMG
    assert mb_loc.dtype == np.float32 and mb_label.dtype == np.int32
    np.testing.assert_allclose(mb_loc, loc, atol=1e-6)
    np.testing.assert_array_equal(mb_label, label)
    assert {0, 1, 4} == set(mb_label.tolist())


def test_variance_is_that_of_encode():
    transform = EncodeTransform(DEFAULT_BBOX, (1, 2, 3, 4))
    _, mb_loc, _ = pickle.loads(pickle.dumps(transform))((IMG, BBOX, LABEL, INDEX))
    np.testing.assert_allclose(
        mb_loc, encode(DEFAULT_BBOX, BBOX, LABEL, INDEX, (1, 2, 3, 4))[0], atol=1e-6
    )


def test_a_wrong_variance_fails_before_training():
    with pytest.raises(ValueError, match='variance has shape'):
        EncodeTransform(DEFAULT_BBOX, (1, 2, 3))


@pytest.mark.parametrize(
    ('bbox', 'label', 'index', 'message'),
    [
        (BBOX, [-1, 0], INDEX, r'label\[0\] = -1'),
        (BBOX, [0], INDEX, 'label has shape'),
        ([(2, 2, 2, 14)] * 2, LABEL, INDEX, r'bbox\[0\]'),
        (BBOX[:1], LABEL[:1], INDEX, r'index\[\d+\] = 1'),
    ],
)
def test_a_wrong_example_is_named(bbox, label, index, message):
    with pytest.raises(ValueError, match=message):
        EncodeTransform(DEFAULT_BBOX)((IMG, bbox, label, index))


class Model(chainer.Link):
    def forward(self, imgs):
        rng = np.random.default_rng(0)
        shape = (len(imgs), len(DEFAULT_BBOX))
        return rng.normal(size=(*shape, 4)).astype('f'), rng.normal(size=(*shape, 5)).astype('f')


def test_the_pipeline_feeds_the_loss():
    data = chainer.datasets.TransformDataset(
        [(IMG, BBOX, LABEL), (IMG, BBOX[:0], LABEL[:0])], MatchTransform(DEFAULT_BBOX)
    )
    data = chainer.datasets.TransformDataset(data, EncodeTransform(DEFAULT_BBOX))
    batch = chainer.dataset.concat_examples(data[:])
    assert MultiboxTrainChain(Model())(*batch).array > 0
