"""The convolution layer, and models that are converted to it."""

import copy
import pickle

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest

from chainer_ssd.functions._convolution.node import Convolution2DFunction
from chainer_ssd.links import SSD300, SSD512, Convolution2D, SSDMini, convert_convolutions
from tests.helpers import assert_close


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype('f')


@pytest.mark.parametrize(
    ('args', 'options'),
    [
        ((16, 24, 3), {'pad': 1}),
        ((None, 24, 3), {'stride': 2, 'nobias': True}),
        ((24, 3), {'dilate': 2}),
        ((16, 24, 1), {'initial_bias': 3}),
        ((16, 24, (2, 3)), {'groups': 2}),
    ],
)
def test_equals_chainers_layer(args, options, tmp_path):
    own, chainers = Convolution2D(*args, **options), L.Convolution2D(*args, **options)
    x = images(2, 16, 12, 10)
    own(x)
    chainers(x)
    chainer.serializers.save_npz(tmp_path / 'layer.npz', chainers)
    chainer.serializers.load_npz(tmp_path / 'layer.npz', own)  # the same names
    y, expected = own(x), chainers(x)
    assert isinstance(y.creator, Convolution2DFunction)
    assert_close(y, expected, 3e-6)
    assert list(own.printable_specs) == list(chainers.printable_specs)


def test_never(monkeypatch):
    layer, x = Convolution2D(16, 24, 3), images(2, 16, 12, 10)
    with chainer.using_config('use_blocked_convolution', 'never'):
        y = layer(x)
    np.testing.assert_array_equal(y.array, F.convolution_2d(x, layer.W, layer.b).array)


@pytest.mark.parametrize('make', [lambda: SSDMini(3, 64), lambda: SSD300(3), lambda: SSD512(3)])
def test_the_models_have_no_other_layers(make):
    layers = [link for link in make().links() if isinstance(link, L.Convolution2D)]
    assert len(layers) > 15
    assert {type(layer) for layer in layers} == {Convolution2D}


def test_a_step_of_ssd_mini_equals_chainers():
    gradients = []
    for use in 'auto', 'never':
        with chainer.using_config('use_blocked_convolution', use):
            model = SSDMini(3, 64)
            rng = np.random.default_rng(0)
            for param in model.params():
                param.array[...] = rng.normal(size=param.shape) * 0.1
            imgs = rng.uniform(0, 255, (3, 3, 64, 64)).astype('f')
            mb_locs, mb_confs = model(imgs)
            model.cleargrads()
            F.sum(mb_locs**2 + F.sum(mb_confs**2)).backward()
        gradients.append({name: param.grad for name, param in model.namedparams()})
    for name, grad in gradients[0].items():
        assert_close(grad, gradients[1][name], 2e-4)


class Net(chainer.Chain):
    """A network of another author."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.first = L.Convolution2D(3, 16, 3, pad=1)
            self.rest = chainer.Sequential(
                L.BatchNormalization(16), F.relu, L.Convolution2D(None, 16, 3), Special(16, 4, 1)
            )
            self.up = L.Deconvolution2D(4, 2, 2, 2)

    def forward(self, x):
        return self.up(self.rest(self.first(x)))


class Special(L.Convolution2D):
    """A layer of a derived class."""


def test_convert_convolutions():
    model, x = Net(), images(2, 3, 14, 12)
    expected = model(x).array
    before = dict(model.namedparams())
    optimizer = chainer.optimizers.MomentumSGD(0.1).setup(model)
    assert convert_convolutions(model) is model
    assert [type(link) for link in model.links()].count(Convolution2D) == 2
    assert type(model.rest[3]) is Special
    after = dict(model.namedparams())
    assert all(after[name] is before[name] for name in before) and len(after) == len(before)
    y = model(x)
    assert_close(y, expected, 1e-5)

    model.cleargrads()
    F.sum(y**2).backward()
    optimizer.update()
    changed = model(x).array
    assert abs(changed - expected).max() > 0
    for other in pickle.loads(pickle.dumps(model)), copy.deepcopy(model), model.copy():
        np.testing.assert_array_equal(other(x).array, changed)
        assert type(other.first) is Convolution2D


def test_only_the_converted_model_changes():
    model, other = convert_convolutions(Net()), Net()
    assert type(model.first) is Convolution2D and type(other.first) is L.Convolution2D


def test_convert_convolutions_takes_links_only():
    with pytest.raises(TypeError, match='model = 3: expected a chainer.Link'):
        convert_convolutions(3)
