"""Exponential moving average of the weights of a model."""

from __future__ import annotations

import copy
from typing import Any

import chainer
import numpy as np
from chainer.training import Extension, Trainer

from chainer_ssd._options import check_fraction


class WeightAverage(Extension):
    """Trainer extension that holds an exponential moving average of the weights of a model.

    After iteration t each weight of :attr:`average` becomes ``d · average + (1 - d) · weight`` with

        d = min(decay, (1 + t) / (10 + t))

    So the average forgets the initial weights soon. Evaluate and save :attr:`average` in place of
    the model. The training itself does not change.

    Floating-point persistent values are averaged as well. These are the running statistics of batch
    normalization. Other persistent values, such as counts, are copied. Over MPI all ranks have the
    same weights, so each computes the same average without communication.

    Parameters
    ----------
    model : chainer.Link
        The model that is trained. It is on its device already.
    decay : float
        Largest d, from 0 to 1. Default: 0.99. The average is over about ``1 / (1 - decay)``
        iterations, so 0.999 suits trainings of tens of thousands of iterations.

    Attributes
    ----------
    average : chainer.Link
        A copy of the model with the averaged weights.

    Raises
    ------
    ValueError
        If ``decay`` lies outside [0, 1].
    TypeError
        If ``model`` is not a link, or ``decay`` is not a number.

    Notes
    -----
    Polyak and Juditsky (1992) average the iterates. The ramp of d is TensorFlow's
    ``ExponentialMovingAverage`` with ``num_updates``. Chainer has no such
    average.
    """

    trigger = 1, 'iteration'
    priority = chainer.training.PRIORITY_WRITER + 100  # before evaluators

    def __init__(self, model: chainer.Link, decay: float = 0.99) -> None:
        if not isinstance(model, chainer.Link):
            raise TypeError(f'model is of type {type(model).__name__}: expected a chainer.Link')
        self.decay = check_fraction('decay', decay)
        self._model = model
        self.average = copy.deepcopy(model)
        self.average.cleargrads()
        for param in self.average.params():
            param.update_rule = None
        self._wide: dict[str, Any] = {}  # float32 averages of float16 weights, by name

    def __call__(self, trainer: Trainer) -> None:
        """Add the weights of an iteration to the average.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer. The number of its iterations gives d.
        """
        t = trainer.updater.iteration
        rate = 1 - min(self.decay, (1 + t) / (10 + t))
        averages = dict(self.average.namedparams())
        for name, param in self._model.namedparams():
            average = averages[name]
            if param.array is None:
                continue
            if average.array is None:
                average.array = param.array.copy()
            with chainer.using_device(param.device):
                array = self._wide_of(name, average)
                array += array.dtype.type(rate) * (param.array - array)
                if array is not average.array:
                    average.array[...] = array
        links = dict(self.average.namedlinks())
        for path, link in self._model.namedlinks():
            for name in link._persistent:
                value = link.__dict__[name]
                if getattr(getattr(value, 'dtype', None), 'kind', '') == 'f' and value.ndim:
                    with chainer.using_device(link.device):
                        held = links[path].__dict__[name]
                        held += held.dtype.type(rate) * (value - held)
                else:
                    links[path].__dict__[name] = copy.copy(value)

    def serialize(self, serializer: Any) -> None:
        """Save or load the averaged weights.

        Parameters
        ----------
        serializer : chainer.AbstractSerializer
            Chainer's serializer or deserializer.
        """
        self.average.serialize(serializer['average'])
        for name, param in sorted(self.average.namedparams()):
            if param.array is not None and param.dtype == np.float16:
                array = self._wide_of(name, param)
                self._wide[name] = serializer(f'float32{name}', array)

    def _wide_of(self, name: str, param: chainer.Parameter) -> Any:
        """Return the array to add to. Small changes would be lost in float16."""
        if param.dtype != np.float16:
            return param.array
        if name not in self._wide:
            self._wide[name] = param.array.astype(np.float32)
        return self._wide[name]
