"""Snapshots of one process. Tests with killed ranks: tests/distributed."""

import errno
import gc
import json
import os
import random
import resource
import shutil
import stat
import warnings

import chainer
import numpy as np
import pytest

from chainer_ssd import Snapshot
from chainer_ssd.runtime import newest_snapshot, remove_snapshots, snapshot_files
from chainer_ssd.runtime.snapshot import load
from chainer_ssd.runtime.snapshot import snapshot as module
from chainer_ssd.runtime.snapshot.record import write_record
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
        json.loads(path.read_text())['iteration'] for path in folder.glob('*_committed.json')
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
                shutil.copy(str(path).replace('00000008', '00000006'), path)
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
        'snapshot_00000002_committed.json',
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


def test_an_error_of_one_rank_in_reading_is_raised_on_all(tmp_path, monkeypatch):
    read = load.find_snapshot_files

    def read_on_rank_0(folder):
        if folder.endswith('rank1'):
            raise PermissionError(errno.EACCES, 'Permission denied', folder)
        return read(folder)

    monkeypatch.setattr(load, 'find_snapshot_files', read_on_rank_0)
    for error in run_ranks(2, lambda comm: own_snapshot(tmp_path, comm).resume(None)):
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
        'snapshot_00000004_committed.json',
        'snapshot_00000004_rank0.json',
        'snapshot_00000004_rank0.npz',
        'snapshot_00000006_rank0.json',  # without a commit it is incomplete
        'snapshot_00000006_rank0.npz',
        'snapshot_100000000_rank1.json',
    ]
    others = ['model.npz', 'snapshot_00000008_rank0.json.tmp', 'my_snapshot_00000009_rank0.json']
    for name in names + others:
        (tmp_path / name).touch()
    assert snapshot_files(tmp_path) == [str(tmp_path / name) for name in names]
    assert newest_snapshot(tmp_path) == 4
    (tmp_path / 'snapshot_00000005_rank1_committed.json').touch()
    assert newest_snapshot(tmp_path) == 5
    remove_snapshots(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_the_newest_snapshot_is_that_of_the_run(tmp_path):
    assert newest_snapshot(save_run(tmp_path)) == 8


def own_snapshot(folder, comm, **options):
    """A snapshot on a local disk of each rank."""
    return Snapshot(folder / f'rank{comm.rank}', comm, **options)


def save_on_ranks(folder, n_rank=3, shared=False):
    def train(comm):
        snapshot = Snapshot(folder, comm) if shared else own_snapshot(folder, comm)
        trainer_of(folder / f'out{comm.rank}', 6, snapshot).run(show_loop_exception_msg=False)

    assert run_ranks(n_rank, train) == [None] * n_rank


def resume_on_ranks(folder, n_rank=3, shared=False):
    def resume(comm):
        snapshot = Snapshot(folder, comm) if shared else own_snapshot(folder, comm)
        trainer = trainer_of(folder / f'out{comm.rank}', 12, snapshot)
        iteration = snapshot.resume(trainer)
        trainer.run(show_loop_exception_msg=False)
        return iteration

    return run_ranks(n_rank, resume)


@pytest.mark.parametrize('lost', [0, 1, 2])
def test_a_lost_folder_of_one_rank_is_refused_and_nothing_is_deleted(tmp_path, lost):
    save_on_ranks(tmp_path)
    shutil.rmtree(tmp_path / f'rank{lost}')
    before = sorted(tmp_path.rglob('snapshot_*'))
    for error in resume_on_ranks(tmp_path):
        assert isinstance(error, RuntimeError)
        assert 'the snapshot of iteration 6 was complete' in str(error)
        assert f'rank {lost}: ' in str(error) and '_rank' in str(error)
        assert 'Expected the files of all 3 ranks' in str(error)
    assert sorted(tmp_path.rglob('snapshot_*')) == before


@pytest.mark.parametrize('suffix', ['json', 'npz'])
@pytest.mark.parametrize('shared', [False, True])
def test_a_missing_file_of_a_committed_generation_is_refused(tmp_path, suffix, shared):
    save_on_ranks(tmp_path, shared=shared)
    (missing,) = tmp_path.rglob(f'snapshot_00000006_rank1.{suffix}')
    missing.unlink()
    for error in resume_on_ranks(tmp_path, shared=shared):
        assert f'rank 1: {missing} is missing' in str(error)


@pytest.mark.parametrize('moment', ['all files', 'two ranks', 'arrays of one rank'])
def test_a_generation_that_was_not_committed_is_passed_over_and_kept(tmp_path, moment):
    save_on_ranks(tmp_path)
    for path in tmp_path.rglob('snapshot_00000006*_committed.json'):
        path.unlink()
    if moment != 'all files':
        for path in tmp_path.rglob('snapshot_00000006_rank0.*'):
            path.unlink()
    if moment == 'arrays of one rank':
        for path in tmp_path.rglob('snapshot_00000006_rank1.*'):
            path.unlink()
        (tmp_path / 'rank2/snapshot_00000006_rank2.json').unlink()
    before = {path: path.read_bytes() for path in tmp_path.rglob('snapshot_00000006*')}

    def resume(comm):
        trainer = trainer_of(tmp_path, 5)
        snapshot = own_snapshot(tmp_path, comm, n_retained=1)
        iteration = snapshot.resume(trainer)
        trainer.extend(snapshot, trigger=(1, 'iteration'))
        trainer.run(show_loop_exception_msg=False)
        return iteration

    with pytest.warns(UserWarning, match='snapshot of iteration 6 skipped: not all ranks had'):
        assert run_ranks(3, resume) == [4, 4, 4]
    assert {path: path.read_bytes() for path in tmp_path.rglob('snapshot_00000006*')} == before
    assert iterations(tmp_path / 'rank0') == [5]


def test_a_damaged_generation_is_kept_until_it_is_written_again(tmp_path):
    save_run(tmp_path)
    damaged = tmp_path / 'snapshot_00000008_rank0.npz'
    damaged.write_bytes(b'')
    snapshot = Snapshot(tmp_path, n_retained=1)
    trainer = trainer_of(tmp_path, 7)
    with pytest.warns(UserWarning, match='snapshot of iteration 8 skipped'):
        assert snapshot.resume(trainer) == 6
    trainer.extend(snapshot, trigger=(1, 'iteration'))
    trainer.run()
    assert damaged.read_bytes() == b'' and iterations(tmp_path) == [7, 8]
    trainer = trainer_of(tmp_path, 9, snapshot)
    with pytest.warns(UserWarning, match='snapshot of iteration 8 skipped'):
        assert snapshot.resume(trainer) == 7
    trainer.run()
    assert damaged.read_bytes() and iterations(tmp_path) == [8]


def test_a_generation_that_is_written_again_is_not_complete_before(tmp_path, monkeypatch):
    # Rank 0 has written the new file, and rank 1 still has the one of the first attempt.
    save_on_ranks(tmp_path, 2)
    write = module.write_record

    def write_on_rank_0(path, *args, **facts):
        if path.endswith('rank1'):
            raise OSError('killed')
        return write(path, *args, **facts)

    monkeypatch.setattr(module, 'write_record', write_on_rank_0)
    (tmp_path / 'rank0/snapshot_00000006_rank0.npz').write_bytes(b'')
    with pytest.warns(UserWarning, match='iteration 6 skipped: rank 0: .*is damaged'):
        for error in resume_on_ranks(tmp_path, 2):
            assert str(error) == 'rank 1: OSError: killed'
    monkeypatch.undo()
    with pytest.warns(UserWarning, match='snapshot of iteration 6 skipped: not all ranks had'):
        assert resume_on_ranks(tmp_path, 2) == [4, 4]


def test_files_of_two_runs_do_not_mix(tmp_path):
    save_on_ranks(tmp_path / 'a', 2)
    save_on_ranks(tmp_path / 'b', 2)
    for suffix in ('json', 'npz'):
        name = f'rank1/snapshot_00000006_rank1.{suffix}'
        shutil.copy(tmp_path / 'b' / name, tmp_path / 'a' / name)
    record = tmp_path / 'a/rank1/snapshot_00000006_rank1'
    write_record(str(record), {'x': np.arange(3)}, iteration=6, rank=1, size=2, from_rank_0=[])
    with pytest.warns(UserWarning, match='rank 1: .*is of another run'):
        assert resume_on_ranks(tmp_path / 'a', 2) == [4, 4]


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'not a well-formed JSON file'),
        (b'[]', 'is damaged'),
        (b'{"iteration": 8, "records": [3], "sha256": "0"}', 'is damaged'),
    ],
)
def test_a_damaged_commit_is_skipped_with_a_warning(tmp_path, content, reason):
    (save_run(tmp_path) / 'snapshot_00000008_committed.json').write_bytes(content)
    with pytest.warns(
        UserWarning, match=f'iteration 8 skipped: rank 0: .*committed.json.*{reason}'
    ):
        assert Snapshot(tmp_path).resume(trainer_of(tmp_path)) == 6


def test_a_run_does_not_start_over_if_no_committed_generation_can_be_read(tmp_path):
    for path in save_run(tmp_path).glob('*.npz'):
        path.write_bytes(b'')
    with (
        pytest.warns(UserWarning, match='skipped'),
        pytest.raises(RuntimeError, match='no committed snapshot can be read'),
    ):
        Snapshot(tmp_path).resume(trainer_of(tmp_path))
