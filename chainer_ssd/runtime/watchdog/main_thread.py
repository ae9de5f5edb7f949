"""What the main thread is doing, as seen from another thread."""

import math
import os
import sys
import threading
import time

from chainer_ssd.runtime.watchdog.processor_time import family_time, thread_time

# Files whose calls wait for other ranks: a rank in them is not the cause of a stall.
WAITING = ('chainermn', 'mpi4py', os.path.join('chainer_ssd', 'distributed'))
WORK = 0.05  # of a processor: who takes less is idle, not at work


class MainThread:
    """Samples the main thread.

    ``updater`` may be set to a Chainer updater, whose iteration is then watched. Busy at one and
    the same place, or asleep there while other threads or child processes work, for longer than
    ``patience`` seconds is not taken for work: MPI, called by others than ChainerMN, waits like
    this.
    """

    def __init__(self, patience):
        self.updater, self.patience = None, patience
        self._thread = threading.main_thread()
        self._seen, self._moved = None, 0.0
        self._own, self._others = 0.0, math.inf  # processor time at the last look

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
            f'{os.sep}{part}{os.sep}' in stack[0][2].co_filename for part in WAITING
        )
        seen = [(frame, instruction) for frame, instruction, _, _ in stack]
        own, others = thread_time(self._thread), math.inf
        moved = seen != self._seen
        busy = own > self._own  # a new frame may have the place of an old one
        if not (moved or busy or waits or updates):  # seldom: it costs more than all the rest
            others = family_time() - WORK * time.monotonic()  # grows while more than WORK is done
            busy = others > self._others
        if moved:
            self._moved = time.monotonic()
        patient = time.monotonic() < self._moved + self.patience
        runs = moved or busy and not waits and patient  # MPI waits at full speed
        self._seen, self._own, self._others = seen, own, others
        place = ' < '.join(
            f'{code.co_name} ({os.path.basename(code.co_filename)}:{line})'
            for _, _, code, line in stack[:3]
        )
        return {
            'iteration': self.iteration,
            'updates': updates,
            'runs': runs,
            'waits': waits,
            'place': place,
        }
