"""Cosine schedule with warm-up for the learning rate."""

from __future__ import annotations

import math
from typing import Any

from chainer_ssd._options import check_integer
from chainer_ssd.runtime._rate_shift import RateShift


class CosineShift(RateShift):
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

    def __init__(
        self, attr: str, init: float, total: int, warmup: int = 0, optimizer: Any = None
    ) -> None:
        super().__init__(attr, init, optimizer)
        self.total = check_integer('total', total, 1)
        self.warmup = check_integer('warmup', warmup)
        if not warmup < total:
            raise ValueError(f'warmup = {warmup}, total = {total}: expected 0 <= warmup < total')

    def factor_at(self, t: int) -> float:
        """Return the factor on ``init`` after ``t`` iterations.

        Parameters
        ----------
        t : int
            Number of finished iterations.

        Returns
        -------
        float
            The factor, from 0 to 1.
        """
        if t < self.warmup:
            return (t + 1) / (self.warmup + 1)
        progress = min(1, (t - self.warmup) / (self.total - self.warmup))
        return (1 + math.cos(math.pi * progress)) / 2
