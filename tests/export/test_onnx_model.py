"""The ONNX file computes what the model computes. onnxruntime runs it."""

import json

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest

from chainer_ssd import SSD300, SSD512, SSDMini, VOCBboxDataset, load_detector
from chainer_ssd.cli import main
from chainer_ssd.export import default_bbox_path, export_onnx
from chainer_ssd.links import SSD, Multibox, MultiboxCoder
from tests.export.pairing import count_unpaired, run_graph
from tests.real_data import DATA, needs

onnx = pytest.importorskip('onnx', reason='the onnx extra is not installed')
onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

NAMES = ['a', 'b', 'c']


def create_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])


def draw_statistics(model, seed=0):
    """Give the normalizations values as if the model were trained."""
    rng = np.random.default_rng(seed)
    for link in model.links():
        if isinstance(link, L.BatchNormalization):
            n_channel = len(link.avg_mean)
            link.gamma.array[:] = rng.uniform(0.5, 1.5, n_channel)
            link.beta.array[:] = rng.normal(0, 0.2, n_channel)
            link.avg_mean[:] = rng.normal(0, 0.2, n_channel)
            link.avg_var[:] = rng.uniform(0.5, 2, n_channel)
    return model


@pytest.fixture
def mini():
    """An SSDMini that detects many objects, with random weights."""
    np.random.seed(0)
    model = draw_statistics(SSDMini(3, 64))
    for head in model.heads:
        head.conv.b.array[:] = 0
        head.conv.W.array *= 0.1
    model.use_preset('evaluate')
    return model


def draw_imgs(insize, n_image=2, seed=0):
    shape = n_image, 3, insize, insize
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


def predict_heads(model, imgs):
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        return [y.array for y in model(imgs)]


def assert_same_heads(model, path, n_image):
    export_onnx(path, model, NAMES, raw_heads=True)
    imgs = draw_imgs(model.insize, n_image)
    found = create_session(path).run(None, {'images': imgs})
    for one, other in zip(found, predict_heads(model, imgs)):
        assert one.shape == other.shape and one.dtype == np.float32
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.parametrize('n_image', [1, 3])
@pytest.mark.parametrize('norm', [L.BatchNormalization, None])
def test_the_heads_of_ssd_mini(tmp_path, n_image, norm):
    assert_same_heads(draw_statistics(SSDMini(3, 96, norm)), tmp_path / 'a.onnx', n_image)


def test_the_heads_of_ssd300(tmp_path):
    assert_same_heads(SSD300(3), tmp_path / 'a.onnx', 1)


@pytest.mark.slow
def test_the_heads_of_ssd512_and_of_a_batch(tmp_path):
    assert_same_heads(SSD512(3), tmp_path / 'a.onnx', 1)
    assert_same_heads(SSD300(3), tmp_path / 'b.onnx', 2)


def test_every_batch_normalization_is_folded(tmp_path, mini):
    export_onnx(tmp_path / 'a.onnx', mini)
    found = {node.op_type for node in onnx.load(tmp_path / 'a.onnx').graph.node}
    assert 'Conv' in found and 'NonMaxSuppression' in found and 'BatchNormalization' not in found


@pytest.mark.parametrize('score_thresh', [0, 0.01, 0.27, 1])
def test_detections_are_those_of_predict(tmp_path, mini, score_thresh):
    mini.score_thresh = score_thresh
    export_onnx(tmp_path / 'a.onnx', mini)
    imgs = draw_imgs(64, 3)
    session = create_session(tmp_path / 'a.onnx')
    n_found = 0
    for img, *expected in zip(imgs, *mini.predict(imgs)):
        n_found += len(expected[0])
        assert count_unpaired(expected, run_graph(session, img, 64)) == (0, 0)
    assert (n_found > 30) == (score_thresh < 1)


