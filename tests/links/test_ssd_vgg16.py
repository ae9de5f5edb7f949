import pickle

import chainer
import numpy as np
import pytest

from chainer_ssd import MultiboxTrainChain
from chainer_ssd.links import SSD300, SSD512, load_pretrained
from chainer_ssd.links.ssd_vgg16 import load_vgg16_weights
from chainer_ssd.links.vgg16_extractor import Normalize
from tests.conftest import GOLDEN
from tests.golden.chainercv_ssd import N_FG_CLASS, SCORE_THRESH, STEP, draw_img, draw_weights
from tests.helpers import assert_close

VGG16 = [f'conv{i}_{j}' for i, n in enumerate((2, 2, 3, 3, 3), 1) for j in range(1, n + 1)] + [
    'conv6',
    'conv7',
]
FIRST, LAST = 'extractor/conv1_1', 'multibox/conf/5'


@pytest.fixture(scope='module')
def ssd300():
    model = SSD300(N_FG_CLASS)
    draw_weights(model)
    return model


@pytest.fixture(scope='module')
def ssd512():
    model = SSD512(N_FG_CLASS)
    draw_weights(model)
    return model


def weights_of(model):
    return {name.lstrip('/'): param.array for name, param in model.namedparams()}


@pytest.mark.parametrize('name', ['ssd300', 'ssd512'])
def test_parameters_are_chainercvs(request, name):
    model = request.getfixturevalue(name)
    with np.load(GOLDEN / f'chainercv_{name}.npz') as golden:
        expected = golden['names'].tolist()
    assert sorted(f'{path} {param.shape}' for path, param in model.namedparams()) == expected
    assert all(param.dtype == np.float32 for param in model.params())


@pytest.mark.parametrize(('name', 'n_box', 'side'), [('ssd300', 8732, 10), ('ssd512', 24564, 16)])
def test_outputs_are_chainercvs(request, name, n_box, side):
    model = request.getfixturevalue(name)
    with chainer.no_backprop_mode():
        mb_locs, mb_confs = model(draw_img(model.insize, model.insize, side)[None])
    assert mb_locs.shape == (1, n_box, 4) and mb_confs.shape == (1, n_box, N_FG_CLASS + 1)
    assert len(model.coder.default_bbox) == n_box
    assert mb_locs.dtype == mb_confs.dtype == np.float32
    with np.load(GOLDEN / f'chainercv_{name}.npz') as golden:
        assert_close(mb_locs.array[:, ::STEP], golden['mb_locs'], 1e-5)
        assert_close(mb_confs.array[:, ::STEP], golden['mb_confs'], 1e-5)


def test_detections_are_chainercvs(ssd300):
    assert (ssd300.nms_thresh, ssd300.score_thresh) == (0.45, 0.6)
    ssd300.score_thresh = SCORE_THRESH
    img = draw_img(240, 400, 10).astype(np.uint8)
    (bbox,), (label,), (score,) = ssd300.predict([img])
    ssd300.use_preset('visualize')
    with np.load(GOLDEN / 'chainercv_ssd300.npz') as golden:
        np.testing.assert_array_equal(label, golden['label'])
        np.testing.assert_allclose(score, golden['score'], atol=1e-5)
        np.testing.assert_allclose(bbox, np.clip(golden['bbox'], 0, [240, 400] * 2), atol=1e-2)


def test_every_parameter_learns(ssd300):
    model = ssd300.copy('copy')
    img, bbox = draw_img(300, 300, 10), np.array([[20, 30, 200, 250], [100, 10, 130, 40]], 'f')
    mb_loc, mb_label = model.coder.encode(bbox, np.array([3, 7]))
    model.cleargrads()
    # Every box has something to learn.
    MultiboxTrainChain(model, k=10_000)(img[None], mb_loc[None], mb_label[None]).backward()
    for name, param in model.namedparams():
        assert np.isfinite(param.grad).all(), name
        if not name.startswith('/multibox/loc/'):  # some scales have no positive
            assert param.grad.any(), name


