"""examples/train.py on ranks: the global loss, faults, and resuming."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_train import root  # noqa: F401  (a fixture)

TRAIN = Path(__file__).resolve().parents[2] / 'examples/train.py'
TINY = ('--insize', 32, '--batchsize', 1, '--communicator', 'naive')


def log_of(out):
    """The log without its times, which no run repeats."""
    return [
        {name: value for name, value in entry.items() if 'time' not in name}
        for entry in json.loads((out / 'log').read_text())
    ]


@pytest.mark.mpi
def test_the_log_is_of_all_ranks_and_a_resumed_run_ends_alike(mpiexec, root, tmp_path):  # noqa: F811
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    options = ('--dataset', 'voc', '--root', root, *TINY, '--iteration', 10)
    mpiexec(2, TRAIN, *options, '--out', whole, '--snapshot-interval', 7)
    entries = log_of(whole)
    assert len(entries) == 10 and all(entry['main/loss'] > 0 for entry in entries)
    # Batches of one image: a count of one rank is whole, a mean of two may be a half.
    assert any(entry['main/n_positive'] % 1 == 0.5 for entry in entries)

    mpiexec(2, TRAIN, *options, '--out', resumed, '--resume', whole)
    assert len(log_of(resumed)) > 7 and log_of(resumed) == entries
    with np.load(whole / 'model.npz') as a, np.load(resumed / 'model.npz') as b:
        assert set(a.files) == set(b.files)
        for name in a.files:
            assert a[name].tobytes() == b[name].tobytes(), name


@pytest.mark.mpi
@pytest.mark.parametrize('threads', ['1', ''])
def test_what_one_rank_meets_is_told_by_all(threads, mpiexec, tmp_path):
    printed = mpiexec(
        2, TRAIN, *TINY, '--resume', tmp_path, '--out', tmp_path, expect='fails', threads=threads
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
def test_ctrl_c_ends_all_ranks_and_says_how_to_go_on(start_mpiexec, root, tmp_path):  # noqa: F811
    running = start_mpiexec(
        2,
        TRAIN,
        '--dataset',
        'voc',
        '--root',
        root,
        *TINY,
        '--iteration',
        100000,
        '--snapshot-interval',
        5,
        '--out',
        tmp_path,
    )
    deadline = time.monotonic() + 120
    snapshot = [tmp_path / f'snapshot_00000005_rank{rank}.json' for rank in (0, 1)]
    while (
        not all(path.exists() for path in snapshot)
        and running.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    pressed = time.monotonic()
    os.kill(running.pid, signal.SIGINT)  # which mpiexec hands on
    printed = running.communicate(timeout=60)[0]
    assert running.returncode and time.monotonic() - pressed < 30
    assert re.search(
        r'^watchdog on rank 0: .*interrupted after iteration \d+; '
        r'--resume auto goes on after iteration \d+',
        printed,
        re.MULTILINE,
    )
    assert 'Traceback' not in printed
