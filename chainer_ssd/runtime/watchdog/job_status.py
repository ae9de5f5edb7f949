"""Whether the job still makes progress, from the heartbeats of its ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

MAX_PLACES = MAX_RANKS = 8  # in a message


class JobStatus:
    """State of the job, from the messages of the ranks.

    Rank 0 receives the heartbeats of all ranks and checks all of them. The other ranks check rank
    0 only.

    Parameters
    ----------
    rank : int
        Number of this process.
    size : int
        Number of ranks.
    timeout : float
        Seconds without a heartbeat of a rank, or without progress, after which the job has failed.

    Attributes
    ----------
    has_finished : bool
        Whether all ranks have left the watchdog's block.
    """

    def __init__(self, rank: int, size: int, timeout: float) -> None:
        self.rank, self.size, self.timeout = rank, size, timeout
        senders = range(size) if rank == 0 else (0, rank)
        self.has_finished = False
        self._heartbeats: dict[int, dict[str, Any]] = {sender: {} for sender in senders}
        self._seconds_since_heartbeat = dict.fromkeys(senders, 0.0)
        self._iterations: dict[int, int | None] = {}
        self._idle_seconds = 0.0
        self._failure: str | None = None
        self._last_check, self._check_seconds = time.monotonic(), timeout / 100

    def add_message(self, rank: int, message: dict[str, Any] | None) -> None:
        """Record a message of :class:`Watchdog`. None means that the connection has closed."""
        if message is None:
            self._failure = self._failure or (
                f'rank {rank} died: its connection closed without a message{self._last_seen(rank)}'
            )
        elif 'failure' in message:
            self._failure = self._failure or message['failure']
        elif 'all finished' in message:
            self.has_finished = True
        else:
            self._heartbeats[rank], self._seconds_since_heartbeat[rank] = message, 0.0
            if self._iterations.get(rank, -1) != message['iteration']:
                self._iterations[rank] = message['iteration']
                self._idle_seconds = 0.0
            is_between_updates = not message['in_update'] and not message['finished']
            if message['active'] and is_between_updates:
                self._idle_seconds = 0.0
            if self.rank == 0 and all(last.get('finished') for last in self._heartbeats.values()):
                self.has_finished = True

    def read_samples(self) -> dict[int, list[list[int]]]:
        """Return the samples of :class:`Watchdog` of each rank that has sent a heartbeat."""
        return {rank: last['samples'] for rank, last in self._heartbeats.items() if last}

    def find_failure(self) -> str | None:
        """Return why the job has failed, or None.

        It is called in short intervals. After a long one the job was suspended, and the interval
        counts as a short one.
        """
        now = time.monotonic()
        # With many ranks, 100 messages a second arrive. A check at each would be too many.
        is_due = now >= self._last_check + self._check_seconds
        if self._failure or self.has_finished or not is_due:
            return self._failure
        passed, self._last_check = min(now - self._last_check, self.timeout / 10), now
        self._idle_seconds += passed
        for rank in self._seconds_since_heartbeat:
            self._seconds_since_heartbeat[rank] += passed
        rank = max(self._seconds_since_heartbeat, key=self._seconds_since_heartbeat.__getitem__)
        seconds = self._seconds_since_heartbeat[rank]
        is_stalled = self.rank == 0 and self._idle_seconds > self.timeout
        if seconds > (self.timeout / 2 if is_stalled else self.timeout):
            return (
                f'rank {rank} has sent no heartbeat for {seconds:.0f} s (frozen, or its host is '
                f'down or unreachable){self._last_seen(rank)}'
            )
        return self._describe_stall() if is_stalled else None

    def _last_seen(self, rank: int) -> str:
        last = self._heartbeats[rank]
        return f'; last seen {_describe_place(last)}' if last else ''

    def _describe_stall(self) -> str:
        blocked = {rank: last for rank, last in self._heartbeats.items() if last['blocked']}
        others = {rank: self._heartbeats[rank] for rank in self._heartbeats.keys() - blocked.keys()}
        text = f'no progress for {self._idle_seconds:.0f} s: '
        text += '; '.join(_group_by_place(others)) or 'all ranks block each other'
        text += '; blocked: ' + '; '.join(_group_by_place(blocked)) if blocked else ''
        stopped = [
            f'rank {rank}: {worker}'
            for rank, last in sorted(self._heartbeats.items())
            for worker in last['stopped_workers']
        ]
        return '; '.join([text, *stopped[:MAX_PLACES]])


def _describe_place(heartbeat: Mapping[str, Any]) -> str:
    if heartbeat['finished']:
        return 'after the training'
    iteration = heartbeat['iteration']
    stage = 'before the training' if iteration is None else f'after iteration {iteration}'
    return f'{stage} in {heartbeat["place"]}'


def _group_by_place(heartbeats: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Return one text per place, with its ranks. 1,024 ranks must fit into a message."""
    places: dict[str, list[int]] = {}
    for rank, heartbeat in sorted(heartbeats.items()):
        places.setdefault(_describe_place(heartbeat), []).append(rank)
    texts = [
        f'rank{"s" * (len(ranks) > 1)} {_list_ranks(ranks)} {place}'
        for place, ranks in places.items()
    ]
    return texts[:MAX_PLACES] + ['...'] * (len(texts) > MAX_PLACES)


def _list_ranks(ranks: list[int]) -> str:
    n_more = len(ranks) - MAX_RANKS
    return ', '.join(map(str, ranks[:MAX_RANKS])) + (f' and {n_more} more' if n_more > 0 else '')
