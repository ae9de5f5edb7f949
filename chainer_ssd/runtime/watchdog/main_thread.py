"""State of the main thread, as another thread finds it."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from types import CodeType
from typing import Any, NamedTuple

from chainer_ssd.runtime.watchdog.communication_code import (
    find_communication_directories,
    is_in_directory,
)
from chainer_ssd.runtime.watchdog.processor_time import family_time, thread_time

PARTS = 'data', 'forward', 'backward', 'update', 'extensions'
#: Beginnings of the files of Chainer that a stack holds during a part of an update.
_FILES_OF_PART = (
    ('backward', ('_backprop.py',)),
    ('forward', ('link.py',)),
    ('data', (f'iterators{os.sep}', f'dataset{os.sep}')),
)
MIN_LOAD = 0.05  # processors that threads and children use at least, if they are at work


class MainThread:
    """Samples of the main thread.

    A thread that computes may stay at one instruction for long. It may be in one call outside of
    Python, or other threads or child processes work for it. After ``max_still_seconds`` there it no
    longer counts as active. MPI that another package than ChainerMN calls is such a case, because
    MPI uses the processor while it blocks.

    Parameters
    ----------
    max_still_seconds : float
        How long a thread that stays at one instruction counts as active.

    Attributes
    ----------
    updater : chainer.training.Updater or None
        Its iteration is sampled. May be set at any time.
    """

    def __init__(self, max_still_seconds: float) -> None:
        self.updater: Any = None
        self.max_still_seconds = max_still_seconds
        self._communication_directories = find_communication_directories()
        self._thread = threading.main_thread()
        self._last_position: list[tuple[int, int]] | None = None
        self._last_move = 0.0
        self._last_thread_time, self._last_load_excess = 0.0, math.inf

    @property
    def iteration(self) -> int | None:
        """The number of finished iterations. None before a trainer runs."""
        return None if self.updater is None else self.updater.iteration

    def sample(self) -> dict[str, Any]:
        """Return the state of the main thread, in comparison with the previous sample.

        Returns
        -------
        dict
            ``iteration``: number of finished iterations. ``in_update``: whether the thread is
            inside the updater's ``update``. ``active``: whether it has done something else than
            block since the previous sample. ``blocked``: whether its innermost call is code that
            communicates with other ranks. ``place``: its innermost calls.
        """
        stack = self._read_stack()
        update_code = getattr(getattr(self.updater, 'update', None), '__code__', None)
        in_update = any(call.code is update_code for call in stack)
        is_blocked = bool(stack) and is_in_directory(
            stack[0].code.co_filename, self._communication_directories
        )
        # A new frame may have the address of an old one, so processor time is compared as well.
        position = [(call.frame_id, call.instruction) for call in stack]
        has_moved = position != self._last_position
        own_time, load_excess = thread_time(self._thread), math.inf
        is_busy = own_time > self._last_thread_time
        if not (has_moved or is_busy or is_blocked or in_update):
            # Rare, because it costs more than the rest of the sample. The difference grows while
            # threads and children use more than MIN_LOAD processors.
            load_excess = family_time() - MIN_LOAD * time.monotonic()
            is_busy = load_excess > self._last_load_excess
        if has_moved:
            self._last_move = time.monotonic()
        is_recent = time.monotonic() < self._last_move + self.max_still_seconds
        self._last_position = position
        self._last_thread_time, self._last_load_excess = own_time, load_excess
        place = ' < '.join(
            f'{call.code.co_name} ({os.path.basename(call.code.co_filename)}:{call.line})'
            for call in stack[:3]
        )
        return {
            'iteration': self.iteration,
            'in_update': in_update,
            'active': has_moved or is_busy and not is_blocked and is_recent,
            'blocked': is_blocked,
            'place': place,
        }

    def find_part(self) -> tuple[str, bool] | None:
        """Return the part of an iteration that the thread is in, and whether it is blocked there.

        None before a trainer runs. It costs less than :meth:`sample`.
        """
        if self.updater is None:
            return None
        update_code = getattr(getattr(self.updater, 'update', None), '__code__', None)
        codes = []
        frame = sys._current_frames().get(self._thread.ident or 0)
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        is_blocked = bool(codes) and is_in_directory(
            codes[0].co_filename, self._communication_directories
        )
        if update_code not in codes:
            return 'extensions', is_blocked
        names = {code.co_filename.rpartition('chainer' + os.sep)[2] for code in codes}
        for part, files in _FILES_OF_PART:
            if any(name.startswith(files) for name in names):
                return part, is_blocked
        return 'update', is_blocked

    def _read_stack(self) -> list[_Call]:
        """Return the calls of the thread, the innermost first."""
        stack = []
        frame = sys._current_frames().get(self._thread.ident or 0)
        while frame is not None:
            stack.append(_Call(id(frame), frame.f_lasti, frame.f_code, frame.f_lineno))
            frame = frame.f_back
        return stack


class _Call(NamedTuple):
    """One call of a stack. It holds no frame, since that would keep the caller's objects alive."""

    frame_id: int
    instruction: int
    code: CodeType
    line: int
