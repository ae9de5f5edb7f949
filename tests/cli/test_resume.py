"""examples/resuming.py: Ctrl-C, going on, and beginning anew where something lies."""

import json
import shutil
import signal
import types

import pytest

from tests.cli.detector_folder import run
from tests.cli.interrupt import interrupted
from tests.cli.test_train import ENVIRONMENT, TINY, TRAIN, root, whole  # noqa: F401

import resuming  # isort: skip (an example: detector_folder has made it importable)


@pytest.mark.parametrize('workers', [0, 2])
def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on(root, tmp_path, workers):  # noqa: F811
    command = [
        TRAIN,
        '--dataset',
        'voc',
        '--root',
        root,
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
    status, _, errors, seconds = interrupted(command, tmp_path / 'snapshot_00000005_rank0.json')
    assert status == 130 and seconds < 30
    start = 'train.py: interrupted after iteration '
    assert errors.startswith(start) and errors.count('\n') == 1
    done, go_on = errors[len(start) :].split('; ')
    newest = resuming.newest_snapshot(tmp_path)
    assert go_on == f'--resume auto goes on after iteration {newest}\n'
    assert 5 <= newest <= int(done)


def test_ctrl_c_before_the_first_snapshot(root, tmp_path):  # noqa: F811
    command = [
        TRAIN,
        '--dataset',
        'voc',
        '--root',
        root,
        *TINY[:4],
        '--iteration',
        200,
        '--workers',
        0,
        '--out',
        tmp_path,
    ]
    status, _, errors, _ = interrupted(command, tmp_path / 'log')
    assert status == 130 and errors.count('\n') == 1
    assert errors.startswith('train.py: interrupted after iteration ')
    assert errors.endswith('; no snapshot was written yet (--snapshot-interval)\n')


class Trainer:
    """As much of a trainer as can be interrupted."""

    def __init__(self, out):
        self.out, self.updater = out, types.SimpleNamespace(iteration=7)

    def extend(self, extension, name, trigger):
        assert trigger == (1, 'iteration')
        self.extension = extension


def test_an_interrupt_that_python_forgot_is_raised_after_the_iteration(tmp_path):
    trainer = Trainer(tmp_path)
    with resuming.interruptible(trainer):
        trainer.extension(trainer)
        with pytest.raises(KeyboardInterrupt, match='after iteration 7; no snapshot'):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match='after iteration 7; no snapshot'):
            trainer.extension(trainer)


def test_an_interrupt_that_is_ignored_stays_so(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with resuming.interruptible(Trainer(tmp_path)):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    with resuming.interruptible(Trainer(tmp_path)):
        assert signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, before)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def again(whole, root, tmp_path, monkeypatch, capsys):  # noqa: F811
    """``again(*args)``: trains in a copy of the folder of a training of 8 iterations."""
    import train

    shutil.copytree(whole[0], tmp_path / 'out')

    def again(*args):
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
        return run(monkeypatch, capsys, train, *command)

    return again, tmp_path / 'out'


def test_the_same_options_are_nothing_to_speak_of(again):
    train, out = again
    status, printed, _ = train('--resume', 'auto', '--snapshot-interval', '100')
    assert status == 0 and printed.splitlines()[0] == f'{out}: goes on after iteration 6'


def test_other_options_are_told(again):
    train, out = again
    status, printed, _ = train('--resume', 'auto', '--seed', '1', '--batchsize', '3')
    assert status == 0
    assert printed.splitlines()[0] == (
        f'{out}: goes on after iteration 6, but not as it began: with batchsize 3 (there: 4), '
        'seed 1 (there: 0)'
    )
    assert json.loads((out / 'options.json').read_text())['seed'] == 1


def test_a_folder_is_the_same_by_another_name(again):
    train, out = again
    (out / 'result.json').unlink()  # not finished, as far as is known
    status, printed, errors = train('--resume', f'{out}/../out/')
    assert status == 0, errors
    assert printed.startswith(f'{out}/../out/: goes on after iteration 6\n')
    assert len(list(out.glob('snapshot_*.npz'))) == 2


def test_another_folder_is_gone_on_from_and_left_alone(again, tmp_path):
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
        assert status == 2 and f'{out}/options.json: not what train.py wrote: ' in errors


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--insize', '64'), 'insize 64 (there: 32)'),
        (('--box-scale', '2'), 'box-scale 2.0 (there: 1)'),
        (('--train-split', 'one'), "label-names ['red'] (there: ['blue', 'red'])"),
    ],
)
def test_another_model_is_refused(again, root, args, message):  # noqa: F811
    train, out = again
    (root / 'ImageSets/Main/one.txt').write_text('one\n')
    shutil.copy(root / 'JPEGImages/0.jpg', root / 'JPEGImages/one.jpg')
    (root / 'Annotations/one.xml').write_text(
        '<annotation><object><name>red</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax>'
        '<ymax>20</ymax></bndbox></object></annotation>'
    )
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    status, _, errors = (
        train('--resume', 'auto', '--test-split', 'one', *args)
        if '--train-split' in args
        else train('--resume', 'auto', *args)
    )
    assert status == 2
    assert errors == (
        f'train.py: error: --resume {out}: its snapshots are of another model, with {message}\n'
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_training_that_is_not_finished_is_not_written_over(again):
    train, out = again
    (out / 'result.json').unlink()
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    status, printed, errors = train()
    assert status == 2 and not printed
    assert 'not finished: --resume auto goes on after iteration 6' in errors
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_training_anew_does_not_leave_the_snapshots_of_a_finished_one(again):
    train, out = again
    assert resuming.newest_snapshot(out) == 6
    status, _, errors = train('--iteration', '1')
    assert status == 0 and not errors
    assert not list(out.glob('snapshot_*'))


def test_an_empty_folder_and_auto_begin_anew(again, tmp_path):
    train, out = again
    for path in out.iterdir():
        path.unlink()
    status, printed, _ = train('--resume', 'auto', '--iteration', '1')
    assert status == 0 and printed.splitlines()[0] == f'{out}: no snapshot, begins anew'
