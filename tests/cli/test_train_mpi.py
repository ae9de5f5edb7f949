"""chainer-ssd train on ranks: the log, errors, and resuming."""

import json
import os
import re
import signal
import time

import numpy as np
import pytest

from chainer_ssd.runtime import newest_snapshot
from tests.cli.command import COMMAND, wait_for
from tests.distributed.processes import find_ranks

TRAIN = (*COMMAND, 'train')
TINY = ('--insize', 32, '--batchsize', 1, '--communicator', 'naive')


def log_of(out):
    """Returns the log without its times and waits, which differ from run to run."""
    return [
        {
            name: value
            for name, value in entry.items()
            if 'time' not in name and not name.startswith('straggler/')
        }
        for entry in json.loads((out / 'log').read_text())
    ]


@pytest.mark.mpi
def test_the_log_averages_all_ranks_and_a_resumed_run_repeats_it(mpiexec, voc_root, tmp_path):
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    options = ('--dataset', 'voc', '--root', voc_root, *TINY, '--iteration', 10)
    mpiexec(2, *TRAIN, *options, '--out', whole, '--snapshot-interval', 7)
    entries = log_of(whole)
    assert len(entries) == 10 and all(entry['main/loss'] > 0 for entry in entries)
    # The batches have one image. One rank counts an integer, the mean of two may end in .5.
    assert any(entry['main/n_positive'] % 1 == 0.5 for entry in entries)

    mpiexec(2, *TRAIN, *options, '--out', resumed, '--resume', whole)
    assert len(log_of(resumed)) > 7 and log_of(resumed) == entries
    with np.load(whole / 'model.npz') as a, np.load(resumed / 'model.npz') as b:
        assert set(a.files) == set(b.files)
        for name in a.files:
            assert a[name].tobytes() == b[name].tobytes(), name


@pytest.mark.mpi
@pytest.mark.parametrize('threads', ['1', ''])
def test_a_refusal_is_one_line_of_rank_0(threads, start_mpiexec, tmp_path):
    running = start_mpiexec(
        2, *TRAIN, *TINY, '--resume', tmp_path, '--out', tmp_path, threads=threads
    )
    printed = running.communicate(timeout=60)[0]
    assert running.returncode == 2, printed
    (line,) = (line for line in printed.splitlines() if 'OMP_NUM_THREADS' not in line)
    assert line.startswith(f'chainer-ssd train: error: rank 0: --resume {tmp_path}: no snapshot')
    assert printed.count('OMP_NUM_THREADS=1') == (threads == '')


@pytest.mark.mpi
@pytest.mark.parametrize('mistake', ['root', 'finished', 'other ranks'])
def test_other_refusals_are_one_line_too(start_mpiexec, voc_root, tmp_path, mistake):
    out = tmp_path / 'out'
    root = tmp_path / 'nowhere' if mistake == 'root' else voc_root
    if mistake == 'finished':
        out.mkdir()
        (out / 'model.npz').touch()
    script = tmp_path / 'differing.py'
    script.write_text(
        'import os, sys\n'
        'from chainer_ssd.cli import main\n'
        'seed = os.environ["PMI_RANK"] if "other" in sys.argv[1] else "0"\n'
        'main([*sys.argv[2:], "--seed", seed])\n'
    )
    running = start_mpiexec(
        2, script, mistake, 'train', '--dataset', 'voc', '--root', root, *TINY, '--out', out
    )
    printed = running.communicate(timeout=60)[0]
    assert running.returncode == 2, printed
    (line,) = printed.splitlines()
    expected = {
        'root': f'{root}',
        'finished': 'holds the weights model.npz of another training',
        'other ranks': 'seed differs: 0 (rank 0), 1 (rank 1)',
    }
    assert line.startswith('chainer-ssd train: error: ') and expected[mistake] in line


@pytest.mark.mpi
def test_a_forgotten_communicator_is_refused(start_mpiexec, tmp_path):
    running = start_mpiexec(2, *TRAIN, '--out', tmp_path / 'out')
    printed = running.communicate(timeout=60)[0]
    assert running.returncode == 2, printed
    expected = 'this is one of 2 processes of an MPI launcher (PMI_SIZE=2), and each would train al'
    assert printed.count(expected) == 2 and 'Add --communicator naive' in printed
    assert not (tmp_path / 'out').exists()


@pytest.mark.mpi
@pytest.mark.parametrize(
    ('number', 'receiver', 'word', 'status'),
    [
        (signal.SIGINT, 'launcher', 'interrupted', 130),
        (signal.SIGTERM, 'launcher', 'terminated', 143),
        pytest.param(signal.SIGTERM, 1, 'terminated', 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, 0, 'stopped by SIGUSR1', 138, marks=pytest.mark.slow),
        (signal.SIGUSR1, 1, 'stopped by SIGUSR1', 138),
    ],
)
def test_a_signal_ends_all_ranks_with_a_snapshot(
    start_mpiexec, voc_root, tmp_path, number, receiver, word, status
):
    options = ('--dataset', 'voc', '--root', voc_root, *TINY, '--snapshot-interval', 5)
    options = (*TRAIN, *options, '--out', tmp_path, '--resume', 'auto', '--workers', 1)
    running = start_mpiexec(2, *options, '--iteration', 100000)
    wait_for(tmp_path / 'snapshot_00000005_committed.json', running)
    pid = running.pid if receiver == 'launcher' else find_ranks(tmp_path)[receiver]
    sent = time.monotonic()
    os.kill(pid, number)
    printed = running.communicate(timeout=60)[0]
    assert time.monotonic() - sent < 15
    assert running.returncode == status, printed
    (found,) = re.findall(
        rf'^chainer-ssd train: {word} after iteration (\d+); '
        r'--resume auto goes on after iteration (\d+)$',
        printed,
        re.MULTILINE,
    )
    assert found[0] == found[1] and newest_snapshot(tmp_path) == int(found[0])
    assert 'Traceback' not in printed and 'watchdog' not in printed and 'Abort' not in printed
    resumed = start_mpiexec(2, *options, '--iteration', int(found[0]) + 2)
    printed = resumed.communicate(timeout=60)[0]
    assert resumed.returncode == 0, printed
    assert f'goes on after iteration {found[0]}' in printed


@pytest.mark.mpi
def test_a_training_without_the_watchdog(mpiexec, voc_root, tmp_path):
    options = ('--dataset', 'voc', '--root', voc_root, *TINY, '--iteration', 2, '--out', tmp_path)
    mpiexec(2, *TRAIN, *options, '--no-watchdog')
    assert (tmp_path / 'result.json').exists()
