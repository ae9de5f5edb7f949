"""Ctrl-C, SIGTERM and SIGUSR1 during a training: one more snapshot, then the end."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, Callable

from chainer.training import Trainer

from chainer_ssd.distributed import Communicator, RankSum
from chainer_ssd.runtime.snapshot.snapshot import Snapshot

#: What the message calls them. If ranks get different signals, the first one here counts.
_NAMES = {
    signal.SIGTERM: 'terminated',
    signal.SIGUSR1: 'stopped by SIGUSR1',
    signal.SIGINT: 'interrupted',
}
_REPEAT_SECONDS = 1.0  # launchers and process groups deliver one request several times
_PARENT_SECONDS = 5.0  # for the main process to receive a signal of its process group
_PRIORITY = Snapshot.priority - 100  # after a snapshot of the same iteration


class TrainingInterrupted(KeyboardInterrupt):
    """A signal has ended a training.

    Parameters
    ----------
    message : str
        What happened, in one line.
    signal_number : int
        The signal, such as ``signal.SIGTERM``.
    is_agreed : bool
        Whether all ranks raise it after the same iteration. Default: False.

    Attributes
    ----------
    exit_status : int
        128 plus the number of the signal, as shells report it: 130 after Ctrl-C, 143 after SIGTERM,
        138 after SIGUSR1.
    is_agreed : bool
        As above. A watchdog then does not report a failure.
    """

    def __init__(self, message: str, signal_number: int, is_agreed: bool = False) -> None:
        super().__init__(message)
        self.is_agreed = is_agreed
        self.exit_status = 128 + signal_number


@contextlib.contextmanager
def interruptible(
    trainer: Trainer,
    hint: Callable[[], str] | None = None,
    snapshot: Snapshot | None = None,
    comm: Communicator | None = None,
) -> Iterator[None]:
    """End a training after its current iteration on a signal, with a snapshot.

    The signals are SIGINT (Ctrl-C), SIGTERM and SIGUSR1. The iteration and its extensions end
    first. So the exception cannot break the locks of an iterator that runs threads, which may block
    forever then. A second Ctrl-C ends at once, without a snapshot. Over MPI it must come a second
    later, and so must other second signals, because launchers deliver one request several times.

    Call it in the main thread. If SIGINT is ignored, as under ``nohup``, it stays ignored.
    Processes that the training forks, such as data workers, ignore SIGINT and SIGUSR1. On SIGTERM
    they end, unless this process receives it as well: then the end of the training ends them.

    Parameters
    ----------
    trainer : chainer.training.Trainer
        The trainer that runs inside the ``with`` block. It gets an extension ``interrupt``.
    hint : callable, optional
        Function without arguments. Its text is added to the message, for example how to resume.
        Default: nothing is added.
    snapshot : Snapshot, optional
        Saves one more generation before the end. Default: nothing is saved.
    comm : chainermn.CommunicatorBase, optional
        Communicator of the run. With it, a signal on any rank ends all ranks after the same
        iteration, which is the next one at the latest. Every rank calls. After each iteration the
        ranks exchange whether one has a signal. They use the result an iteration later, so no rank
        blocks for it. Default: one process.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    TrainingInterrupted
        After a signal. It is a ``KeyboardInterrupt``.
    """
    received: list[int] = []
    times: list[float] = []
    under_way: list[RankSum] = []
    process = os.getpid()
    is_terminated = mmap.mmap(-1, 1)  # shared with forked processes

    def handle_signal(number: int, frame: Any) -> None:
        if os.getpid() != process:
            if number == signal.SIGTERM:
                end_forked_process(number)
            return
        received.append(number)
        times.append(time.monotonic())
        if number == signal.SIGTERM:
            is_terminated[0] = 1
        is_one_request = number != signal.SIGINT or comm is not None
        if len(times) > 1 and times[-1] >= times[0] + _REPEAT_SECONDS * is_one_request:
            interrupt(number)

    def end_forked_process(number: int) -> None:
        # Job schedulers send SIGTERM to the whole process group. A worker that dies while it waits
        # for work keeps the lock of its queue, and the main process would block for ever.
        deadline = time.monotonic() + _PARENT_SECONDS
        while os.getppid() == process and time.monotonic() < deadline:
            if is_terminated[0]:
                return
            time.sleep(0.01)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def interrupt(number: int, failure: str = '', is_agreed: bool = False) -> None:
        parts = [f'{_NAMES[signal.Signals(number)]} after iteration {trainer.updater.iteration}']
        if failure:
            parts.append(f'no snapshot was saved: {failure}')
        if hint is not None:
            parts.append(hint())
        raise TrainingInterrupted('; '.join(parts), number, is_agreed)

    def find_signal() -> int | None:
        """Return the signal that ends all ranks after this iteration."""
        found: Any = [number in received for number in _NAMES]
        if comm is not None:
            own = RankSum(comm, found)
            found = under_way.pop().total() if under_way else []
            under_way.append(own)
        return next((number for number, count in zip(_NAMES, found) if count), None)

    def interrupt_after_iteration(trainer: Trainer) -> None:
        number = find_signal()
        if number is None:
            return
        while under_way:  # all ranks have sent it
            under_way.pop().total()
        failure = ''
        if snapshot is not None:
            try:
                snapshot(trainer)
            except Exception as error:  # the run ends in any case
                failure = f'{type(error).__name__}: {error}'
        interrupt(number, failure, is_agreed=True)

    trainer.extend(
        interrupt_after_iteration, name='interrupt', trigger=(1, 'iteration'), priority=_PRIORITY
    )
    before = {number: signal.getsignal(number) for number in _NAMES}
    for number, handler in before.items():
        if handler in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, handle_signal)
    try:
        yield
        if under_way:  # all ranks have done the same iterations
            under_way.pop().total()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