def test_a_batch_is_filled(tmp_path, mini):
    mini.score_thresh = 0.3
    export_onnx(tmp_path / 'a.onnx', mini)
    session = create_session(tmp_path / 'a.onnx')
    imgs = np.concatenate([draw_imgs(64, 3), np.full((1, 3, 64, 64), 127.5, np.float32)])
    boxes, labels, scores = session.run(None, {'images': imgs})
    assert boxes.dtype == scores.dtype == np.float32 and labels.dtype == np.int64
    counts = [len(score) for score in mini.predict(imgs)[2]]
    assert len(set(counts)) > 1 and boxes.shape == (4, max(counts), 4)
    for i, count in enumerate(counts):
        assert (labels[i, :count] >= 0).all() and (labels[i, count:] == -1).all()
        assert (scores[i, count:] == 0).all() and (boxes[i, count:] == 0).all()
        assert (np.diff(scores[i]) <= 0).all()
        (alone,) = session.run(['scores'], {'images': imgs[i : i + 1]})
        np.testing.assert_allclose(alone[0], scores[i, :count], rtol=1e-5)


def test_boxes_end_at_the_border(tmp_path, mini):
    export_onnx(tmp_path / 'a.onnx', mini)
    (boxes,) = create_session(tmp_path / 'a.onnx').run(['boxes'], {'images': draw_imgs(64)})
    assert boxes.min() == 0 and boxes.max() == 64


def test_limits(tmp_path, mini):
    imgs = draw_imgs(64, 1)
    mini.score_thresh = 0.01
    export_onnx(tmp_path / 'all.onnx', mini, nms_thresh=1)
    export_onnx(tmp_path / 'few.onnx', mini, nms_thresh=1, max_per_class=40, max_per_image=100)
    export_onnx(tmp_path / 'class.onnx', mini, nms_thresh=1, max_per_class=40)
    outputs = {
        name: [x[0] for x in create_session(tmp_path / f'{name}.onnx').run(None, {'images': imgs})]
        for name in ('all', 'few', 'class')
    }
    _, labels, scores = outputs['class']
    assert np.bincount(labels).tolist() == [40, 40, 40]
    for label in range(3):
        best = outputs['all'][2][outputs['all'][1] == label][:40]
        np.testing.assert_array_equal(scores[labels == label], best)
    np.testing.assert_array_equal(outputs['few'][2], scores[:100])


def test_a_fixed_batch(tmp_path, mini):
    export_onnx(tmp_path / 'a.onnx', mini, batchsize=2)
    assert create_session(tmp_path / 'a.onnx').get_inputs()[0].shape == [2, 3, 64, 64]


def test_what_the_file_says_about_itself(tmp_path, mini):
    export_onnx(tmp_path / 'a.onnx', mini, NAMES)
    metadata = create_session(tmp_path / 'a.onnx').get_modelmeta().custom_metadata_map
    assert json.loads(metadata['label_names']) == NAMES
    assert metadata['insize'] == '64' and json.loads(metadata['variance']) == [0.1, 0.2]


@pytest.mark.parametrize('n_image', [1, 2])
def test_opencv_runs_the_raw_heads(tmp_path, mini, n_image):
    cv2 = pytest.importorskip('cv2', reason='the data extra is not installed')
    path = tmp_path / 'a.onnx'
    export_onnx(path, mini, raw_heads=True)
    imgs = draw_imgs(64, n_image)
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(imgs)
    found = net.forward(['mb_locs', 'mb_confs'])
    for one, other in zip(found, predict_heads(mini, imgs)):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()
    default_bbox = np.load(default_bbox_path(path))
    np.testing.assert_array_equal(default_bbox, mini.coder.default_bbox)


