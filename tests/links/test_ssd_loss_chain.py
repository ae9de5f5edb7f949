"""The training chain of PaddlePaddle's objective."""

import chainer
import numpy as np
import pytest

from chainer_ssd import MultiboxCoder, SSDLossChain, ssd_loss
from chainer_ssd.links import GroundTruthConverter


class Model(chainer.Chain):
    def __init__(self):
        super().__init__()
        self.coder = MultiboxCoder((4, 2), ((2,), (2,)), (8, 16), (10, 20, 30))
        with self.init_scope():
            self.scale = chainer.Parameter(np.ones((), 'f'))

    def forward(self, imgs):
        rng = np.random.default_rng(0)
        shape = len(imgs), len(self.coder.default_bbox)
        locs = rng.normal(size=(*shape, 4)).astype('f')
        confs = rng.normal(size=(*shape, 4)).astype('f')
        scale = chainer.functions.broadcast_to
        return locs * scale(self.scale, locs.shape), confs * scale(self.scale, confs.shape)


BBOXES = [np.array([(2, 3, 12, 15), (8, 10, 30, 28)], 'f'), np.array([(1, 1, 20, 9)], 'f')]
LABELS = [np.array([0, 2], 'i'), np.array([1], 'i')]


@pytest.mark.parametrize('options', [{}, {'neg_pos_ratio': 1, 'match_type': 'bipartite'}])
def test_is_ssd_loss_of_the_model(options):
    imgs = np.zeros((2, 3, 32, 32), 'f')
    chain = SSDLossChain(Model(), **options)
    reporter, observation = chainer.Reporter(), {}
    reporter.add_observer('main', chain)
    with reporter, reporter.scope(observation):
        loss = chain(imgs, BBOXES, LABELS)
    default_bbox = chain.model.coder.default_bbox
    center, size = default_bbox[:, 1::-1], default_bbox[:, 3:1:-1]
    locs, confs = chain.model(imgs)
    expected = ssd_loss(
        locs[..., [1, 0, 3, 2]],
        confs,
        [bbox[:, [1, 0, 3, 2]] for bbox in BBOXES],
        [label + 1 for label in LABELS],
        np.concatenate([center - size / 2, center + size / 2], axis=1),
        np.array([0.1, 0.1, 0.2, 0.2], 'f'),
        reduce='sum',
        **options,
    )
    np.testing.assert_array_equal(loss.array, expected.array)
    assert loss.array > 0 and observation['main/loss'].array == loss.array
    chain.cleargrads()
    loss.backward()
    assert chain.model.scale.grad != 0


def test_a_batch_keeps_ground_truths_apart():
    examples = [(np.full((3, 4, 4), i, 'f'), BBOXES[i], LABELS[i]) for i in range(2)]
    imgs, bboxes, labels = GroundTruthConverter()(examples, chainer.get_device('@numpy'))
    assert imgs.shape == (2, 3, 4, 4) and (imgs[1] == 1).all()
    for found, expected in zip((*bboxes, *labels), (*BBOXES, *LABELS)):
        np.testing.assert_array_equal(found, expected)


def test_difficult_ground_truths_reach_the_loss():
    imgs, difficults = np.zeros((2, 3, 32, 32), 'f'), [np.array([False, True]), np.array([True])]
    examples = list(zip(imgs, BBOXES, LABELS, difficults))
    batch = GroundTruthConverter()(examples, chainer.get_device('@numpy'))
    assert len(batch) == 4
    chain = SSDLossChain(Model())
    assert chain(*batch).array != chain(*batch[:3]).array
