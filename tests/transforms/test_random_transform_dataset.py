import pickle

import chainer
import pytest

from chainer_ssd import RandomTransformDataset
from chainer_ssd.transforms import FixedEpoch


def draw(example, random):
    return example, random.integers(1 << 60)


def dataset_of(n=10, **kwargs):
    return RandomTransformDataset(list(range(n)), draw, **kwargs)


def batches(dataset, batchsize, n):
    iterator = chainer.iterators.SerialIterator(
        dataset, batchsize, order_sampler=dataset.next_epoch
    )
    return [iterator.next() for _ in range(n)]


def test_each_epoch_has_each_example_once_in_a_new_order():
    epochs = [[example for example, _ in batch] for batch in batches(dataset_of(), 10, 5)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_random_numbers_differ_between_epochs_and_examples():
    drawn = [number for batch in batches(dataset_of(), 10, 5) for _, number in batch]
    assert len(set(drawn)) == 50


def test_an_item_depends_on_seed_and_index_only():
    dataset = dataset_of(seed=3)
    stream = range(10, 40)
    items = [dataset[i] for i in stream]
    again = pickle.loads(pickle.dumps(dataset_of(seed=3)))
    assert [again[i] for i in reversed(stream)] == items[::-1]
    assert [dataset_of(seed=4)[i] for i in stream] != items


#: Iterators as a script writes them, without an ``order_sampler``.
PLAIN_ITERATORS = {
    'serial': lambda dataset: chainer.iterators.SerialIterator(dataset, 4),
    'in order': lambda dataset: chainer.iterators.SerialIterator(dataset, 4, shuffle=False),
    'thread': lambda dataset: chainer.iterators.MultithreadIterator(dataset, 4, n_threads=2),
    'process': lambda dataset: chainer.iterators.MultiprocessIterator(dataset, 4, n_processes=2),
}
WRAPPERS = {
    'alone': lambda dataset: dataset,
    'TransformDataset': lambda dataset: chainer.datasets.TransformDataset(dataset, tuple),
    'SubDataset': lambda dataset: chainer.datasets.SubDataset(dataset, 0, 8),
    'split': lambda dataset: chainer.datasets.split_dataset_random(dataset, 8, seed=0)[0],
    'concatenated': lambda dataset: chainer.datasets.ConcatenatedDataset(dataset, dataset),
}


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # Chainer forks
@pytest.mark.parametrize('make', PLAIN_ITERATORS.values(), ids=PLAIN_ITERATORS)
@pytest.mark.parametrize('wrap', WRAPPERS.values(), ids=WRAPPERS)
def test_a_plain_iterator_never_gives_the_same_result_twice(make, wrap):
    wrapped = wrap(dataset_of(12))
    iterator = make(wrapped)
    seen = [item for _ in range(6 * len(wrapped) // 4) for item in iterator.next()]
    iterator.finalize()
    assert len({number for _, number in seen}) == len(seen)


def test_a_plain_iterator_gives_each_example_once_an_epoch():
    iterator = chainer.iterators.SerialIterator(dataset_of(), 10)
    for _ in range(3):
        assert sorted(j for j, _ in iterator.next()) == list(range(10))


def test_a_rank_with_a_plain_iterator_sees_all_images():
    iterator = chainer.iterators.SerialIterator(dataset_of(12, rank=1, size=3), 4)
    assert {j for _ in range(100) for j, _ in iterator.next()} == set(range(12))


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # Chainer calls setDaemon and forks
@pytest.mark.parametrize(
    'make',
    [
        lambda dataset: chainer.iterators.SerialIterator(
            dataset, 3, order_sampler=dataset.next_epoch
        ),
        lambda dataset: chainer.iterators.MultithreadIterator(
            dataset, 3, n_threads=2, order_sampler=dataset.next_epoch
        ),
        lambda dataset: chainer.iterators.MultiprocessIterator(
            dataset, 3, n_processes=2, order_sampler=dataset.next_epoch
        ),
    ],
    ids=['serial', 'thread', 'process'],
)
def test_a_resumed_iterator_gives_the_same_batches(make, tmp_path):
    expected = batches(dataset_of(), 3, 12)
    iterator = make(dataset_of())
    assert [iterator.next() for _ in range(5)] == expected[:5]
    chainer.serializers.save_npz(tmp_path / 'state.npz', iterator)
    iterator.finalize()
    resumed = make(dataset_of())
    chainer.serializers.load_npz(tmp_path / 'state.npz', resumed)
    assert [resumed.next() for _ in range(7)] == expected[5:]
    resumed.finalize()


@pytest.mark.parametrize('size', [2, 3])
def test_all_ranks_together_see_the_batches_of_one_process(size):
    whole = batches(dataset_of(12), 2 * size, 6)
    ranks = [batches(dataset_of(12, rank=rank, size=size), 2, 6) for rank in range(size)]
    for i, batch in enumerate(whole):
        assert sorted(batch) == sorted(item for rank in ranks for item in rank[i])


@pytest.mark.parametrize(('n', 'size', 'batchsize'), [(11, 2, 2), (11, 3, 1), (7, 4, 2)])
def test_ranks_see_every_image_once_an_epoch_in_equal_batches(n, size, batchsize):
    ranks = [batches(dataset_of(n, rank=rank, size=size), batchsize, 4 * n) for rank in range(size)]
    whole = batches(dataset_of(n), batchsize * size, 4 * n)
    stream = []
    for i, batch in enumerate(whole):
        parts = [rank[i] for rank in ranks]
        assert {len(part) for part in parts} == {batchsize}
        assert sorted(batch) == sorted(item for part in parts for item in part)
        stream += [part[k] for k in range(batchsize) for part in parts]
    for epoch in range(4):
        assert sorted(j for j, _ in stream[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_ranks_have_equal_numbers_of_items_if_the_total_is_not_divisible():
    parts = [dataset_of(11, rank=rank, size=3) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3]
    seen = [part[3 + i][0] for part in parts for i in range(3)]
    assert len(set(seen)) == 9


@pytest.mark.parametrize(
    'arguments, error, message',
    [
        ({'n': 1, 'size': 2}, ValueError, 'dataset holds 1 items: expected 2 or more'),
        ({'n': 0}, ValueError, 'dataset holds 0 items'),
        ({'rank': 2, 'size': 2}, ValueError, 'rank = 2: expected an integer from 0 to 1'),
        ({'rank': -1}, ValueError, 'rank = -1: expected an integer from 0 to 0'),
        ({'size': 0}, ValueError, 'size = 0: expected an integer >= 1'),
        ({'seed': -1}, ValueError, 'seed = -1: expected an integer >= 0'),
        ({'seed': 1.5}, TypeError, 'seed = 1.5: expected an integer >= 0'),
    ],
)
def test_error_names_the_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        dataset_of(**arguments)


@pytest.mark.parametrize(
    'dataset, transform, message',
    [
        (None, draw, 'dataset = None: expected a sequence of examples'),
        ({1, 2}, draw, 'dataset = .1, 2.: expected a sequence of examples'),
        ([1, 2], None, 'transform = None: expected a callable'),
        ([1, 2], 'flip', "transform = 'flip': expected a callable"),
    ],
)
def test_a_wrong_data_set_or_transform_is_named(dataset, transform, message):
    with pytest.raises(TypeError, match=message):
        RandomTransformDataset(dataset, transform)


def test_a_fixed_epoch_is_the_first_one_of_the_stream():
    data = chainer.datasets.TransformDataset(dataset_of(), tuple)
    fixed = FixedEpoch(data)
    items = [fixed[i] for i in range(10)]
    assert items == [fixed[i] for i in range(10)] == batches(dataset_of(), 10, 1)[0]
    assert len(fixed) == 10 and fixed[-1] == items[-1]
    with pytest.raises(IndexError):
        fixed[10]
