"""Killed and resumed runs end with the weights of an uninterrupted run, bit for bit."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.distributed.processes import find_processes, find_ranks

JOB = Path(__file__).with_name('job.py')
OPTIONS = '--iterations', 30, '--snapshot', 3, '--workers', 1, '--watchdog', 20


def weights(out):
    with np.load(out / 'weights.npz') as npz:
        return {name: npz[name] for name in npz.files}


@pytest.fixture(scope='session')
def uninterrupted(tmp_path_factory, start_mpiexec):
    """Return ``run(n)`` -> the weights of an uninterrupted run on n ranks."""
    known = {}

    def run(n):
        if n not in known:
            out = tmp_path_factory.mktemp(f'uninterrupted{n}')
            process = start_mpiexec(n, JOB, out, *OPTIONS)
            printed = process.communicate(timeout=120)[0]
            assert process.returncode == 0, printed
            known[n] = weights(out)
        return known[n]

    return run


def kill_and_resume(start_mpiexec, out, n, seed):
    """Kill a rank or the whole job at a random moment, resume, and return the printed text."""
    rng = random.Random(seed)
    process = start_mpiexec(n, JOB, out, *OPTIONS, '--slow', 0.05)
    end = time.monotonic() + 60
    while (
        not list(out.glob('*_committed.json')) and time.monotonic() < end and process.poll() is None
    ):
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 1.2))  # a part of that time, snapshots are being written
    ranks = find_ranks(out)
    for pid in ranks if rng.random() < 0.3 else rng.sample(ranks, min(1, len(ranks))):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        killed = process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError('the job did not end with its rank') from None
    assert process.returncode != 0 and ranks, f'nothing was killed: {killed}'
    resumed = start_mpiexec(n, JOB, out, *OPTIONS, '--resume')
    printed = resumed.communicate(timeout=120)[0]
    assert resumed.returncode == 0, printed
    assert 'done after 30 iterations' in printed
    return printed


def check_equal(out, expected):
    found = weights(out)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.mpi
@pytest.mark.parametrize('seed', range(3))
def test_killed_and_resumed(start_mpiexec, uninterrupted, tmp_path, seed):
    expected = uninterrupted(2)
    printed = kill_and_resume(start_mpiexec, tmp_path, 2, seed)
    assert 'resumed from' in printed and 'resumed from None' not in printed
    check_equal(tmp_path, expected)


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize('seed', range(3, 53))
def test_killed_and_resumed_again_and_again(start_mpiexec, uninterrupted, tmp_path, seed):
    n = 2 + seed % 2
    expected = uninterrupted(n)
    kill_and_resume(start_mpiexec, tmp_path, n, seed)
    check_equal(tmp_path, expected)


@pytest.mark.mpi
def test_damaged_generations_are_skipped(start_mpiexec, uninterrupted, tmp_path):
    expected = uninterrupted(2)
    process = start_mpiexec(2, JOB, tmp_path, *OPTIONS)
    assert process.communicate(timeout=120) and process.returncode == 0
    damaged = tmp_path / 'snapshot_00000030_rank1.npz'
    damaged.write_bytes(damaged.read_bytes()[:-100])
    (tmp_path / 'snapshot_00000027_rank0.json').write_text('{')
    resumed = start_mpiexec(2, JOB, tmp_path, *OPTIONS, '--resume')
    printed = resumed.communicate(timeout=120)[0]
    assert 'resumed from 24' in printed
    assert 'iteration 30 skipped: rank 1: ' in printed and 'is damaged' in printed
    assert 'iteration 27 skipped: rank 0: ' in printed
    check_equal(tmp_path, expected)
    kept = sorted(
        json.loads(path.read_text())['iteration'] for path in tmp_path.glob('*_committed.json')
    )
    assert kept == [24, 27, 30]


GLOBAL_BATCH = 12
PLAIN = '--plain', '--iterations', 30, '--snapshot', 3, '--watchdog', 20


def run_job(start_mpiexec, n, out, *options):
    process = start_mpiexec(n, JOB, out, '--batchsize', GLOBAL_BATCH // n, *PLAIN, *options)
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 0, printed
    return printed


def largest_difference(found, expected):
    """Return the largest difference relative to the largest entry of each array."""
    return max(
        np.abs(found[name] - array).max() / np.abs(array).max() for name, array in expected.items()
    )


@pytest.fixture(scope='session')
def straight_runs(tmp_path_factory, start_mpiexec):
    """Weights of runs on 2 and on 3 ranks, from the first to the last iteration."""
    runs = {}
    for n in (2, 3):
        out = tmp_path_factory.mktemp(f'straight{n}')
        run_job(start_mpiexec, n, out)
        runs[n] = weights(out)
    return runs


@pytest.mark.mpi
def test_resumed_on_other_numbers_of_ranks(start_mpiexec, straight_runs, tmp_path):
    stops = (2, 6), (3, 15), (1, 21)
    for n, iteration in stops:
        run_job(start_mpiexec, n, tmp_path, '--iterations', iteration, '--resume')
    printed = run_job(start_mpiexec, 4, tmp_path, '--resume')
    assert 'resumed from 21' in printed
    assert '1 ranks have saved the snapshot, and 4 resume: the random states of Python' in printed
    rounding = largest_difference(straight_runs[3], straight_runs[2])
    assert 0 < rounding < 1e-4
    assert largest_difference(weights(tmp_path), straight_runs[2]) <= 10 * rounding
    # Files of ranks that no longer exist are deleted with their generations.
    assert len(list(tmp_path.glob('snapshot_*.npz'))) == 3 * 4


N_KILL = 5  # in each of the runs below
LONG = '--iterations', 90, '--snapshot', 3, '--watchdog', 20


def kill_at_random(start_mpiexec, rng, n, out, *options):
    """Start a job, and kill a part of it at a random moment. Return whether it was killed."""
    process = start_mpiexec(n, JOB, out, *LONG, *options, '--slow', 0.05, '--resume')
    end = time.monotonic() + 60
    while len(find_ranks(out)) < n and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    time.sleep(rng.uniform(1.0, 3.5))  # the start takes a part of it
    ranks, processes = find_ranks(out), find_processes(out)
    workers = sorted(set(processes) - set(ranks))
    kind = rng.choice(['rank', 'all', 'worker'])
    victims = {'rank': ranks[:], 'all': ranks, 'worker': workers or ranks}[kind]
    if kind != 'all' and victims:
        victims = [rng.choice(victims)]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    printed = process.communicate(timeout=60)[0]
    if process.returncode == 0:
        assert 'done after 90 iterations' in printed
        return False
    assert victims, printed
    return True


def finish(start_mpiexec, n, out, *options):
    process = start_mpiexec(n, JOB, out, *LONG, *options, '--resume')
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and 'done after 90 iterations' in printed, printed
    return weights(out)


@pytest.fixture(scope='session')
def long_runs(tmp_path_factory, start_mpiexec):
    """Weights of runs that nobody has killed, by number of ranks and options."""
    known = {}

    def run(n, *options):
        if (n, options) not in known:
            out = tmp_path_factory.mktemp(f'long{n}')
            known[n, options] = finish(start_mpiexec, n, out, *options)
        return known[n, options]

    return run


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize('seed', range(11))
def test_killed_many_times_the_weights_are_the_same(start_mpiexec, long_runs, tmp_path, seed):
    rng, n = random.Random(1000 + seed), 2 + seed % 2
    expected = long_runs(n, '--workers', 1)
    n_killed = 0
    while n_killed < N_KILL:
        if not kill_at_random(start_mpiexec, rng, n, tmp_path, '--workers', 1):
            break  # it was done before
        n_killed += 1
    finish(start_mpiexec, n, tmp_path, '--workers', 1)
    print(f'{n_killed} kills')
    check_equal(tmp_path, expected)


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize('seed', range(6))
def test_killed_and_resumed_on_other_numbers_of_ranks(start_mpiexec, long_runs, tmp_path, seed):
    rng = random.Random(2000 + seed)

    def options(n):
        return '--plain', '--batchsize', GLOBAL_BATCH // n

    rounding = largest_difference(long_runs(3, *options(3)), long_runs(2, *options(2)))
    n_killed, sizes = 0, rng.sample([1, 2, 3, 4], 4)
    for n in sizes:
        n_killed += kill_at_random(start_mpiexec, rng, n, tmp_path, *options(n))
    found = finish(start_mpiexec, sizes[0], tmp_path, *options(sizes[0]))
    difference = largest_difference(found, long_runs(2, *options(2)))
    print(f'{n_killed} kills, ranks {sizes}: {difference:.2g}, rounding {rounding:.2g}')
    assert 0 < rounding < 1e-3
    assert difference <= 10 * rounding
