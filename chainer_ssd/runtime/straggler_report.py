"""Trainer extension that names the rank for which the others wait."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chainer.training import PRIORITY_EDITOR, Extension, Trainer

from chainer_ssd._options import check_flag
from chainer_ssd.runtime.watchdog import PARTS, Watchdog

MIN_WAITING = 0.05  # of the time of the other ranks, so that a rank counts as slow
MIN_SIGMA = 3  # the same, in standard deviations of the number of samples

Samples = Mapping[int, Sequence[Sequence[int]]]


class Straggler(NamedTuple):
    """The slowest rank of an interval."""

    rank: int
    #: Fraction of the time of the other ranks in which they are blocked and this rank is not.
    waiting: float
    #: Part of the iteration in which it works longer than the others.
    part: str


class StragglerReport(Extension):
    """Trainer extension that names the slowest rank of each interval, and the part it is slow in.

    Over MPI all ranks wait for the slowest one. The watchdog looks at each rank ten times a second.
    It counts whether the rank works or is blocked in communication, and in which part of the
    iteration. Rank 0 gets the counts with the heartbeats. So this extension makes no collective
    call. The other ranks may extend their trainers with it, and it does nothing there.

    It reports ``straggler/waiting``, and ``straggler/rank`` if a rank is clearly slower. Then it
    also prints a line, such as ``slowest: rank 3, in data (the other ranks wait 31 % of the
    time)``. The parts are data, forward, backward, update and extensions. A rank that waits inside
    of a part, as in ``MultiNodeBatchNormalization``, counts as blocked there.

    Parameters
    ----------
    watchdog : Watchdog
        Watchdog of the job.
    prints : bool
        Whether the lines are printed. Default: True.

    Attributes
    ----------
    text : str or None
        The last line. None if no rank was clearly slower.

    Notes
    -----
    The trigger is the interval: ``trainer.extend(StragglerReport(watchdog), trigger=(100,
    'iteration'))``. An interval of some seconds has few samples. Only a large difference is
    reported there.
    """

    trigger = 1, 'epoch'
    priority = PRIORITY_EDITOR

    def __init__(self, watchdog: Watchdog, prints: bool = True) -> None:
        self.watchdog, self.prints = watchdog, check_flag('prints', prints)
        self.text: str | None = None
        self._before: Samples = {}

    def __call__(self, trainer: Trainer) -> None:
        """Report on the interval since the last call.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer. Its observation is extended.
        """
        if self.watchdog.rank or self.watchdog.size == 1:
            return
        samples = self.watchdog.read_samples()
        straggler = find_straggler(samples, self._before)
        self._before, self.text = samples, None
        if straggler is None:
            return
        trainer.observation['straggler/waiting'] = straggler.waiting
        if not straggler.part:
            return
        trainer.observation['straggler/rank'] = straggler.rank
        self.text = (
            f'slowest: rank {straggler.rank}, in {straggler.part} (the other ranks wait '
            f'{straggler.waiting:.0%} of the time)'.replace('%', ' %')
        )
        if self.prints:
            print(self.text, flush=True)


def find_straggler(samples: Samples, before: Samples) -> Straggler | None:
    """Return the rank that is blocked least. Its part is empty if it is not clearly slower.

    Parameters
    ----------
    samples, before : mapping of int to sequence
        :meth:`Watchdog.read_samples` at the end and at the beginning of an interval.
    """
    empty = [(0, 0)] * len(PARTS)
    counts = {
        rank: [
            (now[0] - then[0], now[1] - then[1])
            for now, then in zip(parts, before.get(rank, empty))
        ]
        for rank, parts in samples.items()
    }
    totals = {rank: sum(map(sum, parts)) for rank, parts in counts.items()}
    counts = {rank: parts for rank, parts in counts.items() if totals[rank] > 0}
    if len(counts) < 2:
        return None
    blocked = {
        rank: sum(blocked for _, blocked in parts) / totals[rank] for rank, parts in counts.items()
    }
    slowest = min(blocked, key=blocked.__getitem__)
    others = [rank for rank in counts if rank != slowest]
    mean = statistics.mean(blocked[rank] for rank in others)
    waiting = mean - blocked[slowest]
    n_sample = min(totals[rank] for rank in counts)
    p = (mean * n_sample + 1) / (n_sample + 2)  # never 0 or 1, however few samples there are
    sigma = math.sqrt(p * (1 - p) / n_sample)
    if waiting < max(MIN_WAITING, MIN_SIGMA * sigma):
        return Straggler(slowest, waiting, '')
    work = {rank: [at_work / totals[rank] for at_work, _ in counts[rank]] for rank in counts}
    excess = [
        work[slowest][i] - statistics.median(work[rank][i] for rank in others)
        for i in range(len(PARTS))
    ]
    return Straggler(slowest, waiting, PARTS[excess.index(max(excess))])
