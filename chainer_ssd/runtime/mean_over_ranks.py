"""What a log says of all ranks together."""

import chainer
from chainer.training import Extension, get_trigger

from chainer_ssd.distributed import gather_values


class MeanOverRanks(Extension):
    """Trainer extension that turns what the main model reports into means over all ranks.

    The values of an interval are collected on each rank, where they lie, and leave the observation;
    at its end their mean over iterations and ranks takes their place. A ``LogReport`` with the same
    trigger, on any rank, then logs what one process with the whole batch would log: the mean of
    the ranks' losses is the loss of the whole batch.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase
        Every rank extends its trainer with it.
    interval : tuple
        ``(number, 'iteration' or 'epoch')``, the log's trigger.
    """

    trigger = 1, 'iteration'
    priority = chainer.training.PRIORITY_EDITOR  # before the log

    def __init__(self, comm, interval):
        self.comm, self._due = comm, get_trigger(interval)
        self._summary = chainer.DictSummary()

    def __call__(self, trainer):
        """Called by the trainer after each iteration; a collective call at an interval's end."""
        observation = trainer.observation
        names = [name for name in observation if name.startswith('main/')]
        self._summary.add({name: observation.pop(name) for name in names})
        if self._due(trainer):
            local = {name: float(mean) for name, mean in self._summary.compute_mean().items()}
            ranks = gather_values(self.comm, local)
            observation.update(
                {name: sum(rank[name] for rank in ranks) / len(ranks) for name in local}
            )
            self._summary = chainer.DictSummary()

    def serialize(self, serializer):
        """Saves or loads what was collected since the last interval."""
        self._summary.serialize(serializer['summary'])
        if hasattr(self._due, 'serialize'):
            self._due.serialize(serializer['due'])
