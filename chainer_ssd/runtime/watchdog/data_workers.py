"""Data workers, and what became of them: a pool goes on waiting for those that died."""

import multiprocessing
import signal


class DataWorkers:
    """The daemonic children of this process, as multiprocessing knows them."""

    def __init__(self):
        self._known = {}

    def deaths(self):
        """What befell those that died since the last call, one text for each."""
        for worker in _living():
            self._known[worker.pid] = worker
        found = []
        for pid, worker in list(self._known.items()):
            try:
                status = worker.exitcode
            except ValueError:  # it has ended and was closed
                status = 0
            if status is not None:
                del self._known[pid]
            if status not in (None, 0, -signal.SIGTERM):  # pools end their workers by SIGTERM
                found.append(f'data worker {pid} died ({_how(status)})')
        return found


def _living():
    try:
        return [child for child in multiprocessing.active_children() if child.daemon]
    except (AttributeError, ValueError):  # one was closed at this moment
        return []


def _how(status):
    names = {number: number.name for number in signal.Signals}  # not of real-time ones
    return f'status {status}' if status > 0 else names.get(-status, f'signal {-status}')
