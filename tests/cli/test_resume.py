"""chainer-ssd train after a stop: Ctrl-C, --resume, and a folder that holds a training."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from chainer_ssd.runtime import newest_snapshot, snapshot_files
from tests.cli.command import COMMAND, ENVIRONMENT, TINY, interrupt

TRAIN = [*COMMAND, 'train']


def read_files(folder):
    """Return the files of a training, without its lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != '.lock'}


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
    done = errors.split()[5].rstrip(';')
    assert errors.endswith(f'; --resume auto goes on after iteration {done}\n')
    assert newest_snapshot(tmp_path) == int(done)


@pytest.fixture
def again(finished_run, voc_root, tmp_path, run_in_process):
    """A function that trains in a copy of the folder of a finished training, and the folder."""
    shutil.copytree(finished_run[0], tmp_path / 'out')

    def train(*args, root=voc_root, drop_length=False):
        command = [
            '--dataset',
            'voc',
            '--root',
            root,
            *(TINY[:4] if drop_length else TINY),
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
    before = read_files(out)
    status, printed, _ = train('--resume', out, '--out', tmp_path / 'new')
    assert status == 0 and printed.startswith(f'{out}: goes on after iteration 6\n')
    assert read_files(out) == before
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
    before = read_files(out)
    if '--train-split' in args:
        args += ('--test-split', 'one')
    status, _, errors = train('--resume', 'auto', *args, root=root)
    assert status == 2
    assert errors == (
        f'chainer-ssd train: error: --resume {out}: its snapshots belong to another model: '
        f'{message}\n'
    )
    assert read_files(out) == before


@pytest.mark.parametrize('result', ['missing', 'torn', 'old'])
def test_an_unfinished_training_is_not_overwritten(again, result):
    train, out = again
    path = out / 'result.json'
    if result == 'missing':
        path.unlink()
    elif result == 'torn':  # version 0.1 wrote it in place
        path.write_bytes(path.read_bytes()[:-20])
    else:  # of an earlier training in the same folder
        path.write_text(json.dumps({**json.loads(path.read_text()), 'iteration': 5}))
    before = read_files(out)
    status, printed, errors = train()
    assert status == 2 and not printed
    assert (
        'an unfinished training. --resume auto goes on after iteration 6. To start over' in errors
    )
    assert read_files(out) == before


def test_a_clock_that_goes_back_does_not_make_a_training_unfinished(again):
    train, out = again
    for path in snapshot_files(out):
        os.utime(path, (2e9, 2e9))
    status, _, errors = train()
    assert status == 2 and 'holds a finished training (8 iterations, mAP ' in errors


def test_a_finished_training_is_not_overwritten(again, tmp_path):
    train, out = again
    before = read_files(out)
    for args in ((), ('--iteration', '1'), ('--resume', shutil.copytree(out, tmp_path / 'other'))):
        status, printed, errors = train(*args)
        assert status == 2 and not printed and errors.count('\n') == 1
        assert f'--out {out}: holds a finished training (8 iterations, mAP 0.' in errors
        assert 'Give another --out, or --overwrite' in errors
        assert read_files(out) == before


@pytest.mark.parametrize('is_finished', [True, False])
def test_overwrite_replaces_a_training(again, is_finished):
    train, out = again
    assert newest_snapshot(out) == 6
    if not is_finished:
        (out / 'result.json').unlink()
    status, _, errors = train('--iteration', '1', '--overwrite')
    assert status == 0 and not errors
    assert json.loads((out / 'result.json').read_text())['iteration'] == 1
    assert newest_snapshot(out) is None


def test_a_second_training_at_the_same_time_is_refused(again):
    train, out = again
    with subprocess.Popen(
        [
            sys.executable,
            '-c',
            'import sys, chainer_ssd.runtime as r\n'
            f'with r.lock_folder({str(out)!r}):\n    print(1, flush=True)\n    sys.stdin.read()',
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as holder:
        assert holder.stdout.readline() == b'1\n'
        status, _, errors = train('--resume', 'auto')
        holder.communicate()
    assert status == 2 and f'{out}: process {holder.pid} on ' in errors
    assert errors.count('\n') == 1


@pytest.mark.parametrize('length', [('--iteration', '3'), ('--epoch', '3')])
def test_a_length_below_the_snapshot_is_refused(again, length):
    train, out = again
    before = read_files(out)
    status, _, errors = train(*length, '--resume', 'auto', drop_length=True)
    assert status == 2 and 'Give a length of at least 6 iterations' in errors
    assert read_files(out) == before


@pytest.mark.parametrize('change', ['box', 'name', 'order', 'more', 'fewer'])
def test_changed_training_data_are_refused(again, voc_root, tmp_path, change):
    train, out = again
    root = shutil.copytree(voc_root, tmp_path / 'voc')
    names = root / 'ImageSets/Main/trainval.txt'
    file = root / 'Annotations/0.xml'
    text = file.read_text()
    if change == 'box':
        file.write_text(re.sub(r'<xmax>(\d+)', lambda x: f'<xmax>{int(x[1]) - 1}', text, count=1))
    elif change == 'name':
        old = 'red' if 'red' in text else 'blue'
        file.write_text(text.replace(old, 'blue' if old == 'red' else 'red', 1))
    elif change == 'order':
        names.write_text(''.join(reversed(names.read_text().splitlines(keepends=True))))
    else:
        names.write_text('0\n1\n2\n' if change == 'fewer' else names.read_text() + '7\n')
    before = read_files(out)
    status, _, errors = train('--resume', 'auto', root=root)
    assert status == 2 and errors.count('\n') == 1
    if change in ('more', 'fewer'):
        n_image = 7 if change == 'more' else 3
        assert f'made with 6 training images, and there are {n_image} now' in errors
    else:
        assert 'names or boxes of the training data have changed' in errors
    assert read_files(out) == before
    if change == 'box':
        status, printed, errors = train('--resume', 'auto', '--accept-changed-data', root=root)
        assert status == 0, errors
        assert printed.startswith(f'{out}: goes on after iteration 6, with other training data\n')


@pytest.mark.parametrize('name', ['model.npz', 'snapshot_00000006_rank0.npz'])
def test_a_file_is_no_folder_to_resume_from(again, tmp_path, name):
    train, out = again
    status, _, errors = train('--resume', out / name, '--out', tmp_path / 'new')
    assert status == 2 and f'{name}: a file, expected the folder of a training' in errors
    assert '--pretrained' in errors


def test_a_longer_training_goes_on(again):
    train, out = again
    status, printed, errors = train('--resume', 'auto', '--iteration', '10')
    assert status == 0, errors
    assert 'with other options: iteration 10 (before: 8)' in printed
    assert json.loads((out / 'result.json').read_text())['iteration'] == 10


def test_resume_auto_in_an_empty_folder_starts_a_new_training(again):
    train, out = again
    for path in out.iterdir():
        path.unlink()
    status, printed, _ = train('--resume', 'auto', '--iteration', '1')
    assert status == 0 and printed.splitlines()[0] == f'{out}: no snapshot, starts a new training'


@pytest.mark.parametrize('args', [(), ('--resume', 'auto')])
@pytest.mark.parametrize('name', ['result.json', 'model.npz'])
def test_a_training_without_snapshots_is_not_overwritten(again, name, args):
    train, out = again
    for path in snapshot_files(out):
        os.remove(path)
    if name == 'model.npz':
        (out / 'result.json').unlink()
    before = read_files(out)
    status, _, errors = train('--iteration', '1', *args)
    assert status == 2 and f'--out {out}: holds ' in errors and '--overwrite' in errors
    assert read_files(out) == before


def test_snapshots_without_their_options_are_refused(again):
    train, out = again
    (out / 'options.json').unlink()
    status, _, errors = train('--resume', 'auto')
    assert status == 2 and f'--resume {out}: options.json is missing' in errors
    (out / 'options.json').write_text('{}')
    status, _, errors = train('--resume', 'auto')
    assert status == 2 and 'options.json: not a file that chainer-ssd train wrote' in errors


def test_another_data_set_in_the_folder_of_a_finished_training(
    run_in_process, finished_run, tmp_path
):
    out = shutil.copytree(finished_run[0], tmp_path / 'out')
    options = ('--insize', '32', '--iteration', '1', '--workers', '0', '--overwrite', '--out', out)
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
    status, _, errors = train('--resume', 'auto', '--seed', '1')
    assert status == 2 and f"No space left on device: '{out}/{name}'" in errors
    assert (out / name).read_bytes() == before and not list(out.glob('*.tmp'))
