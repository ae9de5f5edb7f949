"""chainer-ssd train after a stop: Ctrl-C, --resume, and a folder that holds a training."""

import contextlib
import json
import os
import shutil

import pytest

from chainer_ssd.runtime import newest_snapshot, snapshot_files
from tests.cli.command import COMMAND, TINY, interrupt

TRAIN = [*COMMAND, 'train']


@pytest.mark.parametrize('workers', [0, 2])
def test_ctrl_c_ends_in_one_line_that_tells_how_to_resume(voc_root, tmp_path, workers):
    command = [
        *TRAIN,
        '--dataset',
        'voc',
        '--root',
        voc_root,
        *TINY[:4],
        '--iteration',
        100000,
        '--snapshot-interval',
        5,
        '--workers',
        workers,
        '--out',
        tmp_path,
    ]
    status, _, errors, seconds = interrupt(command, tmp_path / 'snapshot_00000005_rank0.json')
    assert status == 130 and seconds < 30
    start = 'chainer-ssd train: interrupted after iteration '
    assert errors.startswith(start) and errors.count('\n') == 1
    done, go_on = errors[len(start) :].split('; ')
    newest = newest_snapshot(tmp_path)
    assert go_on == f'--resume auto goes on after iteration {newest}\n'
    assert 5 <= newest <= int(done)


def test_ctrl_c_before_the_first_snapshot(voc_root, tmp_path):
    command = [
        *TRAIN,
        '--dataset',
        'voc',
        '--root',
        voc_root,
        *TINY[:4],
        '--iteration',
        200,
        '--workers',
        0,
        '--out',
        tmp_path,
    ]
    status, _, errors, _ = interrupt(command, tmp_path / 'log')
    assert status == 130 and errors.count('\n') == 1, errors
    assert errors.startswith('chainer-ssd train: interrupted after iteration ')
    assert errors.endswith('; no snapshot was written yet (--snapshot-interval)\n')


@pytest.fixture
def again(finished_run, voc_root, tmp_path, run_in_process):
    """A function that trains in a copy of the folder of a finished training, and the folder."""
    shutil.copytree(finished_run[0], tmp_path / 'out')

    def train(*args, root=voc_root):
        command = [
            '--dataset',
            'voc',
            '--root',
            root,
            *TINY,
            '--workers',
            '0',
            '--out',
            tmp_path / 'out',
            *args,
        ]
        return run_in_process('train', *command)

    return train, tmp_path / 'out'


def test_unchanged_options_are_not_listed(again):
    train, out = again
    status, printed, _ = train('--resume', 'auto', '--snapshot-interval', '100')
    assert status == 0 and printed.splitlines()[0] == f'{out}: goes on after iteration 6'


def test_changed_options_are_listed(again):
    train, out = again
    status, printed, _ = train('--resume', 'auto', '--seed', '1', '--batchsize', '3')
    assert status == 0
    assert printed.splitlines()[0] == (
        f'{out}: goes on after iteration 6, with other options: batchsize 3 (before: 4), '
        'seed 1 (before: 0)'
    )
    assert json.loads((out / 'options.json').read_text())['seed'] == 1


def test_a_folder_may_have_two_names(again):
    train, out = again
    (out / 'result.json').unlink()  # as if it were not finished
    status, printed, errors = train('--resume', f'{out}/../out/')
    assert status == 0, errors
    assert printed.startswith(f'{out}/../out/: goes on after iteration 6\n')
    assert len(list(out.glob('snapshot_*.npz'))) == 2


def test_resuming_from_another_folder_leaves_it_unchanged(again, tmp_path):
    train, out = again
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    status, printed, _ = train('--resume', out, '--out', tmp_path / 'new')
    assert status == 0 and printed.startswith(f'{out}: goes on after iteration 6\n')
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert json.loads((tmp_path / 'new/result.json').read_text())['iteration'] == 8


def test_options_that_cannot_be_read_are_named(again):
    train, out = again
    for text in ('{', '3', '[1]'):
        (out / 'options.json').write_text(text)
        status, _, errors = train('--resume', 'auto')
        assert (
            status == 2
            and f'{out}/options.json: not a file that chainer-ssd train wrote: ' in errors
        )


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--insize', '64'), 'insize 64 (before: 32)'),
        (('--box-scale', '2'), 'box-scale 2.0 (before: 1.0)'),
        (('--train-split', 'one'), "label-names ['red'] (before: ['blue', 'red'])"),
    ],
)
def test_another_model_is_refused(again, voc_root, tmp_path, args, message):
    train, out = again
    root = shutil.copytree(voc_root, tmp_path / 'voc')
    (root / 'ImageSets/Main/one.txt').write_text('one\n')
    shutil.copy(root / 'JPEGImages/0.jpg', root / 'JPEGImages/one.jpg')
    (root / 'Annotations/one.xml').write_text(
        '<annotation><object><name>red</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax>'
        '<ymax>20</ymax></bndbox></object></annotation>'
    )
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    if '--train-split' in args:
        args += ('--test-split', 'one')
    status, _, errors = train('--resume', 'auto', *args, root=root)
    assert status == 2
    assert errors == (
        f'chainer-ssd train: error: --resume {out}: its snapshots belong to another model: '
        f'{message}\n'
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize('result', ['missing', 'torn', 'old'])
def test_an_unfinished_training_is_not_overwritten(again, result):
    train, out = again
    path = out / 'result.json'
    if result == 'missing':
        path.unlink()
    elif result == 'torn':  # version 0.1 wrote it in place
        path.write_bytes(path.read_bytes()[:-20])
    else:  # of an earlier training in the same folder
        written = min(os.path.getmtime(file) for file in snapshot_files(out))
        os.utime(path, (written - 1, written - 1))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    status, printed, errors = train()
    assert status == 2 and not printed
    assert (
        'an unfinished training. --resume auto goes on after iteration 6. To start over' in errors
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_new_training_removes_the_snapshots_of_a_finished_one(again):
    train, out = again
    assert newest_snapshot(out) == 6
    status, _, errors = train('--iteration', '1')
    assert status == 0 and not errors
    assert not list(out.glob('snapshot_*'))


def test_resume_auto_in_an_empty_folder_starts_a_new_training(again):
    train, out = again
    for path in out.iterdir():
        path.unlink()
    status, printed, _ = train('--resume', 'auto', '--iteration', '1')
    assert status == 0 and printed.splitlines()[0] == f'{out}: no snapshot, starts a new training'


def test_a_second_training_in_the_folder_of_a_finished_one(run_in_process, finished_run, tmp_path):
    out = shutil.copytree(finished_run[0], tmp_path / 'out')
    options = ('--insize', '32', '--iteration', '1', '--workers', '0', '--out', out)
    status, _, errors = run_in_process('train', '--dataset', 'shapes', *options)
    assert status == 0, errors
    assert json.loads((out / 'model.json').read_text())['label_names'][0] == 'circle'


@pytest.mark.parametrize('name', ['options.json', 'result.json'])
def test_files_are_written_whole_or_not_at_all(again, monkeypatch, name):
    train, out = again
    before = (out / name).read_bytes()
    replace = os.replace

    def fail(source, target):
        if os.path.basename(target) == name:
            raise OSError(28, 'No space left on device', source)
        replace(source, target)

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError) if name == 'result.json' else contextlib.nullcontext():
        status, _, errors = train('--resume', 'auto', '--k', '1')
        assert status == 2 and f"No space left on device: '{out}/{name}'" in errors
    assert (out / name).read_bytes() == before and not list(out.glob('*.tmp'))
