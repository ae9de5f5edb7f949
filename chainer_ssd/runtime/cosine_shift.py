"""Cosine schedule with warm-up for the learning rate."""

from __future__ import annotations

import math
from typing import Any

from chainer.training import Extension, Trainer


class CosineShift(Extension):
    """Trainer extension that raises an attribute of the optimizer, then lowers it to 0.

    After iteration t the attribute is ``init`` times

        (t + 1) / (warmup + 1)                              while t < warmup,
        (1 + cos(π (t - warmup) / (total - warmup))) / 2    from then on.

    The value depends on the iteration only. Nothing is saved, and a resumed run has the same
    values as an uninterrupted run.

    Parameters
    ----------
    attr : str
        Name of the attribute: ``'lr'``, or ``'eta'`` for Adam, which scales its weight decay too.
    init : float
        The largest value.
    total : int
        Number of iterations of the whole training, more than ``warmup``.
    warmup : int
        Number of iterations in which the value rises. Default: 0. A few hundred keep the first
        updates of a large batch from diverging.
    optimizer : chainer.Optimizer, optional
        The optimizer. Default: the updater's main optimizer.

    Raises
    ------
    ValueError
        If not 0 <= warmup < total.

    Notes
    -----
    Chainer has no cosine schedule. Of its own extensions, ``MultistepShift`` needs milestones.
    ``ExponentialShift``, ``LinearShift`` and ``PolynomialShift`` have no warm-up, and
    ``WarmupShift`` has nothing after it. They count their calls, so their values depend on a
    saved state.

    The formula is equation 5 of Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with
    Warm Restarts" (2017), without restarts. The warm-up is that of Goyal et al. (2017).
    """

    trigger = 1, 'iteration'

    def __init__(
        self, attr: str, init: float, total: int, warmup: int = 0, optimizer: Any = None
    ) -> None:
        if not 0 <= warmup < total:
            raise ValueError(f'warmup = {warmup}, total = {total}: expected 0 <= warmup < total')
        self.attr, self.init, self.total, self.warmup = attr, init, total, warmup
        self.optimizer = optimizer

    def initialize(self, trainer: Trainer) -> None:
        """Set the value for the first iteration, of a resumed run as well.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer, which calls this method.
        """
        self(trainer)

    def __call__(self, trainer: Trainer) -> None:
        """Set the value for the next iteration.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer. The number of its finished iterations gives the value.
        """
        t = trainer.updater.iteration
        if t < self.warmup:
            factor = (t + 1) / (self.warmup + 1)
        else:
            progress = min(1, (t - self.warmup) / (self.total - self.warmup))
            factor = (1 + math.cos(math.pi * progress)) / 2
        optimizer = self.optimizer or trainer.updater.get_optimizer('main')
        setattr(optimizer, self.attr, self.init * factor)
