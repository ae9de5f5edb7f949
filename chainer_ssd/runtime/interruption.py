"""Ctrl-C and SIGTERM during a training: one more snapshot, then the end."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, Callable

from chainer.training import Trainer

from chainer_ssd.distributed import Communicator, gather_values
from chainer_ssd.runtime.snapshot.snapshot import Snapshot

_SIGNALS = signal.SIGINT, signal.SIGTERM
_NAMES = {signal.SIGINT: 'interrupted', signal.SIGTERM: 'terminated'}
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

    Attributes
    ----------
    exit_status : int
        128 plus the number of the signal, as shells report it: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


@contextlib.contextmanager
def interruptible(
    trainer: Trainer,
    hint: Callable[[], str] | None = None,
    snapshot: Snapshot | None = None,
    comm: Communicator | None = None,
) -> Iterator[None]:
    """End a training after its current iteration on Ctrl-C and on SIGTERM, with a snapshot.

    The iteration and its extensions end first. So the exception cannot break the locks of an
    iterator that runs threads, which may block forever then. A second signal ends at once, without
    a snapshot.

    Call it in the main thread. If SIGINT is ignored, as under ``nohup``, it stays ignored.
    Processes that the training forks, such as data workers, ignore SIGINT. On SIGTERM they end,
    unless this process receives it as well: then the end of the training ends them.

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
        Communicator of the run. With it, a signal on one rank ends all ranks after the same
        iteration. Every rank calls, and each iteration has one more collective call. Default: one
        process.

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
    process = os.getpid()
    is_terminated = mmap.mmap(-1, 1)  # shared with forked processes

    def handle_signal(number: int, frame: Any) -> None:
        if os.getpid() != process:
            if number != signal.SIGINT:
                end_forked_process(number)
            return
        received.append(number)
        if number == signal.SIGTERM:
            is_terminated[0] = 1
        if len(received) > 1:
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

    def interrupt(number: int, failure: str = '') -> None:
        parts = [f'{_NAMES[signal.Signals(number)]} after iteration {trainer.updater.iteration}']
        if failure:
            parts.append(f'no snapshot was saved: {failure}')
        if hint is not None:
            parts.append(hint())
        raise TrainingInterrupted('; '.join(parts), number)

    def interrupt_after_iteration(trainer: Trainer) -> None:
        numbers = [number for rank in gather_values(comm, received[:1]) for number in rank]
        if not numbers:
            return
        failure = ''
        if snapshot is not None:
            try:
                snapshot(trainer)
            except Exception as error:  # the run ends in any case
                failure = f'{type(error).__name__}: {error}'
        interrupt(max(numbers), failure)

    trainer.extend(
        interrupt_after_iteration, name='interrupt', trigger=(1, 'iteration'), priority=_PRIORITY
    )
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, handle_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
