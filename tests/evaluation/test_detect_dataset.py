import chainer
import numpy as np
import pytest

from chainer_ssd.evaluation import detect_batches, detect_dataset, readable_examples
from tests.distributed.threads import run_ranks


class Detector:
    """Detector with one detection per image. The image's first pixel is its score."""

    def __init__(self):
        self.batch_sizes = []

    def predict(self, imgs):
        self.batch_sizes.append(len(imgs))
        scores = [np.array([img[0, 0, 0]], 'f') for img in imgs]
        return [np.ones((1, 4), 'f')] * len(imgs), [np.zeros(1, 'i')] * len(imgs), scores


def data_of(n, *columns):
    return [(np.full((3, 2, 2), i, 'f'), np.full((1, 4), i, 'f'), [i], *columns) for i in range(n)]


@pytest.mark.parametrize('columns', [(), ([True],)])
def test_columns_of_all_images_one_by_one(columns):
    detector = Detector()
    found = detect_dataset(detector, data_of(3, *columns))
    assert len(found) == 5 + len(columns)
    pred_bboxes, _, pred_scores, gt_bboxes, gt_labels = found[:5]
    assert [score.item() for score in pred_scores] == [0, 1, 2]
    assert [bbox[0, 0] for bbox in gt_bboxes] == [0, 1, 2] and gt_labels == ([0], [1], [2])
    assert len(pred_bboxes) == 3 and found[5:] == [(column,) * 3 for column in columns]
    assert detector.batch_sizes == [1] * 3


def test_an_empty_data_set_has_empty_columns():
    assert detect_dataset(Detector(), []) == [()] * 5


@pytest.mark.parametrize('n', [0, 1, 5, 6])
@pytest.mark.parametrize('sent', [False, True])
@pytest.mark.parametrize('size', [1, 2, 3])
def test_ranks_divide_the_images_and_rank_0_has_them_all(size, sent, n):
    data = data_of(n, [True])
    alone = detect_dataset(Detector(), data)
    detectors = [Detector() for _ in range(size)]

    def work(comm):
        own = None if sent and comm.rank else data
        return detect_dataset(detectors[comm.rank], own, comm)

    found = run_ranks(size, work)
    np.testing.assert_equal(found[0], alone)
    assert found[1:] == [None] * (size - 1)
    n_image = [len(range(rank, n, size)) for rank in range(size)]
    assert [detector.batch_sizes for detector in detectors] == [[1] * each for each in n_image]


class Broken(list):
    def __getitem__(self, i):
        if i == 3:
            raise ValueError('JPEGImages/cat.jpg: cannot be read')
        return super().__getitem__(i)


class Failing(Detector):
    def predict(self, imgs):
        if imgs[0][0, 0, 0] == 3:
            raise ValueError('logits are NaN')
        return super().predict(imgs)


@pytest.mark.parametrize('sent', [False, True])
@pytest.mark.parametrize(
    ('detector', 'data', 'message'),
    [
        (Detector(), Broken(data_of(7)), 'rank [01]: ValueError: JPEGImages/cat.jpg: cannot be'),
        (Failing(), data_of(7), 'rank 1: ValueError: logits are NaN'),
    ],
)
def test_an_error_of_one_rank_ends_all(detector, data, message, sent):
    def work(comm):
        with pytest.raises(RuntimeError, match=message):
            detect_dataset(detector, None if sent and comm.rank else data, comm)
        return 'raised'

    assert run_ranks(2, work) == ['raised'] * 2


@pytest.mark.parametrize(
    ('lengths', 'message'),
    [
        ([None, 3], 'dataset is None on rank 0'),
        ([None, None], 'dataset is None on rank 0'),
        ([3, 5], r'the data sets of the ranks have \[3, 5\] examples: expected the same'),
    ],
)
def test_ranks_with_other_data_sets(lengths, message):
    def work(comm):
        length = lengths[comm.rank]
        with pytest.raises(ValueError, match=message):
            detect_dataset(Detector(), None if length is None else data_of(length), comm)
        return 'raised'

    assert run_ranks(2, work) == ['raised'] * 2


