import chainer
import numpy as np
import pytest

from chainer_ssd import DetectionEvaluator, eval_detection_voc

RANDOM = np.random.RandomState(0)
LABEL_NAMES = ('cat', 'dog', 'unicorn')


def boxes(n):
    corner = RANDOM.uniform(0, 60, (n, 2))
    return np.hstack([corner, corner + RANDOM.uniform(5, 40, (n, 2))]).astype('f')


class Detector(chainer.Link):
    """Detector that returns jittered ground truths. An image's first pixel is its number."""

    def __init__(self, truths):
        super().__init__()
        self.detections = [
            (
                np.concatenate([bbox + RANDOM.normal(0, 2, bbox.shape), boxes(3)]).astype('f'),
                np.concatenate([label, RANDOM.randint(0, 2, 3)]).astype('i'),
                RANDOM.uniform(size=len(bbox) + 3).astype('f'),
            )
            for bbox, label, _ in truths
        ]
        self.modes = []

    def predict(self, imgs):
        self.modes.append(chainer.config.train)
        return tuple(map(list, zip(*(self.detections[int(img[0, 0, 0])] for img in imgs))))


@pytest.fixture
def truths():
    return [
        (boxes(n), RANDOM.randint(0, 2, n).astype('i'), RANDOM.uniform(size=n) < 0.3)
        for n in (3, 0, 5, 2, 4)
    ]


def evaluator_of(examples, target, *args, **kwargs):
    iterator = chainer.iterators.SerialIterator(examples, 2, repeat=False, shuffle=False)
    return DetectionEvaluator(iterator, target, *args, **kwargs)


def examples_of(truths, n_truth=3):
    return [(np.full((3, 4, 4), i, 'f'), *truth[:n_truth]) for i, truth in enumerate(truths)]


@pytest.mark.parametrize('use_07_metric', [False, True])
@pytest.mark.parametrize('with_difficult', [False, True])
def test_reports_the_figures_of_a_direct_evaluation(truths, with_difficult, use_07_metric):
    detector = Detector(truths)
    found = zip(*detector.detections)
    columns = list(zip(*truths))
    expected = eval_detection_voc(
        *found, *columns[: 3 if with_difficult else 2], use_07_metric=use_07_metric
    )
    evaluator = evaluator_of(
        examples_of(truths, 3 if with_difficult else 2), detector, LABEL_NAMES, use_07_metric
    )
    for _ in range(2):  # the iterator is reset
        result = evaluator()
        assert result['main/map'] == expected['map']
        assert 0 < result['main/map'] < 1
        assert result['main/ap/cat'] == expected['ap'][0]
        assert result['main/ap/dog'] == expected['ap'][1]
        assert np.isnan(result['main/ap/unicorn'])


def test_without_names_it_reports_only_the_mean(truths):
    assert set(evaluator_of(examples_of(truths), Detector(truths))()) == {'main/map'}


def test_detects_in_test_mode_and_restores_the_mode(truths):
    detector = Detector(truths)
    with chainer.using_config('train', True):
        evaluator_of(examples_of(truths), detector)()
        assert chainer.config.train
    assert detector.modes == [False] * 3


def test_a_trainer_logs_the_figures_and_nan(truths, tmp_path):
    class Chain(chainer.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.linear = chainer.links.Linear(1, 1)

        def forward(self, x):
            return chainer.functions.sum(self.linear(x))

    chain = Chain()
    optimizer = chainer.optimizers.SGD().setup(chain)
    iterator = chainer.iterators.SerialIterator(np.ones((4, 1), 'f'), 2)
    trainer = chainer.training.Trainer(
        chainer.training.StandardUpdater(iterator, optimizer), (2, 'iteration'), tmp_path
    )
    trainer.extend(
        evaluator_of(examples_of(truths), Detector(truths), LABEL_NAMES), trigger=(1, 'iteration')
    )
    trainer.extend(chainer.training.extensions.LogReport(trigger=(1, 'iteration')))
    trainer.run()
    log = trainer.get_extension('LogReport').log
    assert len(log) == 2 and 0 < log[0]['validation/main/map'] < 1
    assert np.isnan(log[0]['validation/main/ap/unicorn'])


def test_a_label_without_a_name_is_an_error(truths):
    with pytest.raises(ValueError, match='label 1 occurs: expected one of the 1 label_names'):
        evaluator_of(examples_of(truths), Detector(truths), ['cat'])()


@pytest.mark.parametrize(
    ('names', 'error'), [('cat', TypeError), ({'cat', 'dog'}, TypeError), (['cat'] * 2, ValueError)]
)
def test_bad_label_names(truths, names, error):
    with pytest.raises(error, match='label_names = '):
        evaluator_of(examples_of(truths), Detector(truths), names)
