"""Data workers of this process that have died.

A pool of :mod:`multiprocessing` blocks for ever if one of its workers dies.
"""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.process import BaseProcess

from chainer_ssd.runtime.watchdog.process_tree import describe_state


class DataWorkers:
    """The daemonic children of this process that multiprocessing has started."""

    def __init__(self) -> None:
        self._known: dict[int | None, BaseProcess] = {}

    def find_deaths(self) -> list[str]:
        """Return one text for each worker that has died since the last call."""
        for worker in _living_workers():
            self._known[worker.pid] = worker
        deaths = []
        for pid, worker in list(self._known.items()):
            try:
                status = worker.exitcode
            except ValueError:  # it has ended and was closed
                status = 0
            if status is not None:
                del self._known[pid]
            if status not in (None, 0, -signal.SIGTERM):  # pools end their workers by SIGTERM
                deaths.append(f'data worker {pid} died ({_describe_status(status)})')
        return deaths

    def find_stopped(self) -> list[str]:
        """Return one text for each worker that does not run, although it has not ended."""
        states = {pid: describe_state(pid) for pid in self._known if pid is not None}
        return [f'data worker {pid} is {state}' for pid, state in states.items() if state]


def _living_workers() -> list[BaseProcess]:
    try:
        return [child for child in multiprocessing.active_children() if child.daemon]
    except (AttributeError, ValueError):  # a worker was closed at this moment
        return []


def _describe_status(status: int) -> str:
    names = {
        int(number): number.name for number in signal.Signals
    }  # real-time signals have no name
    return f'status {status}' if status > 0 else names.get(-status, f'signal {-status}')
