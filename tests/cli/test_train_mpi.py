"""chainer-ssd train on ranks: the log, errors, and resuming."""

import json
import os
import re
import signal
import time

import numpy as np
import pytest

from tests.cli.command import COMMAND, wait_for

TRAIN = (*COMMAND, 'train')
TINY = ('--insize', 32, '--batchsize', 1, '--communicator', 'naive')


def log_of(out):
    """Returns the log without its times, which differ from run to run."""
    return [
        {name: value for name, value in entry.items() if 'time' not in name}
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
def test_an_error_of_one_rank_is_reported_on_all(threads, mpiexec, tmp_path):
    printed = mpiexec(
        2, *TRAIN, *TINY, '--resume', tmp_path, '--out', tmp_path, expect='fails', threads=threads
    )
    assert set(
        re.findall(
            r'^watchdog on rank (\d): rank \d: ValueError: --resume .*: no snapshot',
            printed,
            re.MULTILINE,
        )
    ) == {'0', '1'}
    assert printed.count('OMP_NUM_THREADS=1') == (threads == '')


@pytest.mark.mpi
def test_ctrl_c_ends_all_ranks_and_tells_how_to_resume(start_mpiexec, voc_root, tmp_path):
    running = start_mpiexec(
        2,
        *TRAIN,
        '--dataset',
        'voc',
        '--root',
        voc_root,
        *TINY,
        '--iteration',
        100000,
        '--snapshot-interval',
        5,
        '--out',
        tmp_path,
    )
    for rank in (0, 1):
        wait_for(tmp_path / f'snapshot_00000005_rank{rank}.json', running)
    pressed = time.monotonic()
    os.kill(running.pid, signal.SIGINT)  # mpiexec sends it to the ranks
    printed = running.communicate(timeout=60)[0]
    assert running.returncode and time.monotonic() - pressed < 30
    assert re.search(
        r'^watchdog on rank 0: .*interrupted after iteration \d+; '
        r'--resume auto goes on after iteration \d+',
        printed,
        re.MULTILINE,
    )
    assert 'Traceback' not in printed
