"""Trainer extension that averages reported values over ranks."""

from __future__ import annotations

from typing import Any

import chainer
from chainer.training import Extension, Trainer, get_trigger

from chainer_ssd.distributed import Communicator, gather_values


class MeanOverRanks(Extension):
    """Trainer extension that replaces what the main model reports by the means over all ranks.

    The extension removes the ``main/`` values of each iteration from the observation and adds them
    up, without a copy to the host. At the end of the interval it puts their means over iterations
    and ranks back. A ``LogReport`` with the same trigger, on any rank, then logs what one process
    with the whole batch would log. A value that only some ranks report is the mean over those.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        Communicator of the run. Every rank extends its trainer with this extension.
    interval : tuple or callable
        The log's trigger: ``(number, 'iteration')``, ``(number, 'epoch')``, or a function of the
        trainer.

    Notes
    -----
    ``chainermn.extensions.ObservationAggregator`` averages one key only. With an interval, it
    leaves the values of the other iterations in the observation. A log then averages local values
    and the mean. It does not save its values. If a snapshot divides an interval, a resumed run
    lacks the first part of it.
    """

    trigger = 1, 'iteration'
    priority = chainer.training.PRIORITY_EDITOR  # before the log

    def __init__(self, comm: Communicator, interval: Any) -> None:
        self.comm, self._interval_trigger = comm, get_trigger(interval)
        self._summary = chainer.DictSummary()

    def __call__(self, trainer: Trainer) -> None:
        """Add up the values of an iteration. A collective call at the end of an interval.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer. Its observation is changed.
        """
        observation = trainer.observation
        names = [name for name in observation if name.startswith('main/')]
        self._summary.add({name: observation.pop(name) for name in names})
        if self._interval_trigger(trainer):
            local = {name: float(mean) for name, mean in self._summary.compute_mean().items()}
            ranks = gather_values(self.comm, local)
            for name in sorted(set().union(*ranks)):
                values = [rank[name] for rank in ranks if name in rank]
                observation[name] = sum(values) / len(values)
            self._summary = chainer.DictSummary()

    def serialize(self, serializer: Any) -> None:
        """Save or load the values of the current interval.

        Parameters
        ----------
        serializer : chainer.AbstractSerializer
            Chainer's serializer or deserializer.
        """
        self._summary.serialize(serializer['summary'])
        if hasattr(self._interval_trigger, 'serialize'):
            self._interval_trigger.serialize(serializer['due'])
