"""Whether the job still runs, from what the ranks say of themselves."""

import time


class Verdict:
    """Listens to heartbeats and says when and why the job is to end.

    Rank 0 hears all ranks and judges for them; the others only hear rank 0.
    """

    def __init__(self, rank, size, timeout):
        self.rank, self.size, self.timeout = rank, size, timeout
        heard = range(size) if rank == 0 else (0, rank)
        self.all_left = False
        self._last = {other: {} for other in heard}  # the last heartbeat of each rank
        self._silent = dict.fromkeys(heard, 0.0)  # seconds without one
        self._iterations = {}
        self._idle = 0.0  # seconds without progress
        self._told = None
        self._time, self._step = time.monotonic(), timeout / 100

    def hear(self, rank, message):
        """Takes in a message of :class:`Watchdog`; None: the connection ended."""
        if message is None:
            self._told = self._told or f'rank {rank} died without a word{self._seen(rank)}'
        elif 'failed' in message:
            self._told = self._told or message['failed']
        elif 'all left' in message:
            self.all_left = True
        else:
            self._last[rank], self._silent[rank] = message, 0.0
            if self._iterations.get(rank, -1) != message['iteration']:
                self._iterations[rank] = message['iteration']
                self._idle = 0.0
            if message['runs'] and not message['updates'] and not message['left']:
                self._idle = 0.0
            if self.rank == 0 and all(last.get('left') for last in self._last.values()):
                self.all_left = True

    def text(self):
        """The verdict, or None. Called in short intervals: a longer one was a suspension."""
        now = time.monotonic()
        if self._told or self.all_left or now < self._time + self._step:
            return self._told  # 1,024 ranks speak 200 times a second
        passed, self._time = min(now - self._time, self.timeout / 10), now
        self._idle += passed
        for rank in self._silent:
            self._silent[rank] += passed
        rank = max(self._silent, key=self._silent.get)
        stalled = self.rank == 0 and self._idle > self.timeout
        if self._silent[rank] > (self.timeout / 2 if stalled else self.timeout):
            return (
                f'rank {rank} has been silent for {self._silent[rank]:.0f} s (frozen, or its '
                f'host is down or unreachable){self._seen(rank)}'
            )
        return self._stall() if stalled else None

    def _seen(self, rank):
        last = self._last[rank]
        return f'; last seen {_where(last)}' if last else ''

    def _stall(self):
        working = {rank: last for rank, last in self._last.items() if not last['waits']}
        text = f'nothing has gone on for {self._idle:.0f} s: '
        found = '; '.join(_grouped(working)) or 'all ranks wait for each other'
        waiting = _grouped({rank: self._last[rank] for rank in self._last.keys() - working.keys()})
        return text + found + ('; waiting: ' + '; '.join(waiting) if waiting else '')


def _where(last):
    done = last['iteration']
    at = 'before the training' if done is None else f'after iteration {done}'
    return f'{at} in {last["place"]}'


def _grouped(heartbeats, most=8):
    """Ranks by place: what 1,024 of them do is no message."""
    places = {}
    for rank, last in sorted(heartbeats.items()):
        where = 'at the end' if last['left'] else _where(last)
        places.setdefault(where, []).append(rank)
    lines = [
        f'rank{"s" * (len(ranks) > 1)} {_listed(ranks)} {where}' for where, ranks in places.items()
    ]
    return lines[:most] + ['...'] * (len(lines) > most)


def _listed(ranks, most=8):
    return ', '.join(map(str, ranks[:most])) + f' and {len(ranks) - most} more' * (
        len(ranks) > most
    )
