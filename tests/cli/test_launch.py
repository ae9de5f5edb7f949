"""chainer-ssd launch: a training that starts again after a failure."""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from chainer_ssd.cli import launch, train
from chainer_ssd.cli._environment import THREAD_VARIABLES
from chainer_ssd.runtime import JobStart, newest_snapshot, restarts
from tests.cli.command import COMMAND, ENVIRONMENT, is_left, wait_for

RANK = [sys.executable, '-m', 'mpi4py', '-m', 'chainer_ssd']
TEST_VARIABLE = 'CHAINER_SSD_TEST'  # names the ranks of one test
NAIVE, AUTO = ['--communicator', 'naive'], ['--resume', 'auto']
#: A launcher that fails twice. The second start writes a snapshot.
FAKE_LAUNCHER = """
import sys
words = sys.argv[sys.argv.index('train'):]
open('commands', 'a').write(' '.join(words) + chr(10))
n_start = len(open('commands').readlines())
if n_start == 2:
    open('out/snapshot_00000005_committed.json', 'w').close()
    open('out/snapshot_00000005_rank0.json', 'w').close()
if n_start < 3:
    for rank in (1, 0):
        print(f'watchdog on rank {rank}: rank 1, after iteration {n_start}: OSError: gone',
              file=sys.stderr)
    sys.exit(1)
"""


def create_command(*words):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return launch.TrainCommand(['mpiexec'], ['train', *words], parser.parse_args(words))


def write_snapshot(folder, iteration):
    folder.mkdir(exist_ok=True)
    for name in ('rank0.json', 'committed.json'):
        (folder / f'snapshot_{iteration:08d}_{name}').touch()


@pytest.fixture
def fake_launcher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'out').mkdir()
    monkeypatch.setattr(restarts, 'FIRST_DELAY_SECONDS', 0.01)
    monkeypatch.setattr(
        launch, 'find_launcher_command', lambda *args: [sys.executable, '-S', 'fake.py']
    )
    (tmp_path / 'fake.py').write_text(FAKE_LAUNCHER)
    return tmp_path / 'commands'