def test_random_weights_are_lecuns_and_biases_zero():
    np.random.seed(0)
    for name, array in weights_of(SSD300(2)).items():
        if name.endswith('/b'):
            assert not array.any(), name
        elif name.endswith('/scale'):
            assert (array == 20).all()
        else:
            std = np.prod(array.shape[1:]) ** -0.5
            np.testing.assert_allclose(array.std(), std, rtol=0.1, err_msg=name)
            uniform = abs(array).max() < 1.74 * std
            assert uniform == (name.split('/')[1] not in VGG16), name


def test_normalize():
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 5))
    link = Normalize(4, 20)
    link.scale.array[...] = 1, 2, 3, 4
    length = np.sqrt((x**2).sum(axis=1, keepdims=True))
    assert_close(link(x.astype('f')), x / (length + 1e-5) * np.arange(1, 5).reshape(4, 1, 1), 1e-6)


@pytest.mark.parametrize('dtype', 'efd')
def test_normalize_takes_features_whose_squares_float16_does_not_hold(dtype):
    with chainer.using_config('dtype', np.dtype(dtype)):
        link = Normalize(512, 20)
    x = chainer.Variable(np.full((1, 512, 2, 2), 300, dtype))
    y = link(x)
    assert y.dtype == dtype
    assert_close(y, np.full(x.shape, 20 / 512**0.5), 1e-3)
    y.grad = np.ones_like(y.array)
    y.backward()
    assert x.grad.dtype == dtype and np.isfinite(x.grad).all()


def test_weights_come_from_a_file(ssd300, tmp_path):
    chainer.serializers.save_npz(str(tmp_path / 'model.npz'), ssd300)
    found = weights_of(SSD300(N_FG_CLASS, tmp_path / 'model.npz'))
    for name, array in weights_of(ssd300).items():
        np.testing.assert_array_equal(found[name], array)


def file_of(path, arrays):
    """Half precision, and so compressible that writing and reading take no time."""
    np.savez_compressed(
        path,
        **{
            name: array if array.dtype == object else np.full(array.shape, i, np.float16)
            for i, (name, array) in enumerate(arrays.items())
            if array is not None
        },
    )
    return path


def test_vgg16_alone_comes_from_a_file(ssd300, tmp_path):
    vgg16 = {
        name: array for name, array in weights_of(ssd300).items() if name.split('/')[1] in VGG16
    }
    assert len(vgg16) == 2 * 15
    path = file_of(tmp_path / 'vgg16.npz', {**vgg16, 'fc8/W': np.zeros(3)})
    model = SSD300(3, str(path))
    found = weights_of(model)
    for i, name in enumerate(vgg16):
        assert (found[name] == i).all(), name
    assert (model.extractor.norm4.scale.array == 20).all()
    assert model.extractor.conv8_1.W.array.std() > 0
    assert model.multibox.conf[0].W.shape == (4 * 4, 512, 3, 3)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'multibox/conf/2/b': np.zeros(6 * 4, 'f')},
            r'multibox/conf/2/b has shape \(24,\): expected \(126,\) of SSD300\(n_fg_class=20\)',
        ),
        ({'multibox/loc/5/W': None}, 'multibox/loc/5/W is missing: expected the weights of SSD300'),
        ({'extractor/conv9_1/b': None}, 'extractor/conv9_1/b is missing'),
        ({'extractor/conv3_2/W': None}, 'extractor/conv3_2/W is missing'),
        (
            {'extractor/conv1_1/W': np.array([None])},
            'expected an npz file: it holds Python objects',
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(ssd300, tmp_path, change, message):
    weights = weights_of(ssd300)
    path = file_of(tmp_path / 'model.npz', {**weights, **change})
    first, last = (weights[f'{name}/W'].copy() for name in (FIRST, LAST))
    with pytest.raises(ValueError, match=f'{path}: .*{message}'):
        load_vgg16_weights(path, ssd300)
    np.testing.assert_array_equal(weights[f'{FIRST}/W'], first)
    np.testing.assert_array_equal(weights[f'{LAST}/W'], last)


@pytest.mark.parametrize('content', [b'', b'not an npz', pickle.dumps({'a': 1}), b'PK\3\4 torn'])
def test_a_file_that_is_no_npz_is_refused(ssd300, tmp_path, content):
    path = tmp_path / 'weights'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'{path}: expected an npz file'):
        load_vgg16_weights(path, ssd300)


