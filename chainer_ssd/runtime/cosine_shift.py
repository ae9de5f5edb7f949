"""A learning rate that needs no milestones."""

import math

from chainer.training import Extension


class CosineShift(Extension):
    """Trainer extension that warms an attribute of the optimizer up and lets it fall to 0.

    After iteration t the attribute is ``init`` times

        (t + 1) / (warmup + 1)                        while t < warmup,
        (1 + cos(π (t - warmup) / (total - warmup))) / 2   then.

    The value follows from the iteration alone: nothing is saved, and a resumed run goes on with
    the value that it would have had.

    Parameters
    ----------
    attr : str
        What is changed: ``'lr'``; ``'eta'`` for Adam, which scales its weight decay as well.
    init : float
        The largest value.
    total : int
        Iterations of the whole training, more than ``warmup``.
    warmup : int
        Iterations of rise.
    optimizer : chainer.Optimizer, optional
        Default: the updater's main one.

    Raises
    ------
    ValueError
        If not 0 <= warmup < total.

    Notes
    -----
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017),
    equation 5, without restarts; the rise is that of Goyal et al. (2017).
    """

    trigger = 1, 'iteration'

    def __init__(self, attr, init, total, warmup=0, optimizer=None):
        if not 0 <= warmup < total:
            raise ValueError(f'warmup = {warmup}, total = {total}: expected 0 <= warmup < total')
        self.attr, self.init, self.total, self.warmup = attr, init, total, warmup
        self.optimizer = optimizer

    def initialize(self, trainer):
        """Sets the value for the first iteration, of a resumed run as well."""
        self(trainer)

    def __call__(self, trainer):
        """Sets the value for the next iteration."""
        t = trainer.updater.iteration
        if t < self.warmup:
            share = (t + 1) / (self.warmup + 1)
        else:
            done = min(1, (t - self.warmup) / (self.total - self.warmup))
            share = (1 + math.cos(math.pi * done)) / 2
        optimizer = self.optimizer or trainer.updater.get_optimizer('main')
        setattr(optimizer, self.attr, self.init * share)