@pytest.mark.parametrize(
    ('words', 'added'),
    [
        ([], [*NAIVE, *AUTO]),
        (['--gpu', '0'], ['--communicator', 'pure_nccl', *AUTO]),
        (['--communicator', 'flat'], AUTO),
        (['--resume', 'other'], NAIVE),
        (['--overwrite'], NAIVE),
        (['--resume', 'auto', '--communicator', 'naive'], []),
    ],
)
def test_options_that_the_user_did_not_give_are_added(words, added, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert create_command(*words)() == ['mpiexec', *RANK, 'train', *words, *added]


@pytest.mark.parametrize('words', [['--overwrite'], ['--ov'], ['--resume', 'other']])
def test_the_users_start_holds_until_the_job_has_a_snapshot(words, tmp_path):
    write_snapshot(tmp_path, 8)
    command = create_command('--out', str(tmp_path), *words)
    first = command()
    assert first[-len(words) - 2 :] == [*words, *NAIVE]
    for path in tmp_path.iterdir():
        path.unlink()
    assert command() == first
    (tmp_path / 'snapshot_00000002_rank0.json').touch()  # no rank has committed it
    assert command() == first
    write_snapshot(tmp_path, 2)
    resumed = command()
    assert resumed[-2:] == AUTO
    assert not {'--overwrite', '--ov'} & set(resumed)


def test_a_new_snapshot_of_the_same_iteration_belongs_to_the_job(tmp_path):
    write_snapshot(tmp_path, 8)
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    command = create_command('--out', str(tmp_path), '--overwrite')
    assert command()[-2:] == NAIVE
    write_snapshot(tmp_path, 8)
    assert command()[-2:] == AUTO


@pytest.mark.parametrize(
    ('text', 'cause'),
    [
        ('', None),
        ('a warning\nanother one', None),
        (
            'ValueError: a\nwatchdog on rank 1: rank 0: b\nwatchdog on rank 0: rank 1: c',
            'rank 0: b',
        ),
        ('usage: x\nchainer-ssd train: error: --out x:  not a folder', '--out x: not a folder'),
        (
            'chainer-ssd train: terminated after iteration 3; no',
            'terminated after iteration 3; no',
        ),
        ('chainer-ssd train: 2 ranks run on this host', None),
        (
            'prterun noticed that process rank 1 with PID 7 on node a exited on signal 9.',
            'process rank 1 with PID 7 on node a exited on signal 9.',
        ),
        ('Traceback\nKeyError: 1\nmpi4py.MPI.Exception: MPI_ERR', 'mpi4py.MPI.Exception: MPI_ERR'),
        ('srun: error: vm: task 1: Killed', 'vm: task 1: Killed'),
    ],
)
def test_the_cause_of_a_failure_is_found(text, cause):
    assert launch.find_cause(1, text.split('\n')) == cause


@pytest.mark.parametrize(
    ('status', 'cause'),
    [
        (1, None),
        (2, None),
        (9, 'ended by SIGKILL'),  # MPICH
        (137, 'ended by SIGKILL'),  # shells, Slurm and Open MPI
        (139, 'ended by SIGSEGV'),
        (255, None),
    ],
)
def test_the_signal_is_the_cause_if_no_line_is(status, cause):
    assert launch.find_cause(status, ['a warning']) == cause


def test_a_long_cause_is_shortened():
    cause = launch.find_cause(1, ['watchdog on rank 1: ' + 'x' * 5000])
    assert cause == 'x' * launch.MAX_CAUSE_LETTERS


@pytest.mark.parametrize(
    ('status', 'cause', 'expected'),
    [
        (1, 'rank 1: ValueError: x', False),
        (2, '--out x: not a folder', True),
        (130, 'interrupted after iteration 3', True),
        (138, 'stopped by SIGUSR1 after iteration 3', True),
        (143, 'terminated after iteration 3', True),
        (143, 'vm: task 0: Terminated', False),  # srun: another rank has failed
        (143, None, False),
        (9, 'ended by SIGKILL', False),
    ],
)
def test_which_failure_is_final(status, cause, expected):
    assert launch.is_final(JobStart(status, 1.0, None, cause)) == expected


@pytest.mark.parametrize(
    ('name', 'programs', 'job', 'expected'),
    [
        (None, {'mpiexec'}, None, ['/usr/bin/mpiexec', '-n', '3']),
        (None, {'mpiexec', 'srun'}, None, ['/usr/bin/mpiexec', '-n', '3']),
        (None, {'mpiexec', 'srun'}, '7', [*launch.SRUN, '-n', '3']),
        (None, {'mpiexec'}, '7', ['/usr/bin/mpiexec', '-n', '3']),
        ('srun', {'mpiexec', 'srun'}, None, [*launch.SRUN, '-n', '3']),
        ('mpiexec', {'mpiexec', 'srun'}, '7', ['/usr/bin/mpiexec', '-n', '3']),
        (None, {}, None, r'^mpiexec is missing: pip install "chainer_ssd\[mpi\]"$'),
        ('srun', {'mpiexec'}, None, '^srun is missing'),
    ],
)
def test_the_launcher_is_found(name, programs, job, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python'))
    monkeypatch.setattr(shutil, 'which', lambda p: f'/usr/bin/{p}' if p in programs else None)
    monkeypatch.delenv('SLURM_JOB_ID', raising=False)
    if job is not None:
        monkeypatch.setenv('SLURM_JOB_ID', job)
    if isinstance(expected, str):
        with pytest.raises(ImportError, match=expected):
            launch.find_launcher_command(name, 3)
    else:
        assert launch.find_launcher_command(name, 3) == expected


def test_the_mpiexec_beside_python_comes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python'))
    (tmp_path / 'mpiexec').touch()
    found = launch.find_launcher_command('mpiexec', 2)
    assert found == [str(tmp_path / 'mpiexec'), '-n', '2']


def test_a_missing_mpi4py_is_named(monkeypatch):
    monkeypatch.setattr(launch.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'^mpi4py is missing: pip install "chainer_ssd\[mpi\]"$'):
        launch.find_launcher_command(None, 2)


@pytest.mark.parametrize(
    ('size', 'gpu', 'own', 'expected'),
    [
        (2, -1, {}, dict.fromkeys(THREAD_VARIABLES, '1')),
        (1, -1, {}, {}),
        (2, 0, {}, {}),
        (2, -1, {'MKL_NUM_THREADS': '4'}, {'MKL_NUM_THREADS': '4'}),
    ],
)
def test_each_rank_has_one_thread(size, gpu, own, expected, monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    env = launch.create_environment(size, gpu)
    assert {name: env[name] for name in THREAD_VARIABLES if name in env} == expected
    assert env['PATH'] == os.environ['PATH']


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['evaluate', 'x'], "after --: expected train and its options, found 'evaluate x'"),
        (['train', '--iteration', 'x'], 'argument --iteration'),
        (['train', '--no-such-option'], 'unrecognized arguments'),
    ],
)
def test_a_mistake_in_the_options_starts_nothing(words, message, fake_launcher, run_in_process):
    status, _, errors = run_in_process('launch', '-n', 2, '--', *words)
    assert status == 2 and message in errors
    assert not fake_launcher.exists()


