"""Chainer's plot of reported values, without the faults that a resumed run shows."""

from __future__ import annotations

import os
import warnings
from typing import Any

from chainer.training import Trainer, extensions

from chainer_ssd._extras import require


class PlotReport(extensions.PlotReport):
    """Trainer extension that plots reported values, also over resumed runs.

    Arguments and results are those of :class:`chainer.training.extensions.PlotReport`. There are
    three differences. It saves the values of the current interval and the state of its trigger.
    Chainer's extension saves neither, so the first point after a resume is wrong. Names are drawn
    as plain text, where Chainer's extension fails for a name with two dollar signs. A file that
    cannot be written is a warning and not the end of the training.

    Raises
    ------
    ImportError
        If matplotlib is missing (``pip install "chainer_ssd[plot]"``).

    Warns
    -----
    UserWarning
        Once, if the file cannot be written.
    """

    _has_warned = False

    def __call__(self, trainer: Trainer) -> None:
        """Add the observation, and draw the curves if it is due.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer. Its observation is read.
        """
        pyplot = require('matplotlib.pyplot', 'plot')
        path = os.path.join(trainer.out, self._file_name)
        if os.path.islink(path):  # matplotlib would write to the file behind it
            os.remove(path)
        try:
            with pyplot.rc_context({'text.parse_math': False}):
                super().__call__(trainer)
        except OSError as error:
            pyplot.close()
            self._init_summary()
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(f'{self._file_name} is not written: {error}', stacklevel=2)

    def serialize(self, serializer: Any) -> None:
        """Save or load the points, the values of the current interval, and the trigger.

        Parameters
        ----------
        serializer : chainer.AbstractSerializer
            Chainer's serializer or deserializer.
        """
        super().serialize(serializer)
        self._summary.serialize(serializer[f'_summary_{self._file_name}'])
        if hasattr(self._trigger, 'serialize'):
            self._trigger.serialize(serializer[f'_trigger_{self._file_name}'])
