"""Progress of a training: one line on a terminal, log lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import chainer
from chainer.training import extensions

from chainer_ssd._extras import require

MEAN_AP = 'validation/main/map'
REFRESH_SECONDS = 0.5
DEFAULT_COLUMNS, DEFAULT_ROWS = 80, 24  # of a terminal that reports no size


def extend_with_progress(
    trainer: chainer.training.Trainer,
    losses: Sequence[str],
    trigger: Callable[[chainer.training.Trainer], bool],
) -> None:
    """Extend a trainer to show its progress.

    A terminal shows one line with iterations, rate, remaining time and losses. It needs tqdm.
    Elsewhere, or without tqdm, a log line is printed for each entry of the log.

    Parameters
    ----------
    trainer : chainer.training.Trainer
        Has the extension ``LogReport``.
    losses : sequence of str
        Names of the observations to show.
    trigger : callable
        The log's trigger. It has no state: on a terminal, the snapshots would lack it.
    """
    if sys.stdout.isatty():
        try:
            tqdm = require('tqdm', 'data')
        except ImportError as error:
            print(f'log lines instead of a progress line: {error}')
        else:
            bar = ProgressLine(losses, tqdm.tqdm)
            trainer.extend(bar, trigger=lambda trainer: True)
            return
    report = extensions.PrintReport(
        ['epoch', 'iteration', *losses, MEAN_AP, 'elapsed_time'], out=PlainOutput()
    )
    trainer.extend(report, trigger=trigger)


class ProgressLine(chainer.training.Extension):
    """Trainer extension that shows one line with iterations, rate, remaining time and losses.

    Each mAP is printed above the line. Call it after every iteration.

    Parameters
    ----------
    losses : sequence of str
        Names of the observations to show.
    bar_type : type
        ``tqdm.tqdm``.
    """

    priority = chainer.training.PRIORITY_READER

    def __init__(self, losses: Sequence[str], bar_type: type) -> None:
        self.losses = losses
        # tqdm's monitor is a thread, and data workers are forked: threads do not survive that.
        self._bar_type: Any = type('Bar', (bar_type,), {'monitor_interval': 0})
        self._bar: Any = None
        self._next_refresh = 0.0

    def initialize(self, trainer: chainer.training.Trainer) -> None:
        """Show the line. A resumed training begins at its iteration."""
        has_size = _reports_its_size(sys.stdout)
        # The variables COLUMNS and LINES come before the defaults.
        columns, rows = shutil.get_terminal_size((DEFAULT_COLUMNS, DEFAULT_ROWS))
        self._bar = self._bar_type(
            total=trainer.stop_trigger.period,
            initial=trainer.updater.iteration,
            file=sys.stdout,
            ncols=None if has_size else columns,
            nrows=None if has_size else rows,
            dynamic_ncols=has_size,
            mininterval=REFRESH_SECONDS,
        )

    def __call__(self, trainer: chainer.training.Trainer) -> None:
        """Advance the line by one iteration."""
        iteration, observation = trainer.updater.iteration, trainer.observation
        is_last = iteration >= trainer.stop_trigger.period
        if is_last or time.monotonic() >= self._next_refresh:
            # Not in every iteration: reading a loss makes a GPU finish its queue.
            self._next_refresh = time.monotonic() + REFRESH_SECONDS
            self._bar.set_postfix_str(self._format_losses(observation), refresh=False)
        self._bar.update(iteration - self._bar.n)
        if MEAN_AP in observation:
            self._bar.write(f'iteration {iteration}: mAP {observation[MEAN_AP]:.4f}', sys.stdout)

    def finalize(self) -> None:
        """Leave the line as it is."""
        if self._bar is not None:
            self._bar.close()

    def _format_losses(self, observation: dict[str, Any]) -> str:
        return ', '.join(
            f'{name.rpartition("/")[2]} {_to_float(observation[name]):.3f}'
            for name in self.losses
            if name in observation
        )


class PlainOutput:
    """The standard output, without the control sequence that PrintReport begins a line with."""

    def write(self, text: str) -> None:
        """Write a text."""
        sys.stdout.write(text.replace('\033[J', ''))

    def flush(self) -> None:
        """Flush the standard output."""
        sys.stdout.flush()


def _reports_its_size(terminal: TextIO) -> bool:
    try:
        return os.get_terminal_size(terminal.fileno()).columns > 0
    except OSError:
        return False


def _to_float(value: Any) -> float:
    return float(getattr(value, 'array', value))
