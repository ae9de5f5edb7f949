import os
import random

import chainer
import numpy as np
import pytest
from PIL import Image

import chainer_ssd
from chainer_ssd import (
    EncodeTransform,
    MatchTransform,
    MultiboxTrainChain,
    RandomTransformDataset,
    ResizeTransform,
    ShapesBboxDataset,
    SSDAugmentation,
    SSDMini,
)
from chainer_ssd.extensions import DetectionVisReport, MatchVisReport
from chainer_ssd.functions import background_loss
from chainer_ssd.visualizations import draw_detection
from tests import reference

NAMES = ShapesBboxDataset.label_names
SIZE = 64
IGNORED = slice(100, 200)


class GlobalRandomTransform:
    """Transform that uses the global random generators, as a transform should not."""

    def __call__(self, example):
        np.random.uniform()
        random.random()
        return example


def pipeline(model, n=6):
    """Return the training set after matching."""
    data = RandomTransformDataset(ShapesBboxDataset(n, SIZE), SSDAugmentation(SIZE))
    for transform in (GlobalRandomTransform(), MatchTransform(model.coder.default_bbox)):
        data = chainer.datasets.TransformDataset(data, transform)
    return data


def trainer_of(out, reports, n_iteration=3):
    """Return a short training with batch normalization, extended with ``reports(...)``."""
    np.random.seed(0)
    random.seed(0)
    model = SSDMini(len(NAMES), SIZE)
    model.use_preset('evaluate')
    chain = MultiboxTrainChain(model)
    optimizer = chainer.optimizers.MomentumSGD(1e-3).setup(chain)
    matched = pipeline(model)
    encoded = chainer.datasets.TransformDataset(matched, EncodeTransform(model.coder.default_bbox))
    order = RandomTransformDataset.next_epoch
    iterator = chainer.iterators.SerialIterator(encoded, 2, order_sampler=order)
    trainer = chainer.training.Trainer(
        chainer.training.StandardUpdater(iterator, optimizer), (n_iteration, 'iteration'), out
    )
    for report in reports(chain, iterator, matched, ShapesBboxDataset(3, SIZE, seed=1)):
        trainer.extend(report, trigger=(1, 'iteration'))
    return trainer


def state(trainer):
    target = {}
    chainer.serializers.DictionarySerializer(target).save(trainer.updater)
    return target, random.getstate(), np.random.get_state()


def both(chain, iterator, matched, test):
    tests = chainer.iterators.SerialIterator(test, 2, repeat=False, shuffle=False)
    return [
        DetectionVisReport(tests, chain.model, NAMES, n_image=2, score_thresh=0.01),
        MatchVisReport(matched, chain, NAMES),
    ]


def test_training_is_the_same_bit_for_bit(tmp_path):
    states = []
    for name, reports in (('without', lambda *args: []), ('with', both)):
        trainer = trainer_of(tmp_path / name, reports)
        trainer.run()
        assert chainer.config.train
        states.append(state(trainer))
    assert len(os.listdir(tmp_path / 'with')) == 3 * 4
    (weights, python, numpy), (other, other_python, other_numpy) = states
    assert len(weights) > 50 and weights.keys() == other.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(value, other[key], key)
    assert python == other_python
    assert all(np.array_equal(a, b) for a, b in zip(numpy, other_numpy))


def test_files_are_named_by_iteration_and_index_and_are_pictures(tmp_path):
    trainer_of(tmp_path, both, 2).run()
    names = {
        name.format(i, index)
        for i in (1, 2)
        for index in (0, 1)
        for name in ('detection_iter={}_idx={}.jpg', 'match_iter={}_idx={}.png')
    }
    assert set(os.listdir(tmp_path)) == names
    for name in names:
        with Image.open(tmp_path / name) as image:
            assert min(image.size) >= 400 and np.asarray(image).std() > 10


def test_an_iterator_does_not_advance(tmp_path):
    iterators = []

    def reports(chain, iterator, matched, test):
        iterators.append(chainer.iterators.SerialIterator(test, 2))
        iterators[0].next()
        return [DetectionVisReport(iterators[0], chain.model, n_image=1)]

    trainer_of(tmp_path, reports, 1).run()
    assert iterators[0].current_position == 2
    assert len(os.listdir(tmp_path)) == 1


