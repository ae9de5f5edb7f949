"""Real faults under mpiexec: no hang, a message on every living rank that names rank and cause."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.distributed.faults import FAULTS
from tests.distributed.test_resume import ranks_of

JOB = Path(__file__).with_name('job.py')
AFTER = 8  # iterations, then the fault
TIMEOUT = 5  # of the watchdog
SLACK = 20  # seconds to start, and to end, on a busy machine
SHORT = [
    ('extension', 1),
    ('transform-worker', 1),
    ('transform-kill', 0),
    ('exit', 1),
    ('stop', 1),
    ('nan', 1),
]
LONG = sorted({(name, rank) for name in FAULTS for rank in (0, 1, 2)} - set(SHORT))


def run(start_mpiexec, n, out, name, rank, *options, limit=TIMEOUT + SLACK):
    """Exit status (None: it hangs), what was printed, seconds."""
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
    status, printed, seconds = run(start_mpiexec, n, out, name, rank, '--watchdog', TIMEOUT)
    assert status, f'exit {status} after {seconds:.1f} s\n{printed}'
    said = {
        int(each): text
        for each, text in re.findall(r'^watchdog on rank (\d+): (.*)', printed, re.MULTILINE)
    }
    if name == 'kill':  # the launcher kills the others: it may be faster than their message
        assert 'signal 9' in printed, printed
    else:
        assert said.keys() | ({rank} if name == 'stop' else set()) == set(range(n)), printed
    expected = fault.message.format(rank=rank, after=AFTER)
    for text in said.values():
        assert re.search(expected, text), text
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
def test_a_struck_job_leaves_no_shared_memory(start_mpiexec, tmp_path):
    process = start_mpiexec(
        2, JOB, tmp_path, '--slow', 0.2, '--fault', f'extension@1@{AFTER}', '--watchdog', 20
    )
    segments, end = set(), time.monotonic() + 60
    while not segments and time.monotonic() < end:
        segments = {segment for pid in ranks_of(tmp_path) for segment in segments_of(pid)}
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
def test_mpi_that_waits_at_full_speed_in_a_users_call_is_no_work(mpiexec, tmp_path):
    printed = mpiexec(2, JOB, tmp_path, '--fault', 'barrier@1@5', '--watchdog', 2, expect='fails')
    assert re.search(r'nothing has gone on for \d+ s: rank 1 after iteration 5 in __cal', printed)


@pytest.mark.mpi
@pytest.mark.slow
def test_a_long_evaluation_is_no_fault(mpiexec, tmp_path):
    printed = mpiexec(2, JOB, tmp_path, '--fault', 'pause@1@5', '--watchdog', 4)
    assert 'done after 12 iterations' in printed and 'watchdog' not in printed


@pytest.mark.mpi
@pytest.mark.parametrize('n', [2])
def test_a_step_with_nan_is_skipped(mpiexec, tmp_path, n):
    printed = mpiexec(n, JOB, tmp_path, '--fault', 'nan@1@5', '--nan', 'skip')
    assert 'done after 12 iterations, 1 skipped, all weights finite' in printed


@pytest.mark.mpi
@pytest.mark.slow
def test_print_the_table(start_mpiexec, tmp_path_factory, capsys):
    """Each row without the watchdog, as ChainerMN leaves it, and with it."""
    rows = ['| failure (on rank 1 of 2) | today | ours | seconds |', '|---|---|---|---|']
    for name, fault in FAULTS.items():
        out = tmp_path_factory.mktemp('today')
        status, printed, _ = run(start_mpiexec, 2, out, name, 1, '--nan', 'ignore', limit=20)
        today = 'hangs' if status is None else 'ends' if status else 'exit 0'
        if 'not finite' in printed:
            today += ', weights NaN'
        seconds = check(start_mpiexec, 2, tmp_path_factory.mktemp('ours'), name, 1)
        ours = 'ends, the signal named' if name == 'kill' else 'ends, named'
        rows.append(f'| {fault.row} | {today} | {ours} | {seconds:.1f} |')
    with capsys.disabled():
        print('\n' + '\n'.join(rows))
        print(f'(timeout of the watchdog {TIMEOUT} s; seconds of the whole job, with its start)')
    assert any('hangs' in row for row in rows)
