"""Frozen stages: their weights and statistics stay, and the others are trained as before."""

import chainer
import numpy as np
import pytest

from chainer_ssd import MultiboxTrainChain, SSDMini
from chainer_ssd.links import SSD300


def state_of(link):
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(link)
    return {name: np.array(value) for name, value in serializer.target.items()}


def train(n_stage, n_step=2, n_image=2):
    np.random.seed(0)
    model = SSDMini(2, 32)
    chain = MultiboxTrainChain(model)
    optimizer = chainer.optimizers.Adam(alpha=0.01, weight_decay_rate=0.1).setup(chain)
    model.freeze(n_stage)
    before = state_of(model)
    random = np.random.RandomState(1)
    n_box = len(model.coder.default_bbox)
    imgs = random.uniform(0, 255, (n_image, 3, 32, 32)).astype('f')
    mb_label = (random.uniform(size=(n_image, n_box)) < 0.1).astype('i')
    for _ in range(n_step):
        optimizer.update(chain, imgs, np.zeros((n_image, n_box, 4), 'f'), mb_label)
    return before, state_of(model), model


@pytest.mark.parametrize('n_stage', [0, 1, 3, 4])
def test_frozen_stages_stay_and_others_change(n_stage):
    before, after, model = train(n_stage)
    frozen = tuple(f'{name}/' for stage in model.stages[:n_stage] for name in stage)
    for name in before:
        is_same = np.array_equal(before[name], after[name])
        assert is_same == name.startswith(frozen) or name.endswith('/N'), name


def test_an_empty_batch_has_no_gradients_of_frozen_weights():
    _, _, model = train(2, n_step=0)
    chain = MultiboxTrainChain(model)
    chain.cleargrads()
    n_box = len(model.coder.default_bbox)
    empty = np.zeros((0, 3, 32, 32), 'f'), np.zeros((0, n_box, 4), 'f'), np.zeros((0, n_box), 'i')
    chain(*empty).backward()
    frozen = set(map(id, model.frozen_params()))
    assert frozen
    for param in model.params():
        assert (param.grad is None) == (id(param) in frozen)


def test_all_weights_can_be_trained_again():
    _, _, model = train(4, n_step=0)
    model.freeze(0)
    assert all(param.update_rule.enabled for param in model.params())


def test_the_stages_of_vgg16_are_its_blocks():
    model = SSD300(1)
    model.freeze(2)
    names = {
        name
        for name, param in model.namedparams()
        if id(param) in set(map(id, model.frozen_params()))
    }
    assert len(model.stages) == 5
    assert {name.split('/')[2] for name in names} == {'conv1_1', 'conv1_2', 'conv2_1', 'conv2_2'}
    model.cleargrads()
    outputs = []

    def run_three_stages(i, layers, x):
        if i == 3:
            raise StopIteration  # a small image has no rows for the later layers
        outputs.append(model.run_stage(i, layers, x))
        return outputs[-1]

    with pytest.raises(StopIteration):
        model.extractor(np.zeros((1, 3, 16, 16), 'f'), run_three_stages)
    outputs[-1].grad = np.ones_like(outputs[-1].array)
    outputs[-1].backward()
    assert model.extractor.conv3_1.W.grad is not None and model.extractor.conv2_2.W.grad is None


@pytest.mark.parametrize('n_stage', [-1, 5, 1.5])
def test_wrong_numbers(n_stage):
    with pytest.raises((TypeError, ValueError), match='n_stage'):
        SSDMini(1, 32).freeze(n_stage)