class Model(chainer.Chain):
    """Model with given predictions and the coder of SSDMini."""

    def __init__(self, mb_conf=None, detections=None):
        super().__init__()
        self.coder, self.mb_conf, self.detections = SSDMini(3, SIZE).coder, mb_conf, detections
        self.modes = []

    def forward(self, imgs):
        self.modes.append((chainer.config.train, chainer.config.enable_backprop))
        mb_locs = np.zeros((1, len(self.mb_conf), 4), 'f')
        return chainer.Variable(mb_locs), chainer.Variable(self.mb_conf[None])

    def predict(self, imgs):
        self.modes.append((chainer.config.train, chainer.config.enable_backprop))
        return tuple([column] for column in self.detections)


def trainer_at(out, iteration=7):
    """Return an object with the attributes of a trainer that a report uses."""

    class Updater:
        pass

    updater = Updater()
    updater.iteration = iteration
    trainer = Updater()
    trainer.out, trainer.updater = str(out), updater
    return trainer


def test_detections_of_low_scores_are_not_drawn(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'chainer_ssd.extensions.detection_vis_report.draw_detection',
        lambda *args: drawn.append(args) or draw_detection(*args),
    )
    detections = (
        np.array([(1, 1, 20, 20), (30, 30, 50, 50)], 'f'),
        np.array([0, 1], 'i'),
        np.array([0.7, 0.3], 'f'),
    )
    model = Model(detections=detections)
    data = ShapesBboxDataset(1, SIZE)
    DetectionVisReport(data, model, NAMES, score_thresh=0.5)(trainer_at(tmp_path))
    ((img, bbox, label, score, gt_bbox, gt_label, names),) = drawn
    np.testing.assert_array_equal(bbox, detections[0][:1])
    assert label.tolist() == [0] and score.tolist() == [np.float32(0.7)] and names == NAMES
    np.testing.assert_array_equal(gt_bbox, data[0][1])
    np.testing.assert_array_equal(gt_label, data[0][2])
    assert model.modes == [(False, False)]


def test_negatives_are_those_of_the_loss(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'chainer_ssd.extensions.match_vis_report.draw_match',
        lambda *args: drawn.append(args) or np.zeros((3, 9, 9), 'f'),
    )
    n_box = len(SSDMini(3, SIZE).coder.scale)
    mb_conf = np.random.RandomState(0).normal(size=(n_box, 4)).astype('f')
    mb_conf[IGNORED, 1] += 9  # otherwise the hardest of all
    model = Model(mb_conf)
    chain = MultiboxTrainChain(model, k=2)
    data = chainer.datasets.TransformDataset(pipeline(model), _ignore_some)
    MatchVisReport(data, chain, NAMES, n_image=1)(trainer_at(tmp_path))
    ((img, bbox, label, index, default_bbox, scale, hard_negative, conf_loss, _),) = drawn
    assert (index >= 0).any() and (index == -2).any() and model.modes == [(False, False)]
    np.testing.assert_array_equal(default_bbox, model.coder.default_bbox)
    np.testing.assert_array_equal(scale, model.coder.scale)
    loss = [reference.cross_entropy(row.tolist(), 0) for row in mb_conf]
    np.testing.assert_allclose(conf_loss, loss, rtol=1e-5)
    negatives = sorted(np.flatnonzero(index == -1), key=lambda k: -loss[k])
    expected = np.zeros(n_box, bool)
    expected[negatives[: 2 * (index >= 0).sum()]] = True
    np.testing.assert_array_equal(hard_negative, expected)

    # In the loss itself, only selected boxes have a gradient.
    _, mb_loc, mb_label = EncodeTransform(default_bbox)((img, bbox, label, index))
    mb_confs = chainer.Variable(mb_conf[None])
    losses = chainer_ssd.multibox_loss(
        np.zeros((1, n_box, 4), 'f'), mb_confs, mb_loc[None], mb_label[None], 2
    )
    losses[1].backward()
    selected = (mb_confs.grad[0] != 0).any(axis=1)
    np.testing.assert_array_equal(selected, hard_negative | (index >= 0))
    np.testing.assert_allclose(background_loss(mb_conf[None])[0], conf_loss)


