"""What the main thread is doing, as seen from another thread."""
import os
import sys
import threading
import time

# Files whose calls wait for other ranks: a rank in them is not the cause of a stall.
WAITING = ('chainermn', 'mpi4py', os.path.join('chainer_ssd', 'distributed'))


class MainThread:
    """Samples the main thread.

    ``updater`` may be set to a Chainer updater, whose iteration is then watched. Busy at one and
    the same place for longer than ``patience`` seconds is not taken for work: MPI, called by
    others than ChainerMN, waits like this.
    """

    def __init__(self, patience):
        self.updater, self.patience = None, patience
        self._thread = threading.main_thread()
        self._seen, self._cpu, self._moved = None, 0., 0.

    @property
    def iteration(self):
        """Iterations done; None before a trainer runs."""
        return None if self.updater is None else self.updater.iteration

    def sample(self):
        """One look.

        Returns
        -------
        dict
            ``iteration``; ``updates``: whether it is inside the updater's ``update``; ``runs``:
            whether it did something since the last look, busy waiting for other ranks apart;
            ``waits``: whether it waits for other ranks; ``place``: its innermost calls.
        """
        updates, stack = False, []
        update = getattr(getattr(self.updater, 'update', None), '__code__', None)
        frame = sys._current_frames().get(self._thread.ident)
        while frame is not None:
            updates |= frame.f_code is update
            stack.append((id(frame), frame.f_lasti, frame.f_code, frame.f_lineno))
            frame = frame.f_back
        waits = bool(stack) and any(
            f'{os.sep}{part}{os.sep}' in stack[0][2].co_filename for part in WAITING)
        cpu = _cpu_time(self._thread)
        busy = cpu - self._cpu > 0.01 and not waits  # MPI waits at full speed
        seen = [(frame, instruction) for frame, instruction, _, _ in stack]
        if seen != self._seen:
            self._moved = time.monotonic()
        runs = seen != self._seen or busy and time.monotonic() < self._moved + self.patience
        self._seen, self._cpu = seen, cpu
        place = ' < '.join(f'{code.co_name} ({os.path.basename(code.co_filename)}:{line})'
                           for _, _, code, line in stack[:3])
        return {'iteration': self.iteration, 'updates': updates, 'runs': runs, 'waits': waits,
                'place': place}


def _cpu_time(thread):
    """Seconds of processor time of a thread, 0 where the platform does not tell."""
    if not hasattr(time, 'pthread_getcpuclockid'):
        return 0.
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