class OwnNetwork(SSD):
    """A network that calls what the models of the package do not call."""

    def __init__(self, is_supported=True):
        spec = dict(grids=[8], aspect_ratios=[(2,)], steps=[4], sizes=[8, 16])
        super().__init__(2, 32, MultiboxCoder(**spec))
        self.is_supported = is_supported
        with self.init_scope():
            self.first = L.Convolution2D(3, 4, 3, pad=1)
            self.norm = L.BatchNormalization(4, use_beta=False)
            self.second = L.Convolution2D(4, 4, 3, pad=2, dilate=2, groups=2)
            self.multibox = Multibox(3, [8], spec['aspect_ratios'])

    def forward_layers(self, imgs):
        h = self.first(imgs / 255)
        h = F.concat([F.leaky_relu(self.norm(h)), 1 - F.sigmoid(self.second(h))])
        h = F.average_pooling_2d(F.clipped_relu(h * h - 0.1, 6.0), 2)
        h = F.tanh(F.max_pooling_2d(h, 3, 2, 1, cover_all=False))
        return self.multibox([h if self.is_supported else F.softplus(h)])


def test_a_network_of_your_own(tmp_path):
    """Its normalization must not be folded, because two functions read the convolution."""
    model = OwnNetwork()
    rng = np.random.default_rng(0)
    model.norm.avg_var[:] = rng.uniform(0.5, 2, 4)
    export_onnx(tmp_path / 'a.onnx', model, raw_heads=True)
    imgs = draw_imgs(32, 2)
    found = create_session(tmp_path / 'a.onnx').run(None, {'images': imgs})
    for one, other in zip(found, predict_heads(model, imgs)):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


def test_a_function_without_a_converter_is_named(tmp_path):
    with pytest.raises(ValueError, match='calls Softplus, which has no ONNX converter'):
        export_onnx(tmp_path / 'a.onnx', OwnNetwork(is_supported=False))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'nms_thresh': 0}, ValueError, 'nms_thresh = 0'),
        ({'nms_thresh': 2}, ValueError, 'nms_thresh'),
        ({'score_thresh': -1}, ValueError, 'score_thresh'),
        ({'max_per_class': 0}, ValueError, 'max_per_class'),
        ({'max_per_image': 1.5}, TypeError, 'max_per_image'),
        ({'batchsize': 0}, ValueError, 'batchsize'),
        ({'raw_heads': 'yes'}, TypeError, 'raw_heads'),
        ({'label_names': ['a']}, ValueError, 'label_names'),
    ],
)
def test_wrong_options(tmp_path, mini, options, error, message):
    with pytest.raises(error, match=message):
        export_onnx(tmp_path / 'a.onnx', mini, **options)
    assert not list(tmp_path.iterdir())


def test_other_models_are_refused(tmp_path):
    with pytest.raises(TypeError, match='expected an SSD'):
        export_onnx(tmp_path / 'a.onnx', L.Linear(2, 2))
    with chainer.using_config('dtype', np.dtype(np.float16)):
        model = SSDMini(3, 64)
    with pytest.raises(ValueError, match='expected float32 weights'):
        export_onnx(tmp_path / 'a.onnx', model)


@pytest.mark.slow
@needs('bccd')
def test_a_trained_detector_on_all_test_images(tmp_path):
    """Trains for 250 iterations, 5 to 7 minutes on one core."""
    root = str(DATA / 'bccd')
    options = '--dataset voc --iteration 250 --batchsize 8 --workers 0'.split()
    main(['train', '--root', root, '--out', str(tmp_path / 'result'), *options])
    model = load_detector(tmp_path / 'result')
    images = VOCBboxDataset(root, 'test', model.label_names, dtype='uint8')
    assert len(images) == 72
    for score_thresh, allowed in (0.05, 0), (0.01, 0.001):
        model.score_thresh = score_thresh
        export_onnx(tmp_path / 'a.onnx', model)
        session = create_session(tmp_path / 'a.onnx')
        n_found = n_unpaired = 0
        for i in range(len(images)):
            img = images[i][0]
            expected = [each[0] for each in model.predict([img])]
            n_found += len(expected[0])
            n_unpaired += sum(count_unpaired(expected, run_graph(session, img, model.insize)))
        assert n_found > 72 and n_unpaired <= allowed * n_found