def test_the_starts_are_listed_at_the_end(fake_launcher, run_in_process):
    status, out, errors = run_in_process('launch', '-n', 2, '--', 'train', '--out', 'out')
    assert status == 0 and out == ''
    assert [re.sub(r'\d+\.\d', 'T', line) for line in errors.splitlines()[2:]] == [
        'start  status   seconds  snapshot  cause',
        '    1       1       T      none  rank 1, after iteration 1: OSError: gone',
        '    2       1       T         5  rank 1, after iteration 2: OSError: gone',
        '    3       0       T         5  -',
    ]
    assert errors.startswith(
        'chainer-ssd launch: start 1 ended with status 1 after 0 s: rank 1, after iteration 1: '
        'OSError: gone. Restart 1 of at most 3 in 0.01 s\n'
    )


def test_a_restart_resumes_and_does_not_overwrite(fake_launcher, run_in_process):
    assert not run_in_process('launch', '-n', 2, '--', 'train', '--out', 'out', '--overwrite')[0]
    assert fake_launcher.read_text().splitlines() == [
        'train --out out --overwrite --communicator naive',
        'train --out out --overwrite --communicator naive',
        'train --out out --communicator naive --resume auto',
    ]


def test_max_restarts_bounds_the_starts(fake_launcher, run_in_process):
    status, _, errors = run_in_process(
        'launch', '-n', 2, '--max-restarts', 1, '--', 'train', '--out', 'out'
    )
    assert status == 1
    assert len(fake_launcher.read_text().splitlines()) == 2
    assert len(errors.splitlines()) == 1 + 3


def test_one_success_is_not_listed(fake_launcher, run_in_process):
    fake_launcher.write_text('1\n2\n')
    assert run_in_process('launch', '-n', 2, '--', 'train', '--out', 'out') == (0, '', '')


def test_the_launcher_gets_its_options_and_the_job_its_time(
    fake_launcher, run_in_process, monkeypatch
):
    seen = []

    def run(create_command, *args):
        seen.extend([create_command(), args[-2]])
        return restarts.JobResult(0, [])

    monkeypatch.setattr(launch, 'run_with_restarts', run)
    options = ('--launcher-args', '-f "my hosts"', '--stop-timeout', 7)
    assert run_in_process('launch', '-n', 2, *options, '--', 'train', '--out', 'out')[0] == 0
    command = [sys.executable, '-S', 'fake.py', '-f', 'my hosts', *RANK, 'train', '--out', 'out']
    assert seen == [[*command, *NAIVE, *AUTO], 7.0]


def test_srun_gets_another_signal_than_sigterm(fake_launcher, run_in_process, monkeypatch):
    """On SIGTERM it would kill the ranks without a snapshot."""
    bin_folder = fake_launcher.parent / 'bin'
    bin_folder.mkdir()
    (bin_folder / 'srun').write_text(
        '#!/bin/sh\ntrap "echo srun got USR1 > got; exit 138" USR1\n'
        f'kill -TERM {os.getpid()}\nwhile true; do sleep 0.05; done\n'
    )
    (bin_folder / 'srun').chmod(0o755)
    monkeypatch.setenv('PATH', f'{bin_folder}:{os.environ["PATH"]}')
    monkeypatch.setattr(launch, 'find_launcher_command', lambda *args: list(launch.SRUN))
    status, _, errors = run_in_process('launch', '-n', 2, '--', 'train', '--out', 'out')
    assert status == 143 and (fake_launcher.parent / 'got').read_text() == 'srun got USR1\n'
    assert len(errors.splitlines()) == 2


