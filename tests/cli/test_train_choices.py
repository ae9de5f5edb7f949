"""chainer-ssd train: what it starts from, which weights it keeps, and its logs."""

import json
import os

import numpy as np
import pytest

from chainer_ssd import load_detector
from chainer_ssd.cli._load_data import TrainingData
from chainer_ssd.cli._selection import remove_leaks
from chainer_ssd.links import SSDMini, save_detector
from tests.cli.command import COMMAND, LABEL_NAMES, TINY, run_command

OPTIONS = ['--val', '0.3', '--ema', '0.9', '--freeze', '1', '--fit-boxes', '--lr', '0.01']


def arrays_of(path):
    with np.load(path) as file:
        return dict(file)


def assert_same_arrays(path, other):
    a, b = arrays_of(path), arrays_of(other)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture(scope='module')
def initial(tmp_path_factory):
    """The folder of a detector with one class of the data and another one."""
    folder = tmp_path_factory.mktemp('initial')
    np.random.seed(3)
    save_detector(folder, SSDMini(2, 32), ['other', LABEL_NAMES[1]])
    return folder


@pytest.fixture(scope='module')
def chosen_run(voc_root, initial, tmp_path_factory):
    """The folder of a training with all choices, its command line, and what it printed."""
    out = tmp_path_factory.mktemp('chosen')
    command = ['train', '--dataset', 'voc', '--root', voc_root, *TINY, '--workers', '0', *OPTIONS]
    command += ['--init', initial]
    done = run_command(*command, '--out', out)
    assert done.returncode == 0, done.stderr
    return out, command, done.stdout


