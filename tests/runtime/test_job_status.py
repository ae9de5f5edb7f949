"""Failures that ``JobStatus`` finds in heartbeats. Tests with real ranks: tests/distributed."""

import re

import pytest

from chainer_ssd.runtime.watchdog import job_status
from chainer_ssd.runtime.watchdog.job_status import JobStatus


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(job_status, 'time', clock)
    return clock


def heartbeat(
    iteration=5,
    in_update=True,
    active=False,
    blocked=False,
    finished=False,
    place='f (a.py:1)',
    stopped=(),
):
    return {
        'iteration': iteration,
        'in_update': in_update,
        'active': active,
        'blocked': blocked,
        'finished': finished,
        'place': place,
        'stopped_workers': stopped,
    }


def failure_within(clock, status, seconds, heartbeats):
    """Send each rank's heartbeat once a second. Return the first failure, or None."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 1
        for rank, message in heartbeats.items():
            status.add_message(rank, message)
        failure = status.find_failure()
        if failure is not None:
            return failure
    return None


def test_a_rank_without_heartbeats_fails_after_the_timeout(clock):
    status = JobStatus(0, 3, 100)
    evaluation = heartbeat(active=True, in_update=False)
    assert failure_within(clock, status, 20, {rank: evaluation for rank in range(3)}) is None
    others = {0: evaluation, 2: evaluation}
    assert failure_within(clock, status, 99, others) is None
    failure = failure_within(clock, status, 3, others)
    assert failure.startswith('rank 1 has sent no heartbeat for 10')
    assert 'last seen after iteration 5 in f (a.py:1)' in failure


def test_other_ranks_check_rank_0_only(clock):
    status = JobStatus(2, 3, 100)
    assert failure_within(clock, status, 300, {0: heartbeat(), 2: heartbeat()}) is None
    failure = failure_within(clock, status, 120, {2: heartbeat()})
    assert failure.startswith('rank 0 has sent no heartbeat')


def test_a_stall_names_the_rank_that_is_not_blocked(clock):
    status = JobStatus(0, 3, 100)
    blocked = heartbeat(blocked=True, place='recv (mpi.py:2)')
    heartbeats = {0: blocked, 1: heartbeat(active=True, place='loop (b.py:9)'), 2: blocked}
    failure = failure_within(clock, status, 110, heartbeats)
    assert re.match(
        r'no progress for 10\d s: rank 1 after iteration 5 in loop \(b.py:9\); '
        r'blocked: ranks 0, 2 after iteration 5 in recv \(mpi.py:2\)$',
        failure,
    )


def test_ranks_that_all_are_blocked(clock):
    heartbeats = {0: heartbeat(blocked=True), 1: heartbeat(blocked=True)}
    failure = failure_within(clock, JobStatus(0, 2, 100), 110, heartbeats)
    assert 'all ranks block each other; blocked: ranks 0, 1 after iteration 5' in failure


def test_a_rank_that_has_finished_is_named_in_a_stall(clock):
    heartbeats = {0: heartbeat(blocked=True), 1: heartbeat(finished=True)}
    failure = failure_within(clock, JobStatus(0, 2, 100), 110, heartbeats)
    assert ': rank 1 after the training; blocked: rank 0 after iteration 5' in failure


def test_iterations_evaluation_and_preparation_are_no_stall(clock):
    status = JobStatus(0, 2, 100)
    for iteration in range(30):  # slow iterations
        heartbeats = {0: heartbeat(iteration), 1: heartbeat(iteration)}
        assert failure_within(clock, status, 50, heartbeats) is None
    evaluation = {0: heartbeat(30, in_update=False, active=True), 1: heartbeat(30, blocked=True)}
    assert failure_within(clock, status, 1000, evaluation) is None
    frozen = {0: heartbeat(30, in_update=False), 1: heartbeat(30, blocked=True)}
    assert failure_within(clock, status, 110, frozen)


def test_suspended_time_does_not_count(clock):
    status = JobStatus(0, 2, 100)
    heartbeats = {0: heartbeat(in_update=False, active=True), 1: heartbeat()}
    for _ in range(5):
        assert failure_within(clock, status, 10, heartbeats) is None
        clock.now += 3600
        assert status.find_failure() is None


def test_the_first_failure_is_kept(clock):
    status = JobStatus(0, 3, 100)
    status.add_message(1, heartbeat())
    status.add_message(1, None)
    status.add_message(2, {'failure': 'rank 2: later'})
    assert status.find_failure() == (
        'rank 1 died: its connection closed without a message; '
        'last seen after iteration 5 in f (a.py:1)'
    )


def test_a_received_failure_is_returned(clock):
    status = JobStatus(1, 2, 100)
    status.add_message(0, {'failure': 'rank 0: ValueError'})
    assert status.find_failure() == 'rank 0: ValueError'


def test_ranks_finish_together(clock):
    status = JobStatus(0, 2, 100)
    status.add_message(0, heartbeat(finished=True))
    status.add_message(1, heartbeat())
    assert not status.has_finished
    status.add_message(1, heartbeat(finished=True))
    assert status.has_finished and status.find_failure() is None

    status = JobStatus(1, 2, 100)
    status.add_message(0, {'all finished': True})
    assert status.has_finished


def test_a_thousand_ranks_fit_into_a_message(clock):
    status = JobStatus(0, 1024, 100)
    heartbeats = {rank: heartbeat(blocked=rank != 7) for rank in range(1024)}
    failure = failure_within(clock, status, 110, heartbeats)
    assert 'rank 7 after' in failure and 'and 1015 more' in failure and len(failure) < 300
    places = {rank: heartbeat(place=f'f (a.py:{rank})') for rank in range(1024)}
    failure = failure_within(clock, JobStatus(0, 1024, 100), 110, places)
    assert failure.endswith('; ...') and len(failure) < 500


def test_a_thousand_heartbeats_need_few_checks(clock, monkeypatch):
    status, message, checks = JobStatus(0, 1024, 600), heartbeat(), []
    monkeypatch.setattr(status, '_last_seen', checks.append)
    status._seconds_since_heartbeat = dict.fromkeys(
        range(1024), 1e9
    )  # a check would find a failure
    for rank in range(1, 1000):
        clock.now += 0.005  # five seconds of a job's heartbeats
        status.add_message(rank, message)
        assert status.find_failure() is None
    assert not checks
    clock.now += 6
    assert status.find_failure()
