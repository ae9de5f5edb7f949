"""Trainer extension that keeps the weights with the best value of an observation."""

from __future__ import annotations

import math
from typing import Any

import chainer
import numpy as np
from chainer.training import Extension, Trainer, get_trigger

from chainer_ssd._options import check_integer


class BestWeights(Extension):
    """Trainer extension that keeps the weights with the largest value of an observation.

    The weights are copied to the host's memory and are saved in snapshots. So a run that is resumed
    in another folder ends with the same weights. Of equal values the first one stays. A NaN is
    never the best. Over MPI every rank extends its trainer, with a value that all ranks have.

    Choose the value on images that are in neither the training nor the test split. The best of
    many results on the test split is too high, because it was chosen by the test images.

    Parameters
    ----------
    link : chainer.Link
        The model whose weights are kept.
    key : str
        Name of the observation, such as ``'validation/main/map'``. Iterations without it are
        passed over.
    max_stale : int, optional
        Number of values in a row that are not better, after which :attr:`is_stale` is true.
        Default: never.

    Attributes
    ----------
    value : float
        The best value so far, NaN before the first one.
    iteration : int
        Its iteration, 0 before the first one.
    n_stale : int
        Number of values since then.

    Raises
    ------
    TypeError, ValueError
        If ``max_stale`` is not an integer above 0, or ``link`` is not a link.

    Notes
    -----
    Chainer's ``MaxValueTrigger`` can trigger a snapshot, and ``EarlyStoppingTrigger`` ends a
    training. Neither holds the weights, so a resumed run needs the files of the first one.
    """

    trigger = 1, 'iteration'
    priority = chainer.training.PRIORITY_WRITER - 1  # after evaluators, before the log

    def __init__(self, link: chainer.Link, key: str, max_stale: int | None = None) -> None:
        if not isinstance(link, chainer.Link):
            raise TypeError(f'link is of type {type(link).__name__}: expected a chainer.Link')
        if max_stale is not None:
            check_integer('max_stale', max_stale, 1)
        self._link, self.key, self.max_stale = link, key, max_stale
        self.value, self.iteration, self.n_stale = math.nan, 0, 0
        self._weights: dict[str, np.ndarray] = {}

    @property
    def is_stale(self) -> bool:
        """Whether ``max_stale`` values in a row were not better."""
        return self.max_stale is not None and self.n_stale >= self.max_stale

    def __call__(self, trainer: Trainer) -> None:
        """Copy the weights if the observation is the best one.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer with its observation.
        """
        value = trainer.observation.get(self.key)
        if value is None:
            return
        value = float(value)
        if self.iteration and not value > self.value and not math.isnan(self.value):
            self.n_stale += 1
            return
        if math.isnan(value) and self.iteration:
            self.n_stale += 1
            return
        self.value, self.iteration, self.n_stale = value, trainer.updater.iteration, 0
        self._weights = _copy_weights(self._link)

    def restore(self, link: chainer.Link | None = None) -> None:
        """Load the best weights into a model.

        Parameters
        ----------
        link : chainer.Link, optional
            The model. Default: the one whose weights are kept.

        Raises
        ------
        RuntimeError
            If there was no value yet.
        """
        if not self.iteration:
            raise RuntimeError(f'no value of {self.key} was observed yet')
        target = self._link if link is None else link
        chainer.serializers.NpzDeserializer(self._weights).load(target)

    def serialize(self, serializer: Any) -> None:
        """Save or load the best value and its weights.

        Parameters
        ----------
        serializer : chainer.AbstractSerializer
            Chainer's serializer or deserializer.
        """
        self.value = float(serializer('value', self.value))
        self.iteration = int(serializer('iteration', self.iteration))
        self.n_stale = int(serializer('n_stale', self.n_stale))
        if self.iteration:
            names = _copy_weights(self._link)
            self._weights = {
                name: np.asarray(serializer(f'weights/{name}', self._weights.get(name)))
                for name in names
            }


class StopTrigger:
    """Stop trigger of a trainer: a number of iterations, or earlier if nothing gets better.

    Parameters
    ----------
    period : int
        Largest number of iterations.
    best : BestWeights, optional
        The training ends when it is stale. Default: only ``period`` ends the training.

    Attributes
    ----------
    period, unit
        As of Chainer's ``IntervalTrigger``: the number, and ``'iteration'``.
    best : BestWeights or None
        As given. It can be set later.

    Raises
    ------
    TypeError, ValueError
        If ``period`` is not an integer above 0.

    Examples
    --------
    >>> StopTrigger(100).get_training_length()
    (100, 'iteration')
    """

    unit = 'iteration'

    def __init__(self, period: int, best: BestWeights | None = None) -> None:
        self.period = check_integer('period', period, 1)
        self.best = best
        self._interval = get_trigger((period, 'iteration'))

    def __call__(self, trainer: Trainer) -> bool:
        """Return whether the training ends.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer.

        Returns
        -------
        bool
            True at the end.
        """
        return self._interval(trainer) or (self.best is not None and self.best.is_stale)

    def get_training_length(self) -> tuple[int, str]:
        """Return the length, for Chainer's progress bar.

        Returns
        -------
        tuple of int and str
            The largest number of iterations, and ``'iteration'``.
        """
        return self.period, self.unit

    def serialize(self, serializer: Any) -> None:
        """Save or load the trigger's state, with the names of ``IntervalTrigger``.

        Parameters
        ----------
        serializer : chainer.AbstractSerializer
            Chainer's serializer or deserializer.
        """
        self._interval.serialize(serializer)


def _copy_weights(link: chainer.Link) -> dict[str, np.ndarray]:
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(link)
    return {name: np.array(value) for name, value in serializer.target.items()}