def test_a_resumed_run_has_the_same_best_and_last_weights(chosen_run, tmp_path):
    out, command, _ = chosen_run
    done = run_command(*command, '--resume', out, '--out', tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'goes on after iteration 6\n' in done.stdout
    for name in 'model.npz', 'last.npz':
        assert_same_arrays(out / name, tmp_path / name)
    results = [json.loads((folder / 'result.json').read_text()) for folder in (out, tmp_path)]
    for key in 'map', 'ap', 'kept', 'kept_iteration', 'val_map', 'val_images':
        assert results[0][key] == results[1][key]
    assert (out / 'model.json').read_text() == (tmp_path / 'model.json').read_text()


def test_the_kept_weights_are_the_best_on_the_validation_images(chosen_run):
    out, _, printed = chosen_run
    log = json.loads((out / 'log').read_text())
    values = {each['iteration']: each['val/main/map'] for each in log if 'val/main/map' in each}
    result = json.loads((out / 'result.json').read_text())
    best = max(values.values())
    first = min(iteration for iteration, value in values.items() if value == best)
    assert len(values) == 8 and result['val_map'] == best
    assert result['kept'] == 'best' and result['kept_iteration'] == first
    assert result['val_images'] == 2
    assert f'model.npz holds the weights of iteration {first}' in printed


def test_frozen_weights_and_shared_classes_come_from_the_initial_detector(chosen_run, initial):
    out, _, printed = chosen_run
    kept, before = arrays_of(out / 'last.npz'), arrays_of(initial / 'model.npz')
    for name in before:
        is_same = np.array_equal(kept[name], before[name])
        if name.startswith('stem/'):
            # The average of equal numbers may differ by a rounding.
            np.testing.assert_allclose(kept[name], before[name], rtol=1e-5)
        elif name.endswith('conv/W') and name.startswith('stage'):
            assert not is_same, name
    assert 'arrays are loaded whole' in printed and 'heads/0/conv' in printed


def test_fitted_boxes_are_stored_and_load(chosen_run):
    out, _, printed = chosen_run
    options = json.loads((out / 'options.json').read_text())
    description = json.loads((out / 'model.json').read_text())
    model = load_detector(out)
    assert options['default_boxes']['sizes'] == description['sizes'] == list(model.sizes)
    assert description['sizes'] != list(SSDMini(1, 32).sizes)
    assert 'training objects with a default box of IoU >= 0.5: ' in printed
    assert f'{len(model.coder.default_bbox)} default boxes (before: 340)' in printed


def test_the_log_is_a_csv_file(chosen_run):
    lines = (chosen_run[0] / 'log.csv').read_text().splitlines()
    assert lines[0].startswith('epoch,iteration,elapsed_time,') and len(lines) == 9


def test_without_validation_images_the_last_weights_are_kept(finished_run):
    out, _ = finished_run
    assert_same_arrays(out / 'model.npz', out / 'last.npz')
    assert json.loads((out / 'result.json').read_text())['kept'] == 'last'


def test_boxes_of_another_training_are_refused(chosen_run, tmp_path):
    out, command, _ = chosen_run
    others = [each for each in command if each != '--fit-boxes']
    done = run_command(*others, '--resume', out, '--out', tmp_path)
    assert done.returncode == 2
    assert 'belong to another model: default-boxes None (before: ' in done.stderr


def test_the_training_ends_early(voc_root, tmp_path):
    command = ['train', '--dataset', 'voc', '--root', voc_root, *TINY[:4], '--iteration', 60]
    command += ['--workers', 0, '--val', 0.3, '--early-stopping', 2, '--lr', 1e-9]
    done = run_command(*command, '--out', tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['iteration'] < 60
    assert f'ended early, after {result["iteration"]} of 60 iterations' in done.stdout


@pytest.mark.mpi
def test_two_ranks_keep_the_same_weights_after_a_resume(mpiexec, voc_root, initial, tmp_path):
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    options = ('--dataset', 'voc', '--root', voc_root, '--insize', 32, '--batchsize', 1)
    options += ('--communicator', 'naive', '--iteration', 6, *OPTIONS, '--init', initial)
    train = (*COMMAND, 'train', *options)
    mpiexec(2, *train, '--out', whole, '--snapshot-interval', 4)
    mpiexec(2, *train, '--out', resumed, '--resume', whole)
    for name in 'model.npz', 'last.npz':
        assert_same_arrays(whole / name, resumed / name)


def test_tensorboard(voc_root, tmp_path):
    pytest.importorskip('tensorboardX', reason='needs the extra tensorboard')
    command = ['train', '--dataset', 'voc', '--root', voc_root, *TINY[:4], '--iteration', 2]
    done = run_command(*command, '--workers', 0, '--tensorboard', '--out', tmp_path)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / 'tensorboard').iterdir()
    assert b'main/loss/loc' in file.read_bytes()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--dtype', 'mixed16'], '--dtype mixed16: NumPy computes float16 many times slower'),
        (['--freeze', '5'], '--freeze 5: ssd_mini has 4 stages'),
        (['--early-stopping', '2'], '--early-stopping 2 needs images that are neither'),
        (['--fit-boxes', '--box-scale', '2'], '--fit-boxes and --box-scale'),
        (['--fit-boxes', '--model', 'ssd300'], '--fit-boxes goes with --model ssd_mini'),
        (['--schedule', 'cosine', '--lr-steps', '3'], '--lr-steps 3 goes with --schedule step'),
    ],
)
def test_wrong_options_give_one_line(options, message, voc_root, tmp_path, run_in_process):
    command = ['train', '--dataset', 'voc', '--root', voc_root, *TINY, '--out', tmp_path / 'out']
    status, _, errors = run_in_process(*command, *options)
    assert status == 2 and errors.count('\n') == 1 and message in errors


@pytest.mark.parametrize('dtype', ['mixed16', 'float16'])
def test_a_dtype_of_the_environment_is_refused_too(dtype, voc_root, tmp_path):
    command = ['train', '--dataset', 'voc', '--root', voc_root, *TINY, '--out', tmp_path]
    done = run_command(*command, env={**run_environment(), 'CHAINER_DTYPE': dtype})
    assert done.returncode == 2
    assert f'CHAINER_DTYPE={dtype}: ' in done.stderr and done.stderr.count('\n') == 1


def run_environment():
    from tests.cli.command import ENVIRONMENT

    return dict(ENVIRONMENT)


class Files:
    """A data set that has files only."""

    def __init__(self, *names):
        self.image_files = tuple(names)


@pytest.mark.parametrize(
    ('val', 'text'),
    [
        (('c', 'd'), None),
        (('c', 'a'), '1 of the 2 images of the split val are training images too'),
        (('b', './b/../b'), '2 of the 2 images of the split val are test images too'),
    ],
)
def test_a_validation_image_is_in_no_other_part(val, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir('b')
    data = TrainingData(Files('a'), Files(*val), Files('b'), ('x',))
    kept, found = remove_leaks(data)
    assert (kept.val is None) == (text is not None)
    assert (found or '').startswith(text or '')