@pytest.fixture
def find_rank(tmp_path):
    """``find_rank(rank)``: the process of a rank of this test's job, or None."""

    def find(rank):
        wanted = {f'PMI_RANK={rank}'.encode(), f'{TEST_VARIABLE}={tmp_path}'.encode()}
        for path in Path('/proc').glob('[0-9]*/environ'):
            with contextlib.suppress(OSError):
                if wanted <= set(path.read_bytes().split(b'\0')):
                    return int(path.parts[2])
        return None

    return find


@pytest.fixture
def start_launch(tmp_path, voc_root):
    """``start_launch(*options)`` trains in ``tmp_path/out``. The process leads its own group."""
    started = []

    def start(*options):
        data = ('--dataset', 'voc', '--root', voc_root, '--insize', 32, '--batchsize', 1)
        command = [*COMMAND, 'launch', '-n', 2, '--', 'train', *data, *options]
        started.append(
            subprocess.Popen(
                [sys.executable, *map(str, command), '--out', str(tmp_path / 'out')],
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env={**ENVIRONMENT, 'OMP_NUM_THREADS': '1', TEST_VARIABLE: str(tmp_path)},
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.mpi
@pytest.mark.slow
def test_a_training_whose_rank_is_killed_ends_with_the_right_weights(
    start_launch, find_rank, mpiexec, voc_root, tmp_path
):
    options = ('--iteration', 12, '--snapshot-interval', 3)
    running = start_launch(*options)
    wait_for(tmp_path / 'out' / 'snapshot_00000003_committed.json', running)
    os.kill(find_rank(1), signal.SIGKILL)
    errors = running.communicate(timeout=120)[1]
    assert running.returncode == 0, errors
    assert re.search(r'^ +1 +9 +\S+ +[369] +ended by SIGKILL$', errors, re.MULTILINE)
    assert re.search(r'^ +2 +0 +\S+ +12 +-$', errors, re.MULTILINE)
    assert find_rank(0) is None and find_rank(1) is None

    data = ('--dataset', 'voc', '--root', voc_root, '--insize', 32, '--batchsize', 1)
    whole = tmp_path / 'whole'
    mpiexec(2, *COMMAND, 'train', *data, *options, *NAIVE, '--out', whole)
    with np.load(tmp_path / 'out' / 'model.npz') as a, np.load(whole / 'model.npz') as b:
        assert set(a.files) == set(b.files)
        for name in a.files:
            assert a[name].tobytes() == b[name].tobytes(), name


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_ranks_with_a_snapshot(number, start_launch, find_rank, tmp_path):
    running = start_launch('--iteration', 100000, '--snapshot-interval', 2)
    wait_for(tmp_path / 'out' / 'snapshot_00000002_committed.json', running)
    time.sleep(0.5)
    running.send_signal(number)
    errors = running.communicate(timeout=60)[1]
    assert running.returncode == 128 + number, errors
    saved = re.findall(r'after iteration (\d+); --resume auto goes on after', errors)
    assert saved and newest_snapshot(tmp_path / 'out') == int(saved[0])
    assert find_rank(0) is None and find_rank(1) is None


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize('is_stopped', [False, True])
def test_no_rank_is_left_if_launch_is_killed(is_stopped, start_launch, find_rank, tmp_path):
    running = start_launch('--iteration', 100000, '--snapshot-interval', 2)
    wait_for(tmp_path / 'out' / 'snapshot_00000002_committed.json', running)
    if is_stopped:
        os.kill(find_rank(1), signal.SIGSTOP)
    running.kill()
    running.wait()
    assert not is_left(running.pid, seconds=10)
    deadline = time.monotonic() + 10
    while find_rank(0) or find_rank(1):
        assert time.monotonic() < deadline
        time.sleep(0.05)
