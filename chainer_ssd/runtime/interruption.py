"""Ctrl-C during a training."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, Callable

from chainer.training import Trainer


@contextlib.contextmanager
def interruptible(trainer: Trainer, hint: Callable[[], str] | None = None) -> Iterator[None]:
    """Make Ctrl-C raise a ``KeyboardInterrupt`` that names the iteration.

    The exception is raised at the end of the iteration, after its extensions. So it cannot break
    the locks of an iterator that runs threads, which may block forever then. A second Ctrl-C
    raises at once.

    Call it in the main thread. If SIGINT is ignored, as under ``nohup``, it stays ignored.

    Parameters
    ----------
    trainer : chainer.training.Trainer
        The trainer that runs inside the ``with`` block. It gets an extension ``interrupt``.
    hint : callable, optional
        Function without arguments. Its text is added to the message, for example how to resume.
        Default: nothing is added.

    Yields
    ------
    None
        Nothing.
    """
    n_pressed = 0

    def handle_signal(*_: Any) -> None:
        nonlocal n_pressed
        n_pressed += 1
        if n_pressed > 1:
            interrupt()

    def interrupt() -> None:
        text = f'interrupted after iteration {trainer.updater.iteration}'
        raise KeyboardInterrupt(text if hint is None else f'{text}; {hint()}')

    def interrupt_after_iteration(trainer: Trainer) -> None:
        if n_pressed:
            interrupt()

    trainer.extend(interrupt_after_iteration, name='interrupt', trigger=(1, 'iteration'))
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, handle_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
