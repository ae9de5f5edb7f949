import chainer
import numpy as np
import pytest

from chainer_ssd import DetectionEvaluator, eval_detection_voc
from tests.distributed.threads import run_ranks

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
    RANDOM.seed(0)  # the same in each order of the tests
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
        examples_of(truths, 3 if with_difficult else 2), detector, use_07_metric, LABEL_NAMES
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
        evaluator_of(examples_of(truths), Detector(truths), label_names=LABEL_NAMES),
        trigger=(1, 'iteration'),
    )
    trainer.extend(chainer.training.extensions.LogReport(trigger=(1, 'iteration')))
    trainer.run()
    log = trainer.get_extension('LogReport').log
    assert len(log) == 2 and 0 < log[0]['validation/main/map'] < 1
    assert np.isnan(log[0]['validation/main/ap/unicorn'])


def test_a_label_without_a_name_is_an_error(truths):
    detector = Detector(truths)
    message = 'label 1 occurs in image 0: expected one of the 1 label_names'
    truths[0][1][0] = 1
    with pytest.raises(ValueError, match=message):
        evaluator_of(examples_of(truths), detector, label_names=['cat'])()
    assert len(detector.modes) == 1  # not after the last batch


def test_a_detection_without_a_name_is_an_error(truths):
    detector = Detector(truths)
    detector.detections[2][1][0] = 5
    with pytest.raises(ValueError, match='label 5 occurs: expected one of the 3 label_names'):
        evaluator_of(examples_of(truths), detector, label_names=LABEL_NAMES)()


@pytest.mark.parametrize(
    ('names', 'error'), [('cat', TypeError), ({'cat', 'dog'}, TypeError), (['cat'] * 2, ValueError)]
)
def test_bad_label_names(truths, names, error):
    with pytest.raises(error, match='label_names = '):
        evaluator_of(examples_of(truths), Detector(truths), label_names=names)


def unusable_iterators():
    examples = [(np.zeros((3, 4, 4), 'f'), boxes(1), np.zeros(1, 'i'))]
    yield examples, TypeError, 'iterator is of type list: expected a Chainer iterator'
    yield iter(examples), TypeError, 'iterator is of type list_iterator: expected a Chainer'
    yield None, ValueError, 'iterator is None: expected an iterator, on rank 0 at least'
    yield {'other': None}, TypeError, 'iterator is of type NoneType'
    for make in (
        lambda: chainer.iterators.SerialIterator(examples, 1),
        lambda: chainer.iterators.MultithreadIterator(examples, 1),
        lambda: chainer.iterators.MultiprocessIterator(examples, 1, n_processes=1),
    ):
        yield make(), ValueError, 'iterator: the iterator repeats .* repeat=False'


@pytest.mark.parametrize(('iterator', 'error', 'message'), list(unusable_iterators()))
def test_an_unusable_iterator_is_refused_at_construction(truths, iterator, error, message):
    with pytest.raises(error, match=message):
        DetectionEvaluator(iterator, Detector(truths))


@pytest.mark.parametrize('use_07_metric', ['yes', 2, None, np.nan, {'cat'}, 'cat'])
def test_use_07_metric_is_checked_at_construction(truths, use_07_metric):
    with pytest.raises(TypeError, match='use_07_metric = .*: expected True or False'):
        evaluator_of(examples_of(truths), Detector(truths), use_07_metric)


def test_a_target_without_predict_is_refused(truths):
    with pytest.raises(TypeError, match='target is of type Linear: .*predict'):
        evaluator_of(examples_of(truths), chainer.links.Linear(1, 1))


@pytest.mark.parametrize('arguments', [(LABEL_NAMES,), (LABEL_NAMES, True), (list(LABEL_NAMES),)])
def test_the_earlier_order_works_with_a_warning(truths, arguments):
    detector = Detector(truths)
    with pytest.warns(DeprecationWarning, match='label_names is the fourth argument'):
        evaluator = evaluator_of(examples_of(truths), detector, *arguments)
    expected = evaluator_of(examples_of(truths), detector, len(arguments) == 2, LABEL_NAMES)
    np.testing.assert_equal(evaluator(), expected())


def test_other_numbers_of_columns_are_refused_before_the_second_batch(truths):
    examples = [(*example, [0]) for example in examples_of(truths)]
    detector = Detector(truths)
    with pytest.raises(ValueError, match=r'examples have 5 columns: .*\(img, bbox, label, diffi'):
        evaluator_of(examples, detector)()
    assert len(detector.modes) == 1


@pytest.mark.parametrize('kind', ['Multithread', 'Multiprocess'])
@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of fork, and of Chainer's threads
def test_all_iterators_give_the_same_figures_twice(truths, kind):
    detector, examples = Detector(truths), examples_of(truths)
    options = {'repeat': False, 'shuffle': False}
    if kind == 'Multiprocess':
        options.update(n_processes=1, shared_mem=10_000)
    iterator = getattr(chainer.iterators, f'{kind}Iterator')(examples, 2, **options)
    evaluator = DetectionEvaluator(iterator, detector, label_names=LABEL_NAMES)
    expected = evaluator_of(examples, detector, label_names=LABEL_NAMES)()
    for _ in range(2):
        np.testing.assert_equal(evaluator(), expected)
    iterator.finalize()


def test_an_iterator_without_reset_is_copied(truths):
    class Once(chainer.dataset.Iterator):
        def __init__(self, examples):
            self.batches = [examples[:2], examples[2:]]

        def __next__(self):
            if not self.batches:
                raise StopIteration
            batch, self.batches = self.batches[0], self.batches[1:]
            return batch

    evaluator = DetectionEvaluator(Once(examples_of(truths)), Detector(truths))
    assert evaluator() == evaluator() and evaluator()['main/map'] > 0


