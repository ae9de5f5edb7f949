"""Base class of the schedules of a learning rate, whose values depend on the iteration only."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

from chainer.training import Extension, Trainer

from chainer_ssd._options import check_ratio

#: Attributes of Chainer's optimizers that scale an update, in the order of the message.
_RATES = 'lr', 'eta', 'alpha'


class RateShift(Extension):
    """Trainer extension that sets an attribute of the optimizer after each iteration.

    A subclass computes the factor of an iteration in ``factor_at``.
    """

    trigger = 1, 'iteration'

    def __init__(self, attr: str, init: float, optimizer: Any = None) -> None:
        if not isinstance(attr, str):
            raise TypeError(f'attr = {attr!r}: expected the name of an attribute')
        self.attr, self.init = attr, check_ratio('init', init)
        self.optimizer = optimizer
        if optimizer is not None:
            self._check_attribute(optimizer)

    def factor_at(self, t: int) -> float:
        """Return the factor on ``init`` after ``t`` iterations.

        Parameters
        ----------
        t : int
            Number of finished iterations.

        Returns
        -------
        float
            The factor.
        """
        raise NotImplementedError

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
        value = self.init * self.factor_at(trainer.updater.iteration)
        setattr(self._optimizer_of(trainer), self.attr, value)

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
