import pickle
import re

import chainer
import chainer.functions as F
import numpy as np
import pytest

from chainer_ssd import MultiboxTrainChain, SSDMini, generate_default_bbox


def imgs_of(*sizes):
    random = np.random.default_rng(0)
    return [random.uniform(0, 255, (3, *size)).astype('f') for size in sizes]


@pytest.fixture(scope='module')
def model():
    np.random.seed(0)
    return SSDMini(3, insize=64)


@pytest.mark.parametrize('insize', [32, 64, 192])
def test_the_outputs_and_the_default_boxes_agree(insize):
    model = SSDMini(5, insize)
    mb_locs, mb_confs = model(np.stack(imgs_of((insize, insize), (insize, insize))))
    n_box = len(model.coder.default_bbox)
    assert n_box == 4 * sum((insize // stride) ** 2 for stride in (4, 8, 16, 32))
    assert mb_locs.shape == (2, n_box, 4) and mb_confs.shape == (2, n_box, 6)
    assert mb_locs.dtype == mb_confs.dtype == np.float32


@pytest.mark.parametrize('scale', range(4))
def test_each_output_depends_on_the_pixels_of_its_default_box(scale):
    # The gradient of a logit with respect to the image is centered at the default box. It is off
    # by a part of the cell of the coarser scale, in either direction.
    np.random.seed(0)
    model = SSDMini(1, 256)
    random = np.random.default_rng(0)
    grids = [256 // stride for stride in (4, 8, 16, 32)]
    grid, n_box = grids[scale], 8
    row, column = random.integers(grid // 4, 3 * grid // 4, (2, n_box))
    box = 4 * (sum(finer**2 for finer in grids[:scale]) + row * grid + column)
    imgs = chainer.Variable(np.stack(imgs_of(*[(256, 256)] * n_box)))
    with chainer.using_config('train', False):  # the images are independent
        F.sum(model(imgs)[1][np.arange(n_box), box]).backward()
    strength = (imgs.grad**2).sum(axis=1)
    strength /= strength.sum(axis=(1, 2), keepdims=True)
    middle = np.arange(256) + 0.5
    center = np.stack([strength.sum(axis=2) @ middle, strength.sum(axis=1) @ middle], axis=1)
    away = center - model.coder.default_bbox[box, :2]
    assert np.abs(away.mean(axis=0)).max() < 7  # with odd kernels 11 and more


def test_the_finest_default_boxes_are_ordered_as_the_sub_pixels(model):
    # A bias of its own for each part of a cell shows where each lands.
    head = model.heads[0].copy(mode='copy')
    head.conv.W.array[...] = 0
    head.conv.b.array.reshape(4, 4, 8)[:, :, 0] = np.arange(4)[:, None]
    y = head(np.zeros((1, 128, 2, 2), 'f')).array[0, :, 0].reshape(4, 4, 4)
    np.testing.assert_array_equal(y[:, :, 0], [[0, 1, 0, 1], [2, 3, 2, 3]] * 2)
    assert (y == y[:, :, :1]).all()
    fine = generate_default_bbox((4,), ((2,),), (4,), (1, 1)).reshape(4, 4, 4, 4)
    assert (np.diff(fine[:, 0, 0, 0]) == 4).all() and (np.diff(fine[0, :, 0, 1]) == 4).all()


def test_an_untrained_model_expects_background(model):
    mb_confs = model(np.stack(imgs_of((64, 64))))[1]
    background = F.softmax(mb_confs, axis=2).array[..., 0]
    assert 0.9 < np.median(background) < 1


def test_predict_returns_the_boxes_of_the_outputs(model):
    # One box has a large logit. Its box is returned in the pixels of each image.
    truth = np.array([[16, 8, 40, 48]], 'f')
    mb_loc, mb_label = model.coder.encode(truth, np.array([2]))

    class Oracle(SSDMini):
        def forward(self, imgs):
            mb_conf = 20 * np.eye(4, dtype='f')[mb_label]
            outputs = mb_loc, mb_conf
            return [chainer.Variable(np.stack([y] * len(imgs))) for y in outputs]

    oracle = Oracle(3, model.insize)
    imgs = imgs_of((64, 64), (32, 128), (480, 640))
    bboxes, labels, scores = oracle.predict(imgs)
    assert len(bboxes) == len(labels) == len(scores) == 3
    for img, bbox, label, score in zip(imgs, bboxes, labels, scores):
        scale = np.array(img.shape[1:] * 2) / model.insize
        np.testing.assert_allclose(bbox, truth * scale, rtol=1e-4)
        assert label.tolist() == [2] and score > 0.99
        assert (bbox.dtype, label.dtype, score.dtype) == ('f', 'i', 'f')


def test_predict_keeps_within_the_image_and_keeps_the_mode(model):
    model.use_preset('evaluate')
    imgs = imgs_of((50, 90))
    before = imgs[0].copy()
    with chainer.using_config('train', True):
        bboxes, _, scores = model.predict(imgs)
        assert chainer.config.train
    np.testing.assert_array_equal(imgs[0], before)
    assert len(bboxes[0]) and (bboxes[0] >= 0).all() and (bboxes[0] <= [50, 90, 50, 90]).all()
    assert (scores[0] >= 0.01).all()
    again = model.predict(imgs)
    np.testing.assert_array_equal(again[0][0], bboxes[0])  # the running statistics are unchanged
    assert model.predict([]) == ([], [], [])


@pytest.mark.parametrize('shape', [(50, 60, 3), (50, 60), (1, 50, 60), (3, 0, 60)])
def test_predict_names_an_image_of_another_shape(model, shape):
    imgs = [*imgs_of((30, 40)), np.zeros(shape, 'f')]
    with pytest.raises(ValueError, match=rf'imgs\[1\] has shape {re.escape(str(shape))}: expected'):
        model.predict(imgs)


def test_presets():
    model = SSDMini(1, 32)
    assert (model.nms_thresh, model.score_thresh) == (0.45, 0.6)
    model.use_preset('evaluate')
    assert model.score_thresh == 0.01
    with pytest.raises(ValueError, match="preset = 'fast'"):
        model.use_preset('fast')


def test_weights_go_to_a_file_and_back(model, tmp_path):
    chainer.serializers.save_npz(tmp_path / 'model.npz', model)
    other = SSDMini(3, insize=64)
    chainer.serializers.load_npz(tmp_path / 'model.npz', other)
    img = np.stack(imgs_of((64, 64)))
    for copy in (other, pickle.loads(pickle.dumps(model))):
        with chainer.using_config('train', False):
            for a, b in zip(model(img), copy(img)):
                np.testing.assert_array_equal(a.array, b.array)


def test_all_parameters_are_there_from_the_start():
    # A collective over parameters of unknown shape would hang.
    assert all(param.is_initialized for param in SSDMini(2, 32).params())


def test_without_norm_the_examples_are_independent():
    model = SSDMini(3, 64, norm=None)
    imgs = np.stack(imgs_of((64, 64), (64, 64)))
    for both, alone in zip(model(imgs), model(imgs[:1])):
        np.testing.assert_allclose(both.array[:1], alone.array, rtol=1e-4, atol=1e-4)
    assert not any('norm' in name for name, _ in model.namedparams())


def test_norm_is_made_for_each_convolution():
    made = []

    def norm(n_channel):
        made.append(chainer.links.BatchNormalization(n_channel, decay=0.5))
        return made[-1]

    model = SSDMini(3, 64, norm=norm)
    assert len(made) == 1 + 3 + 3 * 2 + 2 + 2 and made[0] is model.stem.norm
    assert {link for link in model.links() if isinstance(link, type(made[0]))} == set(made)


def test_it_learns_one_example():
    np.random.seed(0)
    model = SSDMini(2, 64)
    img, bbox = imgs_of((64, 64)), np.array([[10, 12, 40, 50], [44, 4, 60, 16]], 'f')
    mb_loc, mb_label = model.coder.encode(bbox, np.array([0, 1]))
    chain = MultiboxTrainChain(model)
    optimizer = chainer.optimizers.Adam(alpha=2e-3).setup(chain)
    first = None
    for _ in range(40):
        optimizer.update(chain, np.stack(img * 2), np.stack([mb_loc] * 2), np.stack([mb_label] * 2))
        loss = chain(np.stack(img * 2), np.stack([mb_loc] * 2), np.stack([mb_label] * 2)).array
        first = loss if first is None else first
    assert loss < 0.1 * first


@pytest.mark.parametrize(
    'arguments, message',
    [
        ({'n_fg_class': 0}, 'n_fg_class = 0'),
        ({'n_fg_class': 3, 'insize': 100}, 'insize = 100: expected a multiple of 32'),
        ({'n_fg_class': 3, 'insize': 0}, 'insize = 0'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SSDMini(**arguments)


@pytest.mark.parametrize(
    ('dtype', 'computes'),
    [(np.float16, 'e'), (chainer.mixed16, 'e'), (np.float32, 'f'), (np.float64, 'd')],
)
def test_learns_and_predicts_in_the_dtype_of_its_weights(dtype, computes):
    np.random.seed(0)
    with chainer.using_config('dtype', dtype):
        model = SSDMini(2, 32)
    assert model.stem.conv.W.dtype == computes
    imgs = np.stack(imgs_of((32, 32), (32, 32)))
    mb_loc, mb_label = model.coder.encode(np.array([[4, 4, 28, 28]], 'f'), np.array([1]))
    for img_dtype in 'efd':
        model.cleargrads()
        mb_locs, mb_confs = model(imgs.astype(img_dtype))
        assert mb_locs.dtype == mb_confs.dtype == computes
        loss = MultiboxTrainChain(model)(
            imgs.astype(img_dtype), np.stack([mb_loc] * 2), np.stack([mb_label] * 2)
        )
        loss.backward()
        assert all(np.isfinite(param.grad).all() for param in model.params())
    model.use_preset('evaluate')
    for bbox, score in zip(*model.predict(imgs)[::2]):
        assert bbox.dtype == score.dtype == np.float32 and np.isfinite(bbox).all()


def test_images_of_another_size_are_refused(model):
    with pytest.raises(ValueError, match=r'imgs has shape \(1, 3, 32, 64\)'):
        model(np.zeros((1, 3, 32, 64), 'f'))


def test_default_boxes_without_area_stay_legal():
    from chainer_ssd.links import SSD, MultiboxCoder

    coder = MultiboxCoder(grids=[2], aspect_ratios=[(2,)], steps=[16], sizes=[8, 16])
    coder.default_bbox[0, 2:] = 0  # as clipping to the image can leave it
    assert (SSD(1, 32, coder, 0.5).coder.default_bbox[0, 2:] == 0).all()


def test_limits_of_predict_are_arguments_and_attributes(model):
    imgs = imgs_of((50, 70), (64, 64))
    model.use_preset('evaluate')
    try:
        unlimited = model.predict(imgs)
        limited = model.predict(imgs, nms_top_k=9, keep_top_k=5)
        model.nms_top_k, model.keep_top_k = 9, 5
        by_attribute = model.predict(imgs)
        again = model.predict(imgs, nms_top_k=10**6, keep_top_k=10**6)
        model.use_preset('evaluate')
        assert (model.nms_top_k, model.keep_top_k) == (9, 5)
    finally:
        model.nms_top_k = model.keep_top_k = None
        model.use_preset('visualize')
    assert [len(score) for score in limited[2]] == [5, 5] and len(unlimited[2][0]) > 5
    for column, other in ((limited, by_attribute), (unlimited, again)):
        for one, two in zip(column, other):
            for a, b in zip(one, two):
                np.testing.assert_array_equal(a, b)
    assert min(limited[2][0]) >= np.sort(unlimited[2][0])[::-1][9 * 3]


def test_a_coder_without_limits_serves_as_long_as_there_is_none(model):
    class OldCoder:
        def __init__(self, coder):
            self.coder = coder

        def decode(self, mb_loc, mb_conf, nms_thresh=0.45, score_thresh=0.6):
            return self.coder.decode(mb_loc, mb_conf, nms_thresh, score_thresh)

    expected, coder = model.predict(imgs_of((64, 64))), model.coder
    model.coder = OldCoder(coder)
    try:
        found = model.predict(imgs_of((64, 64)))
    finally:
        model.coder = coder
    np.testing.assert_array_equal(found[0][0], expected[0][0])
