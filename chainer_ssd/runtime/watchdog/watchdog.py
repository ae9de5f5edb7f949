"""Ends the job on every rank when one rank fails, freezes or stalls."""

import contextlib
import os
import sys
import threading
import time
import traceback
import weakref

from chainer.training import Extension

from chainer_ssd.runtime.watchdog.data_workers import DataWorkers
from chainer_ssd.runtime.watchdog.job_status import Verdict
from chainer_ssd.runtime.watchdog.main_thread import MainThread
from chainer_ssd.runtime.watchdog.messenger import Messenger
from chainer_ssd.runtime.watchdog.parent_watch import end_workers_with_parent
from chainer_ssd.runtime.watchdog.shared_memory import remove_shared_memory

GRACE = 1  # seconds between a rank's last message and its end: launchers kill those that remain
SPEECH = 5  # seconds to say it, where nobody reads
PATIENCE = 10  # timeouts in which a thread that computes need not be seen to move
LONGEST = 1000  # characters of an exception: more would not reach the others in one piece
CROWD = 0.1  # seconds: messages that come one by one are read together


class Watchdog(Extension):
    """Context manager, and Trainer extension, that ends all ranks when one fails.

    ::

        with Watchdog(comm, timeout=600) as watchdog:
            trainer = ...
            trainer.extend(watchdog)
            trainer.run()

    What ends the job, at once: an exception or ``sys.exit`` that leaves the block, or the trainer,
    on one rank; an exception in any thread; a data worker (a daemonic child process) that dies by a
    signal or with a status; a rank that dies. After ``timeout`` seconds: a frozen rank or host, an
    unreachable one; no iteration finished on any rank. While extensions run (evaluation, snapshots)
    and before the training no iteration is asked for: it is enough that one rank's main thread
    does something other than wait for ranks, or that threads or child processes work for it (one
    call, outside of Python, of more than ten timeouts is taken for waiting all the same).

    Every living rank then writes one message to the standard error, which names rank, iteration
    and cause, and ends with status 1. Ranks leave the block together.

    A thread of each rank sends a heartbeat to rank 0 over TCP and looks at the main thread from
    outside: it makes no call of MPI, of whichever kind, and the training makes none of it. Time in
    which this process does not run itself (a suspended job) does not count.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase, optional
        All its ranks construct this together. None: one process, whose threads, data workers and
        iterations are watched all the same; an exception ends it as it would without a watchdog.
    timeout : float
        Seconds. Longer than the longest iteration.

    Raises
    ------
    ValueError
        If ``timeout`` is not above 0.
    RuntimeError
        On every rank, if one cannot reach rank 0 by TCP.

    Notes
    -----
    Without a block, as an extension only, it watches from its construction to the end of
    ``trainer.run()``.
    """

    trigger = 1, 'iteration'
    priority = 1000  # the first to hear of the end of a training

    def __init__(self, comm=None, timeout=600):
        if not timeout > 0:
            raise ValueError(f'timeout = {timeout}: expected a number of seconds above 0')
        self._main = MainThread(PATIENCE * timeout)
        self._messenger = Messenger(comm)
        self.rank, self.size = self._messenger.rank, self._messenger.size
        # Between heartbeats. Rank 0 hears at most 200 a second.
        self.interval = min(max(1, self.size / 200), timeout / 20)
        self._verdict = Verdict(self.rank, self.size, timeout)
        self._failure, self._left, self._next_beat = None, False, 0
        self._in_block, self._outer_error = False, None
        self._workers, self._has_forked = DataWorkers(), False
        end_workers_with_parent()
        watchdog = weakref.ref(self)  # what is registered at fork stays so for ever
        os.register_at_fork(after_in_parent=lambda: watchdog() and watchdog()._forked())
        self._pid, self._hook = os.getpid(), threading.excepthook
        threading.excepthook = self._thread_failed
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)
        self._thread.start()

    def __enter__(self):
        self._in_block = True
        return self

    def __exit__(self, exc_type, error, tb):
        if error is not None and self.size > 1:
            if not isinstance(error, SystemExit):
                traceback.print_exception(exc_type, error, tb)
            self._fail(_described(error))
        self._leave()

    def initialize(self, trainer):
        """Called by the trainer when it begins."""
        self._main.updater, self._outer_error = trainer.updater, sys.exc_info()[1]

    def __call__(self, trainer):
        """Called by the trainer after each iteration; costs nothing."""

    def finalize(self):
        """Called by the trainer when it ends, also by an exception."""
        error = sys.exc_info()[1]
        if error is not None and error is not self._outer_error and self.size > 1:
            self._fail(_described(error))
        if not self._in_block:
            self._leave()

    def _leave(self):
        self._left, self._next_beat = True, 0
        self._messenger.wake()
        self._thread.join()  # until all have left
        threading.excepthook = self._hook

    def _fail(self, cause):
        self._failure = self._failure or f'rank {self.rank}{_after(self._main.iteration)}: {cause}'
        self._messenger.wake()
        if threading.current_thread() is threading.main_thread():
            self._thread.join(10)  # it ends the process
            os._exit(1)

    def _forked(self):
        # A worker is looked at when it is born: one that dies young is reaped by its pool at once.
        self._has_forked = True
        self._messenger.wake()

    def _thread_failed(self, args):
        self._hook(args)
        if os.getpid() == self._pid and not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread else 'unknown'
            self._fail(f'thread {name}: {_described(args.exc_value)}')

    def _watch(self):
        try:
            while not self._verdict.all_left:
                self._look()
        except Exception as error:
            self._end(f'rank {self.rank}: the watchdog itself failed: {_described(error)}')
        self._messenger.hang_up()

    def _look(self):
        if self._has_forked:
            self._has_forked = False
            time.sleep(0.01)  # until multiprocessing knows its child
            self._check_workers()
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + self.interval
            self._check_workers()
            beat = {**self._main.sample(), 'left': self._left}
            self._messenger.send(beat)
            self._verdict.hear(self.rank, beat)
        if self._failure:
            self._messenger.send({'failed': self._failure})
            self._end(self._failure)
        wait = 0 if self._verdict.all_left else self._next_beat - time.monotonic()
        messages = self._messenger.receive(wait)
        for rank, message in messages:
            self._verdict.hear(rank, message)
        text = self._verdict.text()
        if text is not None:
            self._messenger.send({'failed': text})
            self._end(text)
        if self._verdict.all_left:
            self._messenger.send({'all left': True})
        elif messages:
            time.sleep(CROWD)

    def _check_workers(self):
        for death in self._workers.deaths():
            self._fail(death)

    def _end(self, text):
        message = f'watchdog on rank {self.rank}: {text}\n'
        try:
            # A launcher that is frozen does not read, one that is gone breaks the pipe.
            speaker = threading.Thread(target=_say, args=(message,), daemon=True)
            speaker.start()
            remove_shared_memory()
            speaker.join(SPEECH)
            time.sleep(GRACE)
        finally:
            os._exit(1)


def _say(message):
    with contextlib.suppress(OSError):
        os.write(2, message.encode(errors='backslashreplace'))
        sys.stdout.flush()


def _after(iteration):
    return '' if iteration is None else f', after iteration {iteration}'


def _described(error):
    """Type, text and line of an exception, on one line."""
    text = ' '.join(''.join(traceback.format_exception_only(type(error), error)).split())
    text = text if len(text) <= LONGEST else text[:LONGEST] + '...'
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        last = frames[-1]
        text += f' (in {last.name}, {os.path.basename(last.filename)}:{last.lineno})'
    return text
