"""Step schedule for the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainer_ssd._options import check_integer, check_ratio
from chainer_ssd.runtime._rate_shift import RateShift


class StepShift(RateShift):
    """Trainer extension that multiplies an attribute of the optimizer at given iterations.

    After iteration t the attribute is ``init · gamma^n``, with n the number of ``steps`` up to t.
    The value depends on the iteration only. Nothing is saved, and a resumed run has the same values
    as an uninterrupted run.

    Parameters
    ----------
    attr : str
        Name of the attribute: ``'lr'``, or ``'eta'`` for Adam, which scales its weight decay too.
    init : float
        The value at the start.
    steps : sequence of int
        The iterations after which the value changes, in ascending order.
    gamma : float
        The factor of each step. Default: 0.1.
    optimizer : chainer.Optimizer, optional
        The optimizer. Default: the updater's main optimizer.

    Raises
    ------
    ValueError
        If ``steps`` are not in ascending order or below 1, or a number is negative or not finite.
    TypeError
        If a step is not an integer, or ``attr`` is not a str.
    AttributeError
        If the optimizer does not have the attribute. With the updater's optimizer, this is found
        when the training starts.

    Notes
    -----
    With ``StepShift('lr', 1e-3, [80000, 100000])`` it is the schedule of Liu et al. (2016) and of
    ChainerCV's example. ChainerCV uses ``ExponentialShift`` with a ``ManualScheduleTrigger``, which
    counts its calls. So a resumed run there depends on the schedule of the saved one.
    """

    def __init__(
        self,
        attr: str,
        init: float,
        steps: Sequence[int],
        gamma: float = 0.1,
        optimizer: Any = None,
    ) -> None:
        super().__init__(attr, init, optimizer)
        self.steps = tuple(check_integer('a step', step, 1) for step in steps)
        if any(a >= b for a, b in zip(self.steps, self.steps[1:])):
            raise ValueError(f'steps = {self.steps}: expected iterations in ascending order')
        self.gamma = check_ratio('gamma', gamma)

    def factor_at(self, t: int) -> float:
        """Return the factor on ``init`` after ``t`` iterations.

        Parameters
        ----------
        t : int
            Number of finished iterations.

        Returns
        -------
        float
            A power of ``gamma``.
        """
        return self.gamma ** sum(step <= t for step in self.steps)