@pytest.mark.parametrize('size', [1, 2, 3])
@pytest.mark.parametrize('only_rank_0', [False, True])
def test_all_ranks_report_the_figures_of_one_process(truths, size, only_rank_0):
    detector, examples = Detector(truths), examples_of(truths)
    expected = evaluator_of(examples, detector, True, LABEL_NAMES).evaluate

    def report(comm):
        iterator = chainer.iterators.SerialIterator(examples, 2, repeat=False, shuffle=False)
        if only_rank_0 and comm.rank:
            iterator = None
        evaluator = DetectionEvaluator(iterator, detector, True, LABEL_NAMES, comm)
        return observe(evaluator.evaluate, detector)

    for found in run_ranks(size, report):
        np.testing.assert_equal(found, observe(expected, detector))


def observe(evaluate, target):
    reporter = chainer.Reporter()  # threads share no reporter
    reporter.add_observer('main', target)
    with reporter:
        return evaluate()


def test_an_error_of_rank_0_reaches_all_ranks(truths):
    def work(comm):
        evaluator = DetectionEvaluator(
            chainer.iterators.SerialIterator(examples_of(truths), 2, repeat=False),
            Detector(truths),
            label_names=['cat'],
            comm=comm,
        )
        with pytest.raises(RuntimeError, match='rank 0: ValueError: label 1 occurs'):
            evaluator.evaluate()
        return 'raised'

    assert run_ranks(2, work) == ['raised'] * 2


def test_rank_0_needs_an_iterator(truths):
    class Communicator:
        rank, size = 0, 2

    with pytest.raises(ValueError, match='iterator is None: expected .* on rank 0'):
        DetectionEvaluator(None, Detector(truths), comm=Communicator())


@pytest.mark.parametrize('all_difficult', [False, True])
def test_a_test_set_without_objects_that_count_warns_once(all_difficult):
    truths = [
        (
            boxes(int(all_difficult)),
            np.zeros(int(all_difficult), 'i'),
            np.ones(int(all_difficult), bool),
        )
    ]
    evaluator = evaluator_of(examples_of(truths, 3), Detector(truths))
    with pytest.warns(UserWarning, match='map is NaN: none of 1 images has a ground truth that c'):
        assert np.isnan(evaluator()['main/map'])
    assert np.isnan(evaluator()['main/map'])


def test_detections_that_are_nan_are_an_error(truths):
    detector = Detector(truths)
    detector.detections[2][2][1] = np.nan
    with pytest.raises(ValueError, match=r'pred_scores\[2\]\[1\] = nan: expected a finite number'):
        evaluator_of(examples_of(truths), detector)()


def test_keys_of_odd_names_are_printable_and_bounded(truths):
    names = ['a/b', 'x' * 100_000, 'x' * 99_999, 'cat\n\x1b[31m', '螺栓', 'a$b']
    evaluator = evaluator_of(examples_of(truths), Detector(truths), label_names=names)
    keys = [key for key in evaluator() if '/ap/' in key]
    assert keys == [f'main/ap/{key}' for key in evaluator.class_keys]
    assert len(set(keys)) == len(names) and all(key.isprintable() for key in keys)
    assert max(map(len, keys)) <= 108
    assert evaluator.class_keys[0] == 'a/b' and evaluator.class_keys[3:] == (
        'cat\\n\\x1b[31m',
        '螺栓',
        'a$b',
    )
    assert evaluator.class_keys[1].endswith('x... (1)')


def test_an_escaped_name_does_not_take_the_key_of_another(truths):
    names = ['a\n', 'a\\n', 'a\\n (0)']
    evaluator = evaluator_of(examples_of(truths), Detector(truths), label_names=names)
    assert len(set(evaluator.class_keys)) == 3 and evaluator.class_keys[1:] == tuple(names[1:])


NO_IMAGE = 'DetectionEvaluator: the data set holds no image, so the detector cannot be measured'


def test_a_test_set_without_images_is_an_error():
    with pytest.raises(ValueError, match=NO_IMAGE):
        evaluator_of([], Detector([]))


def test_an_iterator_without_images_is_an_error():
    class EmptyIterator(chainer.dataset.Iterator):
        def __next__(self):
            raise StopIteration

    evaluator = DetectionEvaluator(EmptyIterator(), Detector([]))
    with pytest.raises(ValueError, match=NO_IMAGE):
        evaluator()


@pytest.mark.parametrize('is_sent', [False, True])
def test_a_test_set_without_images_is_an_error_on_every_rank(is_sent):
    def work(comm):
        iterator = chainer.iterators.SerialIterator([], 1, repeat=False, shuffle=False)
        iterator = None if is_sent and comm.rank else iterator
        DetectionEvaluator(iterator, Detector([]), comm=comm)()

    for error in run_ranks(3, work):
        assert isinstance(error, ValueError) and NO_IMAGE in str(error)


@pytest.mark.parametrize('is_sent', [False, True])
def test_more_ranks_than_images_is_legal(truths, is_sent):
    def work(comm):
        iterator = chainer.iterators.SerialIterator(
            examples_of(truths[:1]), 1, repeat=False, shuffle=False
        )
        iterator = None if is_sent and comm.rank else iterator
        return DetectionEvaluator(iterator, detector, comm=comm)()['main/map']

    detector = Detector(truths)
    assert run_ranks(3, work) == [evaluator_of(examples_of(truths[:1]), detector)()['main/map']] * 3