def _ignore_some(example):
    img, bbox, label, index = example
    index = index.copy()
    index[IGNORED][index[IGNORED] == -1] = -2
    return img, bbox, label, index


@pytest.mark.parametrize('rank', [0, 1])
def test_only_rank_0_draws(tmp_path, rank):
    class Communicator:
        pass

    comm = Communicator()
    comm.rank = rank
    detections = np.zeros((0, 4), 'f'), np.zeros(0, 'i'), np.zeros(0, 'f')
    DetectionVisReport(ShapesBboxDataset(2, SIZE), Model(detections=detections), comm=comm)(
        trainer_at(tmp_path / 'out')
    )
    assert os.path.exists(tmp_path / 'out') == (rank == 0)


def test_a_failure_names_the_image(tmp_path):
    class Data(chainer.dataset.DatasetMixin):
        def __len__(self):
            return 3

        def get_example(self, i):
            if i == 1:
                raise ValueError('JPEGImages/cat.jpg: cannot be read')
            return ShapesBboxDataset(3, SIZE)[i]

    detections = np.zeros((0, 4), 'f'), np.zeros(0, 'i'), np.zeros(0, 'f')
    report = DetectionVisReport(Data(), Model(detections=detections))
    before = np.random.get_state()[1].copy()
    with pytest.raises(
        RuntimeError,
        match='DetectionVisReport cannot draw image 1 of its data set '
        '.*iter=7_idx=1.jpg.*: ValueError: JPEGImages/cat.jpg: cannot be read',
    ):
        report(trainer_at(tmp_path))
    assert os.listdir(tmp_path) == ['detection_iter=7_idx=0.jpg']
    assert chainer.config.train and (np.random.get_state()[1] == before).all()


def test_a_picture_that_cannot_be_written_is_one_warning_and_training_goes_on(tmp_path, recwarn):
    def reports(chain, iterator, matched, test):
        return [
            DetectionVisReport(test, chain.model, NAMES, 'a_{index}.jpg', n_image=2),
            MatchVisReport(matched, chain, NAMES, 'b_{index}.png'),
        ]

    (tmp_path / 'a_0.jpg').mkdir()  # so that no file can have this name
    (tmp_path / 'b_1.png').mkdir()
    trainer = trainer_of(tmp_path, reports, 3)
    trainer.run()
    assert trainer.updater.iteration == 3
    assert set(os.listdir(tmp_path)) == {'a_0.jpg', 'a_1.jpg', 'b_0.png', 'b_1.png'}
    assert os.path.isfile(tmp_path / 'a_1.jpg') and os.path.isfile(tmp_path / 'b_0.png')
    messages = [str(each.message) for each in recwarn]
    assert len(messages) == 2
    for name, text in zip(('a_0.jpg', 'b_1.png'), messages):
        assert f'VisReport cannot write {tmp_path / name}: [Errno' in text
    assert messages[0].startswith('Detection') and messages[1].startswith('Match')


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path):
    (tmp_path / 'file').write_text('')
    detections = np.zeros((0, 4), 'f'), np.zeros(0, 'i'), np.zeros(0, 'f')
    report = DetectionVisReport(ShapesBboxDataset(2, SIZE), Model(detections=detections))
    with pytest.warns(UserWarning, match='cannot write .*idx=0.jpg: ') as caught:
        report(trainer_at(tmp_path / 'file'))
    assert len(caught) == 1


def test_an_image_that_cannot_be_read_is_an_error(tmp_path):
    class Data(ShapesBboxDataset):
        def get_example(self, i):
            raise FileNotFoundError('JPEGImages/cat.jpg')

    with pytest.raises(RuntimeError, match='cannot draw image 0 .*FileNotFoundError: JPEGImages'):
        DetectionVisReport(Data(1, SIZE), Model())(trainer_at(tmp_path))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'filename': 'a_{index}'}, 'filename = a_{index}: expected a suffix'),
        ({'filename': 'a_{index}.txt'}, 'expected a suffix such as .png'),
        ({'filename': 'a_{iteration}.png'}, 'expected {index} in it, for 2 images'),
        ({'filename': 'a_{index}_{epoch}.png'}, 'expected no other fields than {iteration}'),
        ({'filename': 'a_{}_{index}.png'}, 'expected no other fields'),
        ({'n_image': 0}, 'n_image = 0: expected an integer >= 1'),
    ],
)
@pytest.mark.parametrize('report', [DetectionVisReport, MatchVisReport])
def test_bad_arguments(report, options, message):
    with pytest.raises(ValueError, match=message):
        report([], None, **{'n_image': 2, **options})


