"""Context manager and trainer extension that ends the job on every rank if one rank fails."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
import weakref
from types import TracebackType
from typing import Any

from chainer.training import Extension, Trainer

from chainer_ssd._options import check_positive_number
from chainer_ssd.distributed import Communicator
from chainer_ssd.runtime.watchdog.data_workers import DataWorkers
from chainer_ssd.runtime.watchdog.error_text import describe_error
from chainer_ssd.runtime.watchdog.job_status import JobStatus
from chainer_ssd.runtime.watchdog.main_thread import PARTS, MainThread
from chainer_ssd.runtime.watchdog.messenger import Messenger
from chainer_ssd.runtime.watchdog.parent_death import end_workers_with_parent
from chainer_ssd.runtime.watchdog.process_exit import exit_with_message

JOIN_SECONDS = 10  # before the main thread exits although the watchdog's thread has not done so
FORK_SECONDS = 0.01  # until multiprocessing has registered a child that was forked
COLLECT_SECONDS = 0.1  # in which messages arrive that are then read together
MAX_TIMEOUT_SECONDS = 1e7
MAX_HEARTBEATS_PER_SECOND = 100  # on rank 0, from all ranks together
SAMPLE_SECONDS = 0.1  # between two looks at the part that an iteration is in
MAX_STOPPED_WORKERS = 2  # in a message
MAX_STILL_TIMEOUTS = 10  # how long a thread that computes may stay at one instruction


class Watchdog(Extension):
    """Context manager, and trainer extension, that ends all ranks if one fails.

    ::

        with Watchdog(comm, timeout=600) as watchdog:
            trainer = ...
            trainer.extend(watchdog)
            trainer.run()

    These end the job at once:

    - an exception or ``sys.exit`` that leaves the block or the trainer on one rank
    - an exception in any thread
    - a data worker (a daemonic child process) that is killed by a signal or exits with an error
    - a rank that dies

    These end the job after ``timeout`` seconds:

    - a rank or host that is frozen or unreachable
    - no iteration finished on any rank

    While extensions run (evaluation, snapshots) and before the training, no iteration must finish.
    It is enough that one rank's main thread does something other than block in communication, or
    that threads or child processes work for it. A single call outside of Python of more than ten
    timeouts counts as blocked.

    Every living rank then writes one message to the standard error, and exits with status 1. The
    message names the rank, the iteration and the cause. Without a failure, the ranks leave the
    block together.

    A thread of each rank samples the main thread and sends a heartbeat to rank 0 over TCP. It
    makes no MPI call, so it works while MPI blocks. Time in which the process is suspended does
    not count.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase, optional
        All its ranks construct this object together. Default: one process. Its threads, data
        workers and iterations are watched as well. An exception ends it as without a watchdog.
    timeout : float
        Seconds, above 0. Default: 600. It must be longer than the longest iteration. A shorter
        timeout ends a stalled job sooner.
    port : int
        TCP port on which rank 0 listens. Default: 0, any free port. Give it if a firewall opens
        certain ports only.
    interface : str, optional
        Name or address of the network interface of rank 0's host that the ranks connect to.
        Default: all. Give it if the host has several networks.

    Attributes
    ----------
    rank, size : int
        Those of ``comm``. 0 and 1 for one process.
    interval : float
        Seconds between heartbeats.

    Raises
    ------
    ValueError
        If ``timeout`` is not a finite number above 0.
    RuntimeError
        On every rank, if one cannot reach rank 0 by TCP, or ``port`` or ``interface`` is not valid.

    Notes
    -----
    Without a ``with`` block, it watches from its construction to the end of ``trainer.run()``.

    ``chainermn.global_except_hook`` ends the job too, but only for an exception that leaves the
    main program. It does not end a job with a frozen rank, an unreachable host, a dead data worker
    or a failed thread. ``MPI_Abort`` may also end the other ranks before they name the cause.
    """

    trigger = 1, 'iteration'
    priority = 1000  # finalized before all other extensions

    def __init__(
        self,
        comm: Communicator | None = None,
        timeout: float = 600,
        port: int = 0,
        interface: str | None = None,
    ) -> None:
        if check_positive_number('timeout', timeout) > MAX_TIMEOUT_SECONDS:
            raise ValueError(
                f'timeout = {timeout!r}: expected at most {MAX_TIMEOUT_SECONDS:g} seconds'
            )
        self._main_thread = MainThread(MAX_STILL_TIMEOUTS * timeout)
        self._messenger = Messenger(comm, timeout, port, interface)
        self.rank, self.size = self._messenger.rank, self._messenger.size
        self.interval = min(max(1, self.size / MAX_HEARTBEATS_PER_SECOND), timeout / 20)
        self._status = JobStatus(self.rank, self.size, timeout)
        self._failure: str | None = None
        self._has_finished, self._next_heartbeat, self._next_sample = False, 0.0, 0.0
        self._samples = {part: [0, 0] for part in PARTS}  # at work, blocked
        self._is_in_block = False
        self._outer_error: BaseException | None = None
        self._workers, self._has_forked = DataWorkers(), False
        end_workers_with_parent()
        # A function that is registered at fork stays registered for ever, so it holds a weak
        # reference only.
        reference = weakref.ref(self)
        os.register_at_fork(after_in_parent=lambda: _note_fork(reference))
        self._pid, self._outer_hook = os.getpid(), threading.excepthook
        threading.excepthook = self._fail_by_thread
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)
        self._thread.start()

    def __enter__(self) -> Watchdog:
        self._is_in_block = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if error is not None and self.size > 1 and not _is_agreed(error):
            if not isinstance(error, SystemExit):
                traceback.print_exception(exc_type, error, tb)
            self._fail(describe_error(error))
        self._finish()

    def initialize(self, trainer: Trainer) -> None:
        """Begin to watch the iterations of a trainer.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer, which calls this method when it begins.
        """
        self._main_thread.updater, self._outer_error = trainer.updater, sys.exc_info()[1]

    def __call__(self, trainer: Trainer) -> None:
        """Do nothing: the watchdog works in a thread of its own.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer.
        """

    def read_samples(self) -> dict[int, list[list[int]]]:
        """Return how often each rank was at work and how often it was blocked.

        The watchdog's thread looks at the main thread ten times a second. The counts begin with the
        training. Rank 0 has those of all ranks, which are up to one heartbeat old.

        Returns
        -------
        dict of int to list
            For each rank five pairs (at work, blocked in communication). The pairs stand for the
            parts of an iteration: data, forward, backward, update, and the extensions after it.
        """
        return self._status.read_samples()

    def finalize(self) -> None:
        """End the job if the trainer ends by an exception."""
        error = sys.exc_info()[1]
        is_new = error is not None and error is not self._outer_error
        if error is not None and is_new and self.size > 1 and not _is_agreed(error):
            self._fail(describe_error(error))
        if not self._is_in_block:
            self._finish()

    def _finish(self) -> None:
        """Block until all ranks have finished."""
        self._has_finished, self._next_heartbeat = True, 0
        self._messenger.wake()
        self._thread.join()
        threading.excepthook = self._outer_hook

    def _fail(self, cause: str) -> None:
        """End the job on all ranks. Does not return in the main thread."""
        iteration = self._main_thread.iteration
        after = '' if iteration is None else f', after iteration {iteration}'
        self._failure = self._failure or f'rank {self.rank}{after}: {cause}'
        self._messenger.wake()
        if threading.current_thread() is threading.main_thread():
            self._thread.join(JOIN_SECONDS)  # the thread exits the process
            os._exit(1)

    def _fail_by_thread(self, args: Any) -> None:
        """End the job after an exception in a thread, as ``threading.excepthook``."""
        # A file that a data worker cannot read needs no stack: the message names the file.
        if not issubclass(args.exc_type, (ValueError, OSError, MemoryError)):
            self._outer_hook(args)
        if os.getpid() == self._pid and not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread else 'unknown'
            self._fail(f'thread {name}: {describe_error(args.exc_value)}')

    def _watch(self) -> None:
        """Run the watchdog's thread."""
        try:
            while not self._status.has_finished:
                self._exchange_messages()
        except Exception as error:
            self._exit(f'rank {self.rank}: the watchdog itself failed: {describe_error(error)}')
        self._messenger.close_in_order()

    def _exchange_messages(self) -> None:
        if self._has_forked:
            # A worker is registered as soon as it is forked. If it dies at once, its pool joins
            # it, and its exit status is lost.
            self._has_forked = False
            time.sleep(FORK_SECONDS)
            self._check_workers()
        if self.size > 1 and time.monotonic() >= self._next_sample:
            self._next_sample = time.monotonic() + SAMPLE_SECONDS
            found = self._main_thread.find_part()
            if found is not None:
                part, is_blocked = found
                self._samples[part][is_blocked] += 1
        if time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + self.interval
            self._check_workers()
            heartbeat = {
                **self._main_thread.sample(),
                'finished': self._has_finished,
                'samples': list(self._samples.values()),
                'stopped_workers': self._workers.find_stopped()[:MAX_STOPPED_WORKERS],
            }
            self._messenger.send(heartbeat)
            self._status.add_message(self.rank, heartbeat)
        if self._failure:
            self._send_failure_and_exit(self._failure)
        next_time = self._next_heartbeat
        if self.size > 1 and self._main_thread.updater is not None:
            next_time = min(next_time, self._next_sample)
        timeout = 0 if self._status.has_finished else next_time - time.monotonic()
        messages = self._messenger.receive(timeout)
        for rank, message in messages:
            self._status.add_message(rank, message)
        failure = self._status.find_failure()
        if failure is not None:
            self._send_failure_and_exit(failure)
        if self._status.has_finished:
            self._messenger.send({'all finished': True}, is_last=True)
        elif messages:
            time.sleep(COLLECT_SECONDS)

    def _check_workers(self) -> None:
        for death in self._workers.find_deaths():
            self._fail(death)

    def _send_failure_and_exit(self, failure: str) -> None:
        self._messenger.send({'failure': failure}, is_last=True)
        self._exit(failure)

    def _exit(self, failure: str) -> None:
        exit_with_message(f'watchdog on rank {self.rank}: {failure}', self._deliver)

    def _deliver(self, seconds: float) -> None:
        """Send the last message, also over a connection that is made anew."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._messenger.receive(end - time.monotonic())


def _is_agreed(error: BaseException) -> bool:
    """Return whether all ranks raise the error, as after a signal that asks them to end."""
    return getattr(error, 'is_agreed', False)


def _note_fork(reference: weakref.ref[Watchdog]) -> None:
    watchdog = reference()
    if watchdog is not None:
        watchdog._has_forked = True
        watchdog._messenger.wake()
