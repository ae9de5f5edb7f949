"""Trainer extensions that pass the log on: to a function, a CSV file, or TensorBoard."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping
from typing import Any

import chainer
from chainer.training import Extension, Trainer

from chainer_ssd._extras import require
from chainer_ssd._files import replace_file

_FIRST_COLUMNS = 'epoch', 'iteration', 'elapsed_time'


class LogStream(Extension):
    """Trainer extension that passes each new entry of ``LogReport`` to a function, once.

    This is the way to any tracker of experiments. The trainer has Chainer's ``LogReport``. Extend
    it with this class afterwards, on rank 0 alone, with the same trigger::

        run = wandb.init()
        trainer.extend(
            LogStream(lambda entry: run.log(entry, step=entry['iteration'])),
            trigger=(100, 'iteration'),
        )

    Parameters
    ----------
    send : callable
        Called with one entry: a dict of floats, with ``'iteration'``, ``'epoch'`` and
        ``'elapsed_time'``.
    log_report : str
        Name of the extension that holds the log. Default: ``'LogReport'``.

    Raises
    ------
    TypeError
        If ``send`` is not callable.

    Notes
    -----
    A resumed run passes on what came after its snapshot, so an entry may come again if the first
    run has ended between a snapshot and the next one.
    """

    trigger = 1, 'iteration'
    priority = chainer.training.PRIORITY_READER - 50  # after the log, before snapshots

    def __init__(
        self, send: Callable[[Mapping[str, float]], Any], log_report: str = 'LogReport'
    ) -> None:
        if not callable(send):
            raise TypeError(f'send = {send!r}: expected a callable, send(entry)')
        self._send, self._log_report = send, log_report
        self._n_sent = 0

    def __call__(self, trainer: Trainer) -> None:
        """Pass on the entries that are new.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer, with its log.
        """
        log = trainer.get_extension(self._log_report).log
        for entry in log[self._n_sent :]:
            self._send(entry)
        self._n_sent = len(log)

    def serialize(self, serializer: Any) -> None:
        """Save or load how many entries were passed on.

        Parameters
        ----------
        serializer : chainer.AbstractSerializer
            Chainer's serializer or deserializer.
        """
        self._n_sent = int(serializer('n_sent', self._n_sent))


class TensorBoardReport(LogStream):
    """Trainer extension that writes each entry of ``LogReport`` for TensorBoard.

    Parameters
    ----------
    folder : str or path
        Folder of the event files. It is made with the first entry.
    log_report : str
        Name of the extension that holds the log. Default: ``'LogReport'``.

    Raises
    ------
    ImportError
        If tensorboardX is missing (``pip install "chainer_ssd[tensorboard]"``).

    Notes
    -----
    TensorBoard hides what an interrupted run has written after the snapshot that a resumed run
    begins with.
    """

    def __init__(self, folder: str | os.PathLike[str], log_report: str = 'LogReport') -> None:
        super().__init__(self._write, log_report)
        self._writer_type = require('tensorboardX', 'tensorboard').SummaryWriter
        self._folder = os.fspath(folder)
        self._writer: Any = None

    def _write(self, entry: Mapping[str, float]) -> None:
        iteration = int(entry['iteration'])
        if self._writer is None:
            self._writer = self._writer_type(self._folder, purge_step=iteration)
        for key, value in entry.items():
            if key != 'iteration':
                self._writer.add_scalar(key, value, iteration)
        self._writer.flush()

    def finalize(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


class CSVReport(Extension):
    """Trainer extension that writes the log of ``LogReport`` as a CSV file.

    The file has one row for each entry of the log. The columns begin with ``epoch``, ``iteration``
    and ``elapsed_time``. A value that an entry lacks is an empty field. The file is written whole
    each time, so it also fits after a run is resumed.

    Parameters
    ----------
    filename : str
        Name of the file in the trainer's folder. Default: ``'log.csv'``.
    log_report : str
        Name of the extension that holds the log. Default: ``'LogReport'``.
    """

    trigger = 1, 'iteration'
    priority = chainer.training.PRIORITY_READER - 50

    def __init__(self, filename: str = 'log.csv', log_report: str = 'LogReport') -> None:
        self._filename, self._log_report = filename, log_report

    def __call__(self, trainer: Trainer) -> None:
        """Write the file.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer, with its log.
        """
        log = trainer.get_extension(self._log_report).log
        keys = sorted({key for entry in log for key in entry} - set(_FIRST_COLUMNS))
        text = io.StringIO(newline='')
        writer = csv.DictWriter(text, [*_FIRST_COLUMNS, *keys], lineterminator='\n')
        writer.writeheader()
        writer.writerows(log)
        with replace_file(os.path.join(trainer.out, self._filename)) as file:
            file.write(text.getvalue().encode())
