"""The place in the data of a run that resumes on another number of ranks."""

import chainer
import numpy as np
import pytest

from chainer_ssd import RandomTransformDataset, Snapshot
from tests.distributed.threads import run_ranks

N_IMAGE = 31


class Chain(chainer.Chain):
    """Keeps the examples that it is trained on."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.weight = chainer.Parameter(0.0, ())
        self.seen = []

    def forward(self, x):
        self.seen.append(x.tolist())
        return self.weight * 0


def trainer_of(comm, out, iteration, batch_size, order='seeded', iterator='SerialIterator'):
    data = RandomTransformDataset(range(N_IMAGE), lambda x, rng: x, 0, comm.rank, comm.size)
    options = {'order_sampler': data.next_epoch} if order == 'seeded' else {}
    iterator = getattr(chainer.iterators, iterator)(data, batch_size, **options)
    optimizer = chainer.optimizers.SGD().setup(Chain())
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    trainer = chainer.training.Trainer(updater, (iteration, 'iteration'), out)
    trainer.extend(Snapshot(out, comm), trigger=(1, 'iteration'))
    return trainer


def run(out, n_rank, batch_size, iteration, **options):
    """Return the sorted examples of each iteration, from all ranks."""

    def train(comm):
        trainer = trainer_of(comm, out, iteration, batch_size, **options)
        trainer.get_extension('Snapshot').resume(trainer)
        trainer.run(show_loop_exception_msg=False)
        iterator = trainer.updater.get_iterator('main')
        details = iterator.epoch_detail, iterator.previous_epoch_detail, iterator.is_new_epoch
        iterator.finalize()
        return trainer.updater.get_optimizer('main').target.seen, details

    ranks = run_ranks(n_rank, train)
    for result in ranks:
        if isinstance(result, Exception):
            raise result
    seen = [sorted(sum(batches, [])) for batches in zip(*(seen for seen, _ in ranks))]
    return seen, ranks[0][1]


@pytest.mark.filterwarnings('ignore:.* ranks have saved the snapshot')
@pytest.mark.parametrize('stop', [1, 2, 3, 7, 11])
@pytest.mark.parametrize(('before', 'after'), [(1, 2), (2, 1), (2, 3), (3, 4), (4, 2), (6, 4)])
def test_the_order_of_the_examples_continues(tmp_path, before, after, stop):
    expected, _ = run(tmp_path / 'one', 1, 12, 14)
    first, _ = run(tmp_path / 'two', before, 12 // before, stop)
    second, details = run(tmp_path / 'two', after, 12 // after, 14)
    assert first + second == expected
    straight, expected_details = run(tmp_path / 'straight', after, 12 // after, 14)
    assert straight == expected
    np.testing.assert_allclose(details, expected_details, rtol=1e-12)


def test_what_changes_is_named(tmp_path):
    run(tmp_path, 2, 6, 3)
    with pytest.warns(UserWarning) as caught:
        run(tmp_path, 3, 5, 4)
    (text,) = {str(warning.message) for warning in caught}
    assert text == (
        '2 ranks have saved the snapshot, and 3 resume: the batch of all ranks was 2 x 6 images '
        'and is 3 x 5 from here on, with the same learning rate; the random states of Python and '
        'NumPy (dropout) are not carried over'
    )


def test_examples_that_are_left_out_are_named(tmp_path):
    run(tmp_path, 2, 1, 2)  # 4 examples
    with pytest.warns(UserWarning, match='iterator main: 2 examples are left out'):
        seen, _ = run(tmp_path, 3, 1, 4)
    expected, _ = run(tmp_path / 'one', 1, 3, 4)
    assert seen == expected[2:]


def test_an_order_that_is_not_seeded_is_named(tmp_path):
    run(tmp_path, 2, 6, 4, order='shuffled')
    with pytest.warns(UserWarning, match='iterator main: the order of the examples is not carried'):
        seen, (epoch, *_) = run(tmp_path, 3, 4, 5, order='shuffled')
    assert len(seen) == 1 and abs(epoch - 5 * 12 / N_IMAGE) < 0.1


@pytest.mark.filterwarnings('ignore:.* ranks have saved the snapshot')
def test_an_iterator_with_processes_continues(tmp_path):
    expected, _ = run(tmp_path / 'one', 1, 12, 6)
    first, _ = run(tmp_path / 'two', 2, 6, 3)
    second, _ = run(tmp_path / 'two', 1, 12, 6, iterator='MultiprocessIterator')
    assert first + second == expected
