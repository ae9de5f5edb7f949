"""Snapshots of one process. Tests with killed ranks: tests/distributed."""

import errno
import gc
import json
import os
import random
import resource
import stat
import warnings

import chainer
import numpy as np
import pytest

from chainer_ssd import Snapshot
from chainer_ssd.runtime import newest_snapshot, remove_snapshots, snapshot_files
from tests.distributed.threads import run_ranks


class NoisyChain(chainer.Chain):
    """Chain with a loss that depends on both global random states."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.linear = chainer.links.Linear(3, 1)

    def forward(self, x):
        return chainer.functions.sum(chainer.functions.dropout(self.linear(x))) * random.gauss(1, 1)


def trainer_of(out, iterations=9, snapshot=None, n_unit=1):
    np.random.seed(0)
    random.seed(0)
    model = NoisyChain()
    if n_unit != 1:
        model.linear = chainer.links.Linear(3, n_unit)
    data = np.random.RandomState(0).normal(size=(5, 3)).astype('f')
    iterator = chainer.iterators.SerialIterator(data, 2)
    optimizer = chainer.optimizers.Adam().setup(model)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    trainer = chainer.training.Trainer(updater, (iterations, 'iteration'), out)
    trainer.extend(chainer.training.extensions.LogReport(trigger=(2, 'iteration')))
    if snapshot is not None:
        trainer.extend(snapshot, trigger=(2, 'iteration'))
    return trainer


def weights(trainer):
    return trainer.updater.get_optimizer('main').target.linear.W.array.tobytes()


def save_run(folder, n_retained=3):
    trainer_of(folder, 8, Snapshot(folder, n_retained=n_retained)).run()
    return folder


def iterations(folder):
    return sorted(
        json.loads(path.read_text())['facts']['iteration'] for path in folder.glob('*.json')
    )


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    whole = trainer_of(tmp_path / 'whole')
    whole.run()
    save_run(tmp_path)
    resumed = trainer_of(tmp_path, snapshot=Snapshot(tmp_path))
    random.seed(1)
    np.random.seed(1)
    assert Snapshot(tmp_path).resume(resumed) == 8
    resumed.run()
    assert weights(resumed) == weights(whole)
    log = [entry['iteration'] for entry in json.loads((tmp_path / 'log').read_text())]
    assert log == [2, 4, 6, 8]


@pytest.mark.parametrize(('n_retained', 'kept'), [(1, [8]), (3, [4, 6, 8]), (9, [2, 4, 6, 8])])
def test_the_last_generations_are_kept(tmp_path, n_retained, kept):
    assert iterations(save_run(tmp_path, n_retained)) == kept
    assert len(list(tmp_path.glob('*.npz'))) == len(kept) and not list(tmp_path.glob('*.tmp'))


def test_nothing_is_pickled(tmp_path):
    for path in save_run(tmp_path).glob('*.npz'):
        with np.load(path, allow_pickle=False) as npz:
            assert all(npz[name].dtype != object for name in npz.files)


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        (lambda npz, record: npz.write_bytes(npz.read_bytes()[:-1]), 'is damaged: its checksum'),
        (
            lambda npz, record: npz.write_bytes(npz.read_bytes()[:-1] + b'x'),
            'is damaged: its checksum',
        ),
        (lambda npz, record: npz.unlink(), 'No such file'),
        (lambda npz, record: record.unlink(), 'No such file'),
        (
            lambda npz, record: record.write_text(record.read_text()[:-30]),
            'json: not a well-formed JSON file',
        ),
        (lambda npz, record: record.write_text('[]'), 'json: expected the record of a snapshot'),
        (lambda npz, record: record.write_text('{}'), 'json: expected the record of a snapshot'),
        (
            lambda npz, record: record.write_text(
                record.read_text().replace('"iteration": 8', '"iteration": 9')
            ),
            'json is damaged: its checksum differs',
        ),
        (
            lambda npz, record: [
                os.replace(str(path).replace('00000008', '00000006'), path)
                for path in (npz, record)
            ],
            'json was renamed: it is of iteration 6 and rank 0',
        ),
        (lambda npz, record: (npz.unlink(), os.mkfifo(npz)), 'expected a regular file'),
        (lambda npz, record: (record.unlink(), os.mkfifo(record)), 'expected a regular file'),
    ],
)
def test_a_damaged_generation_is_skipped_with_a_warning(tmp_path, damage, reason):
    newest = save_run(tmp_path) / 'snapshot_00000008_rank0.npz'
    damage(newest, newest.with_suffix('.json'))
    trainer = trainer_of(tmp_path)
    with pytest.warns(UserWarning, match=f'snapshot of iteration 8 skipped: rank 0: .*{reason}'):
        assert Snapshot(tmp_path).resume(trainer) in (4, 6)
    assert trainer.updater.iteration in (4, 6)


def test_generations_of_an_abandoned_run_are_deleted(tmp_path):
    save_run(tmp_path)
    trainer_of(tmp_path, 4, Snapshot(tmp_path)).run()
    assert iterations(tmp_path) == [2, 4]


def test_without_a_generation_the_trainer_is_not_changed(tmp_path):
    trainer = trainer_of(tmp_path)
    before = weights(trainer)
    assert Snapshot(tmp_path / 'nowhere').resume(trainer) is None
    assert weights(trainer) == before and trainer.updater.iteration == 0


def test_a_generation_of_another_training_is_refused(tmp_path):
    save_run(tmp_path)
    # Chainer's set of parameters has no order: either of the two is named.
    message = (
        r'rank 0: .*linear/(b has shape \(1,\): expected \(2,\)|'
        r'W has shape \(1, 3\): expected \(2, 3\))'
    )
    with pytest.raises(RuntimeError, match=message):
        Snapshot(tmp_path).resume(trainer_of(tmp_path, n_unit=2))


def test_a_generation_of_another_number_of_ranks_is_refused(tmp_path):
    snapshot = Snapshot(tmp_path)
    snapshot.size = 4
    trainer_of(tmp_path, 8, snapshot).run()
    with pytest.raises(RuntimeError, match='was saved by 4 ranks: expected 1'):
        Snapshot(tmp_path).resume(trainer_of(tmp_path))


def test_another_number_of_training_examples_is_named(tmp_path):
    trainer_of(tmp_path, 8, Snapshot(tmp_path)).run()
    trainer = trainer_of(tmp_path)
    trainer.updater.get_iterator('main').__init__(np.zeros((7, 3), 'f'), 2)
    with pytest.raises(RuntimeError, match='made with 5 training examples: expected 7'):
        Snapshot(tmp_path).resume(trainer)


@pytest.mark.parametrize('suffix', ['json', 'npz'])
def test_no_flipped_bit_is_loaded_and_none_hides_the_older_generation(tmp_path, suffix):
    save_run(tmp_path)
    path = tmp_path / f'snapshot_00000008_rank0.{suffix}'
    content = path.read_bytes()
    step = 1 if suffix == 'json' else 101
    for i in range(0, len(content), step):
        changed = bytearray(content)
        changed[i] ^= 1 << i % 8
        path.write_bytes(changed)
        trainer = trainer_of(tmp_path)
        # A changed space or letter case may leave the JSON equal. Then its facts are equal, too.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            resumed = Snapshot(tmp_path).resume(trainer)
        assert resumed == (6 if caught else 8), i
        assert suffix == 'json' or caught


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(RuntimeError, match='rank 0: (FileExistsError|NotADirectoryError): .*file'):
        trainer_of(tmp_path, 8, Snapshot(tmp_path / 'file')).run(show_loop_exception_msg=False)


def test_a_folder_that_cannot_be_written_is_an_error_before_the_training(tmp_path):
    (tmp_path / 'file').write_text('')
    trainer = trainer_of(tmp_path, 8, Snapshot(tmp_path / 'file'))
    with pytest.raises(RuntimeError, match='rank 0: '):
        trainer.run(show_loop_exception_msg=False)
    assert trainer.updater.iteration == 0


@pytest.mark.filterwarnings('ignore:.*ZipFile:pytest.PytestUnraisableExceptionWarning')
def test_a_full_disk_is_named_and_leaves_the_older_generation(tmp_path):
    trainer_of(tmp_path, 2, Snapshot(tmp_path)).run()
    trainer = trainer_of(tmp_path, 4, Snapshot(tmp_path))
    assert Snapshot(tmp_path).resume(trainer) == 2
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (4000, hard)
    )  # instead of a full disk: EFBIG, not ENOSPC
    try:
        with pytest.raises(RuntimeError, match=r'rank 0: OSError: .*00000004_rank0\.npz'):
            trainer.run(show_loop_exception_msg=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    gc.collect()  # an older NumPy leaves its archive open
    assert sorted(path.name for path in tmp_path.glob('snapshot_*')) == [
        'snapshot_00000002_rank0.json',
        'snapshot_00000002_rank0.npz',
    ]
    assert Snapshot(tmp_path).resume(trainer_of(tmp_path)) == 2


def test_a_file_system_that_cannot_flush_a_folder_is_accepted(tmp_path, monkeypatch):
    fsync = os.fsync

    def fsync_of_files(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, 'Invalid argument')
        fsync(file)

    monkeypatch.setattr(os, 'fsync', fsync_of_files)
    assert iterations(save_run(tmp_path)) == [4, 6, 8]


def test_more_ranks_than_before_do_not_start_over(tmp_path):
    save_run(tmp_path)
    for error in run_ranks(2, lambda comm: Snapshot(tmp_path, comm).resume(None)):
        assert isinstance(error, RuntimeError)
        assert 'rank 0: ValueError: ' in str(error) and 'saved by 1 ranks: expected 2' in str(error)


def test_an_error_of_one_rank_in_reading_is_raised_on_all(tmp_path, monkeypatch):
    read = Snapshot._iterations

    def read_on_rank_0(self):
        if self.rank:
            raise PermissionError(errno.EACCES, 'Permission denied', self.folder)
        return read(self)

    monkeypatch.setattr(Snapshot, '_iterations', read_on_rank_0)
    for error in run_ranks(2, lambda comm: Snapshot(tmp_path, comm).resume(None)):
        assert 'rank 1: PermissionError: ' in str(error)


def test_an_error_of_one_rank_in_saving_is_raised_on_all(tmp_path):
    class FailingExtension(chainer.training.Extension):
        def __call__(self, trainer):
            pass

        def serialize(self, serializer):
            raise OverflowError('too much')

    def train(comm):
        trainer = trainer_of(tmp_path, 2, Snapshot(tmp_path, comm))
        if comm.rank:
            trainer.extend(FailingExtension())
        trainer.run(show_loop_exception_msg=False)

    for error in run_ranks(2, train):
        assert str(error) == 'rank 1: OverflowError: too much'
    assert not list(tmp_path.glob('snapshot_*'))


def test_a_wrong_number_is_named(tmp_path):
    with pytest.raises(ValueError, match='n_retained = 0: expected an integer >= 1'):
        Snapshot(tmp_path, n_retained=0)


def test_files_of_all_ranks_are_found(tmp_path):
    assert newest_snapshot(tmp_path / 'nowhere') is None
    assert snapshot_files(tmp_path / 'nowhere') == []
    names = [
        'snapshot_00000004_rank0.json',
        'snapshot_00000004_rank0.npz',
        'snapshot_00000006_rank0.npz',  # without its record it is incomplete
        'snapshot_00000006_rank10.json',
        'snapshot_100000000_rank1.json',
    ]
    others = ['model.npz', 'snapshot_00000008_rank0.json.tmp', 'my_snapshot_00000009_rank0.json']
    for name in names + others:
        (tmp_path / name).touch()
    assert snapshot_files(tmp_path) == [str(tmp_path / name) for name in names]
    assert newest_snapshot(tmp_path) == 4
    assert newest_snapshot(tmp_path, rank=1) == 100_000_000
    assert newest_snapshot(tmp_path, rank=10) == 6
    assert newest_snapshot(tmp_path, rank=2) is None
    remove_snapshots(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_the_newest_snapshot_is_that_of_the_run(tmp_path):
    assert newest_snapshot(save_run(tmp_path)) == 8
