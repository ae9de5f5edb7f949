"""chainer-ssd train: classes, difficult objects, and images that cannot be read."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from chainer_ssd.runtime import newest_snapshot
from tests.cli.command import COMMAND, ENVIRONMENT, TINY, run_command, wait_for


@pytest.fixture
def root(voc_root, tmp_path):
    """A copy of the drawn data set that a test may change."""
    return shutil.copytree(voc_root, tmp_path / 'voc')


def arguments(root, out, *args, workers=0, iteration=4):
    return [
        'train',
        *('--dataset', 'voc', '--root', root, '--out', out, *TINY[:4]),
        *('--iteration', iteration, '--workers', workers, *args),
    ]


def truncate(root, name):
    path = root / f'JPEGImages/{name}.jpg'
    path.write_bytes(path.read_bytes()[:-200])
    return path


@pytest.mark.parametrize('workers', [0, 2])
def test_a_truncated_image_ends_the_training_in_one_line(root, tmp_path, workers):
    path = truncate(root, 3)
    done = run_command(*arguments(root, tmp_path / 'out', workers=workers, iteration=40))
    assert done.returncode
    assert done.stderr.count('\n') == 1, done.stderr
    assert str(path) in done.stderr and 'truncated' in done.stderr


@pytest.mark.parametrize('workers', [0, 2])
def test_skip_goes_on_and_names_what_it_left_out(root, tmp_path, workers):
    files = [str(truncate(root, name)) for name in (3, 5, 7)]  # 7 is a test image
    out = tmp_path / 'out'
    options = ('--on-bad-image', 'skip')
    done = run_command(*arguments(root, out, *options, workers=workers, iteration=8))
    assert done.returncode == 0, done.stderr
    result = json.loads((out / 'result.json').read_text())
    assert result['left_out'] == files
    assert f'cannot be read and were left out: 3: {files[0]}' in done.stdout
    assert result['map'] is not None


def test_skip_without_a_readable_image_ends_in_one_line(root, tmp_path):
    for name in range(6, 9):
        truncate(root, name)
    done = run_command(*arguments(root, tmp_path / 'out', '--on-bad-image', 'skip'))
    assert done.returncode == 2
    assert (
        done.stderr.count('\n') == 1
        and 'none of the 3 images to evaluate on can be read' in done.stderr
    )


def test_the_classes_are_printed_at_the_start(root, tmp_path, run_in_process):
    status, printed, errors = run_in_process(*arguments(root, tmp_path / 'out'))
    assert status == 0, errors
    assert (
        'training on 6 images with 11 objects of these classes:\n'
        '  blue: 2 objects in 2 images\n'
        '  red: 9 objects in 5 images\n'
    ) in printed


def test_label_names_of_a_file_fix_the_order(root, tmp_path, run_in_process):
    file = tmp_path / 'names.txt'
    file.write_bytes(b'\xef\xbb\xbfred\r\n\r\n  green \r\nblue\n')
    out = tmp_path / 'out'
    status, _, errors = run_in_process(*arguments(root, out, '--label-names', file))
    assert status == 0, errors
    names = json.loads((out / 'model.json').read_text())['label_names']
    assert names == ['red', 'green', 'blue']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'red\nblue\nred\n', 'expected each name once'),
        (b'\n \n', 'expected one class name per line'),
        (b'\xff\xfer\0e\0d\0', 'expected UTF-8 text'),
        (b'red\n', "the name 'blue' is not among"),
    ],
)
def test_wrong_label_names_are_an_error(root, tmp_path, run_in_process, content, message):
    file = tmp_path / 'names.txt'
    file.write_bytes(content)
    status, _, errors = run_in_process(*arguments(root, tmp_path / 'out', '--label-names', file))
    assert status == 2 and message in errors and errors.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def set_difficult(root, name):
    file = root / f'Annotations/{name}.xml'
    file.write_text(file.read_text().replace('<difficult>0', '<difficult>1'))


@pytest.mark.parametrize('loss', ['multibox_loss', 'ssd_loss'])
def test_difficult_objects_are_not_trained_as_background(root, tmp_path, run_in_process, loss):
    # Every object of image 0 is difficult. As background, they would change the loss.
    losses = []
    for is_difficult in (False, True):
        if is_difficult:
            set_difficult(root, 0)
        out = tmp_path / str(is_difficult)
        status, printed, errors = run_in_process(*arguments(root, out, '--loss', loss))
        assert status == 0, errors
        assert (' difficult\n' in printed) == is_difficult
        losses.append(json.loads((out / 'log').read_text())[0]['main/loss'])
    assert losses[0] != losses[1]


def test_if_all_objects_are_difficult_the_message_says_so(root, tmp_path, run_in_process):
    for name in range(9):
        set_difficult(root, name)
    status, _, errors = run_in_process(*arguments(root, tmp_path / 'out'))
    assert status == 2
    assert 'all 11 objects are difficult in the images of trainval.txt' in errors


def test_a_test_split_without_objects_is_said_in_words(root, tmp_path, run_in_process):
    for name in range(6, 9):
        (root / f'Annotations/{name}.xml').write_text('<annotation/>')
    with pytest.warns(UserWarning):
        status, printed, errors = run_in_process(*arguments(root, tmp_path / 'out'))
    assert status == 0, errors
    assert 'there is no mAP, because no object of the test images counts' in printed
    assert json.loads((tmp_path / 'out/result.json').read_text())['map'] is None


@pytest.mark.parametrize('option', ['--root', '--train-split', '--test-split', '--label-names'])
def test_options_of_a_data_set_do_not_go_with_drawn_shapes(tmp_path, run_in_process, option):
    status, _, errors = run_in_process('train', option, 'x', '--out', tmp_path / 'out')
    assert status == 2 and errors.count('\n') == 1
    assert option in errors


def test_images_that_are_held_out_are_not_trained_on(root, tmp_path, run_in_process):
    out = tmp_path / 'out'
    status, printed, errors = run_in_process(*arguments(root, out, '--val', 0.3))
    assert status == 0, errors
    assert 'training on 4 images' in printed
    options = json.loads((out / 'options.json').read_text())
    assert options['train_data']['images'] == 4 and options['test_data']['images'] == 3


@pytest.mark.filterwarnings('ignore:the font has no glyph')
@pytest.mark.parametrize('name', ['$x$', '$', '\\frac', '螺栓', 'a/b', 'x' * 3000, '\x1b[31mred'])
def test_any_class_name_trains(root, tmp_path, run_in_process, name):
    for file in (root / 'Annotations').iterdir():
        escaped = name.replace('\x1b', '')
        file.write_text(file.read_text().replace('<name>red', f'<name>{escaped}'), 'utf-8')
    status, printed, errors = run_in_process(*arguments(root, tmp_path / 'out', iteration=1))
    assert status == 0, errors
    assert '\x1b' not in printed
    assert max(map(len, printed.splitlines())) < 1000
    assert (tmp_path / 'out/map.png').stat().st_size > 1000


@pytest.mark.parametrize(('workers', 'is_group'), [(0, False), (2, False), (2, True)])
def test_sigterm_saves_a_snapshot(root, tmp_path, workers, is_group):
    out = tmp_path / 'out'
    command = arguments(root, out, workers=workers, iteration=2000)
    running = subprocess.Popen(
        [sys.executable, *COMMAND, *map(str, command)],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_for(out / 'loss.png', running)  # the training has begun
    if is_group:  # as job schedulers do
        os.killpg(running.pid, signal.SIGTERM)
    else:
        running.send_signal(signal.SIGTERM)
    try:
        errors = running.communicate(timeout=60)[1]
    finally:
        running.kill()
    assert running.returncode == 143, errors
    newest = newest_snapshot(out)
    assert f'terminated after iteration {newest}; --resume auto goes on after' in errors
    assert errors.count('\n') == 1
    assert os.path.exists(out / f'snapshot_{newest:08d}_rank0.npz')
