"""Failures under mpiexec end the job. Every living rank names the rank and the cause."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.distributed.faults import FAULTS
from tests.distributed.processes import find_processes, find_ranks

JOB = Path(__file__).with_name('job.py')
AFTER = 8  # iterations before the failure
TIMEOUT_SECONDS = 5  # of the watchdog
DEADLINE_SECONDS = 90  # for the job to start and to end on a busy machine
SHORT = [
    ('extension', 1),
    ('transform-worker', 1),
    ('transform-kill', 0),
    ('exit', 1),
    ('stop', 1),
    ('transform-stop', 0),
    ('transform-stop', 1),
    ('nan', 1),
]
STOPS_RANK = 'stop', 'transform-stop-both'
LONG = sorted({(name, rank) for name in FAULTS for rank in (0, 1, 2)} - set(SHORT))


def run(start_mpiexec, n, out, name, rank, *options, limit=DEADLINE_SECONDS):
    """Return exit status (None: it hangs), printed text, and seconds."""
    began = time.monotonic()
    process = start_mpiexec(
        n,
        JOB,
        out,
        '--iterations',
        40,
        '--slow',
        0.02,
        '--fault',
        f'{name}@{rank}@{AFTER}',
        *FAULTS[name].options,
        *options,
    )
    try:
        printed = process.communicate(timeout=limit)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            printed = process.communicate(timeout=5)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            printed = process.communicate()[0]
        return None, printed, time.monotonic() - began
    return process.returncode, printed, time.monotonic() - began


def check(start_mpiexec, n, out, name, rank):
    fault = FAULTS[name]
    status, printed, seconds = run(start_mpiexec, n, out, name, rank, '--watchdog', TIMEOUT_SECONDS)
    assert status, f'exit {status} after {seconds:.1f} s\n{printed}'
    messages = {
        int(each): text
        for each, text in re.findall(r'^watchdog on rank (\d+): (.*)', printed, re.MULTILINE)
    }
    if name == 'kill':  # the launcher kills the other ranks, perhaps before they print
        assert 'signal 9' in printed, printed
    else:
        assert messages.keys() | ({rank} if name in STOPS_RANK else set()) == set(range(n)), printed
    expected = fault.message.format(rank=rank, after=AFTER)
    for text in messages.values():
        assert re.search(expected, text), text
    end = time.monotonic() + 5
    while find_processes(out) and time.monotonic() < end:
        time.sleep(0.1)
    assert find_processes(out) == []
    return seconds


@pytest.mark.mpi
@pytest.mark.parametrize(('name', 'rank'), SHORT)
def test_faults(start_mpiexec, tmp_path, name, rank):
    check(start_mpiexec, 2, tmp_path, name, rank)


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize(('name', 'rank'), LONG)
def test_more_faults_on_each_rank(start_mpiexec, tmp_path, name, rank):
    check(start_mpiexec, 3, tmp_path, name, rank)


@pytest.mark.mpi
def test_a_failed_job_leaves_no_shared_memory(start_mpiexec, tmp_path):
    process = start_mpiexec(
        2, JOB, tmp_path, '--slow', 0.2, '--fault', f'extension@1@{AFTER}', '--watchdog', 20
    )
    segments, end = set(), time.monotonic() + 60
    while not segments and time.monotonic() < end:
        segments = {segment for pid in find_ranks(tmp_path) for segment in segments_of(pid)}
        time.sleep(0.05)
    if not segments:
        pytest.skip('this MPI keeps no files in /dev/shm')
    printed = process.communicate(timeout=60)[0]
    assert process.returncode and 'OSError: the disk is gone' in printed
    assert not [segment for segment in segments if Path(segment).exists()]


def segments_of(pid):
    try:
        return re.findall(
            r'/dev/shm/mpich_\S+$', Path(f'/proc/{pid}/maps').read_text(), re.MULTILINE
        )
    except OSError:
        return []


@pytest.mark.mpi
@pytest.mark.slow
def test_mpi_that_blocks_busily_in_a_users_call_is_no_work(mpiexec, tmp_path):
    printed = mpiexec(2, JOB, tmp_path, '--fault', 'barrier@1@5', '--watchdog', 2, expect='fails')
    assert re.search(r'no progress for \d+ s: rank 1 after iteration 5 in __cal', printed)


@pytest.mark.mpi
@pytest.mark.slow
def test_a_loop_that_polls_counts_as_blocked_after_ten_timeouts(mpiexec, tmp_path):
    began = time.monotonic()
    printed = mpiexec(2, JOB, tmp_path, '--fault', 'poll@1@5', '--watchdog', 2, expect='fails')
    assert re.search(r'no progress for \d+ s: rank 1 after iteration 5 in __call__', printed)
    assert 20 < time.monotonic() - began < 40  # ten timeouts and one


@pytest.mark.mpi
@pytest.mark.slow
def test_a_call_that_holds_pythons_lock_counts_as_frozen_after_one_timeout(mpiexec, tmp_path):
    began = time.monotonic()
    printed = mpiexec(2, JOB, tmp_path, '--fault', 'gil@1@5', '--watchdog', 4, expect='fails')
    assert re.search(r'rank 1 has sent no heartbeat for \d+ s', printed)
    assert 4 < time.monotonic() - began < 20


@pytest.mark.mpi
@pytest.mark.slow
def test_a_long_evaluation_is_no_fault(mpiexec, tmp_path):
    printed = mpiexec(2, JOB, tmp_path, '--fault', 'pause@1@5', '--watchdog', 4)
    assert 'done after 12 iterations' in printed and 'watchdog' not in printed


@pytest.mark.mpi
@pytest.mark.parametrize('n', [2])
def test_an_update_with_nan_is_skipped(mpiexec, tmp_path, n):
    printed = mpiexec(n, JOB, tmp_path, '--fault', 'nan@1@5', '--nan', 'skip')
    assert 'done after 12 iterations, 1 skipped, all weights finite' in printed


@pytest.mark.mpi
@pytest.mark.slow
def test_print_the_table(start_mpiexec, tmp_path_factory, capsys):
    """Print each failure without the watchdog (ChainerMN alone) and with it."""
    rows = ['| failure (on rank 1 of 2) | ChainerMN | ours | seconds |', '|---|---|---|---|']
    for name, fault in FAULTS.items():
        out = tmp_path_factory.mktemp('chainermn')
        status, printed, _ = run(start_mpiexec, 2, out, name, 1, '--nan', 'ignore', limit=20)
        chainermn = 'hangs' if status is None else 'ends' if status else 'exit 0'
        if 'not finite' in printed:
            chainermn += ', weights NaN'
        seconds = check(start_mpiexec, 2, tmp_path_factory.mktemp('ours'), name, 1)
        ours = 'ends, the signal named' if name == 'kill' else 'ends, named'
        rows.append(f'| {fault.text} | {chainermn} | {ours} | {seconds:.1f} |')
    with capsys.disabled():
        print('\n' + '\n'.join(rows))
        print(f'(watchdog timeout {TIMEOUT_SECONDS} s, seconds of the whole job with its start)')
    assert any('hangs' in row for row in rows)
