"""Cosine schedule with warm-up for the learning rate."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

from chainer.training import Extension, Trainer

from chainer_ssd._options import check_integer, check_ratio

#: Attributes of Chainer's optimizers that scale an update, in the order of the message.
_RATES = 'lr', 'eta', 'alpha'


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
        If not 0 <= warmup < total, or ``init`` is negative or not finite.
    TypeError
        If ``total`` or ``warmup`` is not an integer, or ``attr`` is not a str.
    AttributeError
        If the optimizer does not have the attribute. With the updater's optimizer, this is found
        when the training starts.

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
        if not isinstance(attr, str):
            raise TypeError(f'attr = {attr!r}: expected the name of an attribute')
        self.attr, self.init = attr, check_ratio('init', init)
        self.total = check_integer('total', total, 1)
        self.warmup = check_integer('warmup', warmup)
        if not warmup < total:
            raise ValueError(f'warmup = {warmup}, total = {total}: expected 0 <= warmup < total')
        self.optimizer = optimizer
        if optimizer is not None:
            self._check_attribute(optimizer)

    def initialize(self, trainer: Trainer) -> None:
        """Set the value for the first iteration, of a resumed run as well.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer, which calls this method.

        Raises
        ------
        AttributeError
            If the optimizer does not have the attribute.
        """
        self._check_attribute(self._optimizer_of(trainer))
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
        setattr(self._optimizer_of(trainer), self.attr, self.init * factor)

    def _optimizer_of(self, trainer: Trainer) -> Any:
        return self.optimizer or trainer.updater.get_optimizer('main')

    def _check_attribute(self, optimizer: Any) -> None:
        # Setting a missing attribute would make a new one, which no update reads.
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # Adam warns of an old name of alpha
                value = getattr(optimizer, self.attr)
            if isinstance(value, numbers.Real):
                setattr(optimizer, self.attr, value)
                return
        except (AttributeError, RuntimeError):  # Adam's lr raises before the first update
            pass
        known: dict[str, Any] = getattr(getattr(optimizer, 'hyperparam', None), 'get_dict', dict)()
        rates = ' or '.join(name for name in _RATES if name in known) or 'lr'
        raise AttributeError(
            f'attr = {self.attr!r}: {type(optimizer).__name__} has no such number that can be set. '
            f'Expected an attribute such as {rates}'
        )