@pytest.mark.parametrize('filename', ['{epoch}.png', '{index.of}.png', '{index[0]}.png', '{.png'])
def test_a_file_name_is_checked_for_one_image_too(filename):
    with pytest.raises(ValueError, match='expected no other fields'):
        DetectionVisReport([], None, filename=filename, n_image=1)


def test_a_missing_library_is_an_error_at_once(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'matplotlib', None)
    with pytest.raises(ImportError, match=r'pip install "chainer_ssd\[plot\]"'):
        DetectionVisReport([], None)


def test_the_default_trigger_is_once_per_epoch():
    assert DetectionVisReport.trigger == MatchVisReport.trigger == (1, 'epoch')


def test_images_of_any_size_without_resizing(tmp_path):
    data = chainer.datasets.TransformDataset(ShapesBboxDataset(1, 200), ResizeTransform(130))
    model = SSDMini(3, SIZE)
    DetectionVisReport(data, model, NAMES, score_thresh=0.0)(trainer_at(tmp_path))
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize('names', ['cat', {'cat', 'dog'}, ['cat', 'cat']])
@pytest.mark.parametrize('report', [DetectionVisReport, MatchVisReport])
def test_bad_label_names(report, names):
    with pytest.raises((TypeError, ValueError), match='label_names = '):
        report([], None, names)


class Blank:
    """Target that detects nothing."""

    def predict(self, imgs):
        return [np.zeros((0, 4), 'f')], [np.zeros(0, 'i')], [np.zeros(0, 'f')]


@pytest.mark.parametrize(('n_image', 'expected'), [(None, 11), (3, 3), (99, 11)])
@pytest.mark.parametrize('repeat', [False, True])
def test_all_images_are_drawn_unless_a_number_is_given(tmp_path, n_image, expected, repeat):
    data = ShapesBboxDataset(11, SIZE)
    iterator = chainer.iterators.SerialIterator(data, 4, repeat=repeat)
    options = {} if n_image is None else {'n_image': n_image}
    DetectionVisReport(iterator, Blank(), **options)(trainer_at(tmp_path))
    assert len(os.listdir(tmp_path)) == expected


@pytest.mark.parametrize('report', [DetectionVisReport, MatchVisReport])
@pytest.mark.parametrize('iterator', [iter([]), (i for i in 'ab'), None, 3])
def test_what_is_no_data_set_is_refused_at_construction(report, iterator):
    with pytest.raises(TypeError, match='iterator is of type .*: expected a data set'):
        report(iterator, None)


@pytest.mark.parametrize('report', [DetectionVisReport, MatchVisReport])
@pytest.mark.parametrize('n_image', [2.0, '2', True])
def test_n_image_is_an_integer(report, n_image):
    with pytest.raises(TypeError, match='n_image = '):
        report([], None, n_image=n_image)


@pytest.mark.parametrize('score_thresh', [np.nan, np.inf, '0.5', None])
def test_a_bad_score_thresh_is_refused_at_construction(score_thresh):
    with pytest.raises((TypeError, ValueError), match='score_thresh = '):
        DetectionVisReport([], None, score_thresh=score_thresh)


def test_all_images_need_a_number_in_their_names():
    with pytest.raises(ValueError, match='expected {index} in it, for 3 images'):
        DetectionVisReport(ShapesBboxDataset(3, SIZE), None, filename='a.jpg')


def test_a_score_of_nan_is_an_error(tmp_path):
    detections = np.ones((1, 4), 'f'), np.zeros(1, 'i'), np.full(1, np.nan, 'f')
    report = DetectionVisReport(ShapesBboxDataset(1, SIZE), Model(detections=detections))
    with pytest.raises(
        RuntimeError, match=r'cannot draw image 0 .*score\[0\] = nan: expected a fi'
    ):
        report(trainer_at(tmp_path))
