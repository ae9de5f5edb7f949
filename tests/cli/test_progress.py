"""The progress of a training: one line on a terminal, log lines elsewhere."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from chainer_ssd.cli import _progress
from tests.cli.command import COMMAND, ENVIRONMENT, TINY

TERMINAL_ROWS = 40


def run_on_terminal(*args, columns=120, env=ENVIRONMENT, interrupt_at=None):
    """Runs the command on a terminal. Returns the status and what the terminal received.

    The command gets Ctrl-C when the output contains the pattern ``interrupt_at``.
    """
    ours, theirs = pty.openpty()
    if columns:
        size = struct.pack('HHHH', TERMINAL_ROWS, columns, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    command = [sys.executable, *COMMAND, *map(str, args)]
    running = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=env)
    os.close(theirs)
    received = b''
    while True:
        try:
            chunk = os.read(ours, 2**16)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        received += chunk
        if interrupt_at is not None and re.search(interrupt_at, received.decode(errors='replace')):
            os.kill(running.pid, signal.SIGINT)
            interrupt_at = None
    os.close(ours)
    return running.wait(timeout=60), received.decode()


def read_lines(received):
    """Returns the lines as they stand on the terminal at the end."""
    lines = []
    for line in received.replace('\r\n', '\n').split('\n'):
        shown = ''
        for part in line.split('\r'):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


N_FIRST_LINE = 4  # lines about the data set come first


@pytest.fixture
def options(voc_root, tmp_path):
    folders = ('--root', voc_root, '--out', tmp_path)
    return ('train', '--dataset', 'voc', *folders, *TINY, '--workers', '2')


# Some programs, such as pytest-xdist, set COLUMNS for what they start.
@pytest.mark.parametrize(('columns', 'variable'), [(120, None), (0, None), (0, 90)])
def test_a_terminal_shows_one_line_and_the_map_above_it(options, columns, variable):
    pytest.importorskip('tqdm')
    env = {name: value for name, value in ENVIRONMENT.items() if name not in ('COLUMNS', 'LINES')}
    if variable:
        env['COLUMNS'] = str(variable)
    status, received = run_on_terminal(*options, columns=columns, env=env)
    assert status == 0, received
    lines = read_lines(received)[N_FIRST_LINE:]
    assert [line.split(':')[0] for line in lines[:4]] == [
        f'iteration {iteration}' for iteration in (2, 4, 6, 8)
    ]
    assert all(re.fullmatch(r'iteration \d: mAP [01]\.\d{4}', line) for line in lines[:4])
    (progress,) = (line for line in lines if '8/8' in line)
    assert progress == lines[4] and progress.startswith('100%')
    assert re.search(r'8/8 \[\d\d:\d\d<\d\d:\d\d, ', progress)  # seconds so far and remaining
    if columns:  # a narrow terminal cuts the line
        pattern = r'(it/s|s/it), loss \d+\.\d{3}, loc \d+\.\d{3}, conf \d+\.\d{3}\]$'
        assert re.search(pattern, progress)
    assert len(progress) <= (columns or variable or _progress.DEFAULT_COLUMNS)
    assert 'inf' not in received and 'main/loss' not in received
    assert lines[5].startswith('seconds an iteration: ')


def test_a_resumed_training_begins_at_its_iteration(options, tmp_path):
    pytest.importorskip('tqdm')
    assert run_on_terminal(*options)[0] == 0
    status, received = run_on_terminal(*options, '--resume', 'auto')
    assert status == 0, received
    assert f'{tmp_path}: goes on after iteration 6' in received
    assert re.search(r'\r +75%\|[^\r]*\| 6/8 ', received)
    assert not re.search(r' [0-5]/8 ', received) and ' 8/8 ' in received
    assert 'Warning' not in received  # a snapshot of a terminal has all that is needed


def test_a_training_of_a_terminal_is_resumed_elsewhere_and_back(options, tmp_path):
    pytest.importorskip('tqdm')
    assert run_on_terminal(*options)[0] == 0
    command = [sys.executable, *COMMAND, *map(str, options), '--resume', 'auto']
    for snapshot in tmp_path.glob('snapshot_00000006*'):
        snapshot.unlink()
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0 and not done.stderr
    status, received = run_on_terminal(*options, '--resume', 'auto')
    assert status == 0 and 'Warning' not in received
    log = json.loads((tmp_path / 'log').read_text())
    assert [entry['iteration'] for entry in log] == list(range(1, 9))


def test_without_tqdm_a_terminal_shows_log_lines(options, tmp_path):
    folder = tmp_path / 'hidden'
    folder.mkdir()
    (folder / 'tqdm.py').write_text('raise ImportError("hidden")\n')
    path = f'{folder}{os.pathsep}{ENVIRONMENT["PYTHONPATH"]}'
    status, received = run_on_terminal(*options, env={**ENVIRONMENT, 'PYTHONPATH': path})
    assert status == 0, received
    lines = read_lines(received)
    assert lines[0].startswith('log lines instead of a progress line: tqdm is needed here')
    assert '"chainer_ssd[data]"' in lines[0]
    lines = lines[N_FIRST_LINE:]
    assert lines[1].split()[:3] == ['epoch', 'iteration', 'main/loss']
    assert [line.split()[1] for line in lines[2:10]] == [str(i) for i in range(1, 9)]


def test_ctrl_c_ends_the_line(options):
    pytest.importorskip('tqdm')
    endless = (*options, '--iteration', '100000')
    status, received = run_on_terminal(*endless, interrupt_at=r' [1-9]\d*/100000 ')
    assert status == 130
    *_, progress, message, end = read_lines(received)
    assert '/100000 [' in progress and end == ''
    assert message.startswith('chainer-ssd train: interrupted after iteration')