@pytest.mark.parametrize('dataset', [iter([]), (each for each in data_of(2)), 3])
def test_a_data_set_must_be_a_sequence(dataset):
    with pytest.raises(TypeError, match='dataset is of type .*: expected a data set'):
        detect_dataset(Detector(), dataset)


def test_no_data_set_without_a_communicator():
    with pytest.raises(ValueError, match='dataset is None'):
        detect_dataset(Detector(), None)


@pytest.mark.parametrize(
    ('examples', 'message'),
    [
        ([np.zeros((3, 2, 2), 'f')], r'an example is a ndarray: expected \(img, bbox, label\)'),
        ([(np.zeros((3, 2, 2), 'f'), [])], r'an example is a tuple of 2: expected'),
        ([*data_of(1), *data_of(1, [True])], 'a batch has examples of 3 and of 4 columns'),
    ],
)
def test_bad_examples(examples, message):
    with pytest.raises(ValueError, match=message):
        list(detect_batches(Detector(), [examples]))


@pytest.mark.parametrize(
    'result', [([], [], []), ([1], [1]), ([1, 2], [1], [1]), ([1], [1], [1], [1])]
)
def test_a_model_must_return_one_result_per_image(result):
    class Model:
        def predict(self, imgs):
            return result

    with pytest.raises(ValueError, match='Model.predict returned . lists of lengths .* for 1 im'):
        detect_dataset(Model(), data_of(1))


def make_iterator(kind, data, **options):
    if kind == 'serial':
        return chainer.iterators.SerialIterator(data, 2, shuffle=False, **options)
    if kind == 'multithread':
        return chainer.iterators.MultithreadIterator(data, 2, shuffle=False, **options)
    return chainer.iterators.MultiprocessIterator(
        data, 2, shuffle=False, n_processes=1, shared_mem=10_000, **options
    )


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of fork, and of Chainer's threads
@pytest.mark.parametrize('kind', ['serial', 'multithread', 'multiprocess'])
def test_a_repeating_iterator_is_refused_before_the_first_prediction(kind):
    detector = Detector()
    iterator = make_iterator(kind, data_of(5))
    with pytest.raises(ValueError, match='batches: the iterator repeats .* repeat=False'):
        next(detect_batches(detector, iterator))
    assert not detector.batch_sizes
    iterator.finalize()
    iterator = make_iterator(kind, data_of(5), repeat=False)
    assert len(list(detect_batches(detector, iterator))) == 5
    iterator.finalize()


def test_an_iterator_that_repeats_without_its_attribute_is_noticed():
    class Repeating(chainer.dataset.Iterator):
        epoch = 0

        def __next__(self):
            self.epoch += 1
            return data_of(2)

    with pytest.raises(ValueError, match='the iterator repeats'):
        list(detect_batches(Detector(), Repeating()))


def test_an_empty_batch_has_no_images():
    assert list(detect_batches(Detector(), [[], data_of(1), []]))


def test_batches_stay_together():
    detector, data = Detector(), data_of(5)
    images = list(detect_batches(detector, [data[:2], data[2:]]))
    assert detector.batch_sizes == [2, 3]
    assert [score.item() for _, _, score, _, _ in images] == [0, 1, 2, 3, 4]


def test_readable_examples_are_batches_of_one():
    data, unreadable = Broken(data_of(6)), []
    batches = list(readable_examples(data, lambda i, error: unreadable.append((i, str(error)))))
    assert [batch[0][2] for batch in batches] == [[0], [1], [2], [4], [5]]
    assert unreadable == [(3, 'JPEGImages/cat.jpg: cannot be read')]
    with pytest.raises(TypeError, match='dataset is of type'):
        list(readable_examples(iter(data), print))


def test_other_errors_of_a_data_set_are_not_hidden():
    class Faulty(list):
        def __getitem__(self, i):
            raise KeyError('a fault of the program')

    with pytest.raises(KeyError):
        list(readable_examples(Faulty([1]), lambda i, error: None))