def test_a_broken_npz_is_named_whatever_zipfile_raises(tmp_path):
    class Model(chainer.Chain):
        insize, n_fg_class = 300, 1

    model, path = Model(multibox=chainer.links.Linear(1, 1)), tmp_path / 'weights.npz'
    chainer.serializers.save_npz(path, model)
    whole = path.read_bytes()
    # The file states that the zip's directory begins beyond its end. So a seek raises OSError.
    path.write_bytes(whole[:-6] + (1 << 24).to_bytes(4, 'little') + whole[-2:])
    with pytest.raises(ValueError, match='weights.npz: expected an npz file'):
        load_vgg16_weights(path, model)


def test_one_array_is_no_npz_and_a_missing_file_is_missing(ssd300, tmp_path):
    np.save(tmp_path / 'array.npy', np.zeros(3))
    with pytest.raises(ValueError, match='array.npy: expected an npz file'):
        load_vgg16_weights(tmp_path / 'array.npy', ssd300)
    with pytest.raises(FileNotFoundError, match='nothing.npz'):
        load_vgg16_weights(tmp_path / 'nothing.npz', ssd300)


def test_vgg16_in_part_is_refused(ssd300, tmp_path):
    np.savez(tmp_path / 'part.npz', **{'extractor/conv1_1/W': np.zeros((64, 3, 3, 3), 'f')})
    with pytest.raises(ValueError, match='part.npz: extractor/conv1_1/b is missing'):
        load_vgg16_weights(tmp_path / 'part.npz', ssd300)


def test_chainercvs_names_of_weights_give_the_url(ssd300, ssd512):
    for model, name, file in (
        (ssd300, 'voc0712', 'ssd300_voc0712_converted_2017_06_06.npz'),
        (ssd512, 'voc0712', 'ssd512_voc0712_converted_2017_06_06.npz'),
        (ssd512, 'imagenet', 'ssd_vgg16_imagenet_converted_2017_06_09.npz'),
    ):
        with pytest.raises(ValueError, match=f"pretrained_model = '{name}': .*/{file}"):
            load_vgg16_weights(name, model)


def test_bad_arguments(ssd300):
    with pytest.raises(ValueError, match='n_fg_class = 0'):
        SSD300(0)
    with pytest.raises(ValueError, match=r'imgs has shape \(1, 3, 512, 512\)'):
        ssd300(np.zeros((1, 3, 512, 512), 'f'))
    with pytest.raises(TypeError, match='imgs has dtype uint8: expected float32'):
        ssd300(np.zeros((1, 3, 300, 300), np.uint8))


def test_the_number_of_classes_of_a_file(ssd300, tmp_path):
    path = tmp_path / 'model.npz'
    chainer.serializers.save_npz(path, ssd300)
    model = SSD300(None, path)
    assert model.n_fg_class == ssd300.n_fg_class
    np.testing.assert_array_equal(model.multibox.conf[0].W.array, ssd300.multibox.conf[0].W.array)
    np.savez(tmp_path / 'part.npz', **{'extractor/conv1_1/W': np.zeros((64, 3, 3, 3), 'f')})
    for pretrained in None, tmp_path / 'part.npz':
        with pytest.raises(ValueError, match='n_fg_class = None: expected an integer'):
            SSD300(None, pretrained)


def test_the_13_convolutions_alone_are_enough(ssd300, tmp_path):
    arrays = {
        name: array
        for name, array in weights_of(ssd300).items()
        if name.startswith(tuple(f'extractor/conv{i}_' for i in range(1, 6)))
    }
    assert len(arrays) == 26
    np.savez(tmp_path / 'vgg16.npz', **arrays)
    for load in load_vgg16_weights, load_pretrained:
        np.random.seed(0)
        model = SSD300(2)
        before = {name: array.copy() for name, array in weights_of(model).items()}
        with pytest.warns(UserWarning, match='conv6 and conv7 start from random weights'):
            load(tmp_path / 'vgg16.npz', model)
        for name, array in weights_of(model).items():
            np.testing.assert_array_equal(array, arrays.get(name, before[name]), name)
    del arrays['extractor/conv3_2/W']
    np.savez(tmp_path / 'vgg16.npz', **arrays)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match='conv3_2/W is missing'):
        load_vgg16_weights(tmp_path / 'vgg16.npz', SSD300(2))
