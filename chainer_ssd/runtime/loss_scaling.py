"""Mixed precision: loss scaling and float32 weights, which a resumed run continues."""

from __future__ import annotations

from typing import Any

import chainer
import numpy as np
from chainer.training import Extension, Trainer

from chainer_ssd._options import check_integer


class LossScaling(Extension):
    """Trainer extension that trains float16 weights with float32 copies and a scaled loss.

    Create it after ``optimizer.setup`` and before the first update. It switches on Chainer's
    dynamic loss scaling and the update in float32. The loss is multiplied by a factor, so that
    small gradients do not become 0 in float16. If a gradient overflows, the update is left out and
    the factor is halved.

    Chainer saves neither the factor nor the float32 weights. This extension saves both, so a
    resumed run continues bit for bit. It reports ``loss_scale``.

    Parameters
    ----------
    optimizer : chainer.GradientMethod
        The optimizer, also one of ChainerMN.
    interval : int
        Number of updates without an overflow in which the factor doubles. Default: 1000.

    Raises
    ------
    TypeError, ValueError
        If ``interval`` is not an integer above 0.

    Notes
    -----
    Micikevicius et al., "Mixed Precision Training" (2018).
    """

    trigger = 1, 'iteration'
    priority = chainer.training.PRIORITY_WRITER

    def __init__(self, optimizer: Any, interval: int = 1000) -> None:
        check_integer('interval', interval, 1)
        # ChainerMN's optimizer passes reading of attributes on, and a call as well.
        self._optimizer = getattr(optimizer, 'actual_optimizer', optimizer)
        self._optimizer.use_fp32_update()
        self._optimizer.loss_scaling(interval)
        for param in self._optimizer.target.params():
            if param.update_rule is not None:
                param.update_rule.use_fp32_update()

    @property
    def scale(self) -> float:
        """The present factor."""
        return float(self._optimizer._loss_scale)

    def __call__(self, trainer: Trainer) -> None:
        """Report the factor.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            The trainer.
        """
        chainer.report({'loss_scale': self.scale})

    def serialize(self, serializer: Any) -> None:
        """Save or load the factor and the float32 weights.

        Parameters
        ----------
        serializer : chainer.AbstractSerializer
            Chainer's serializer or deserializer.
        """
        optimizer = self._optimizer
        optimizer._loss_scale = float(serializer('loss_scale', optimizer._loss_scale))
        overflowed = getattr(optimizer, '_loss_scaling_isnan_ever', False)
        optimizer._loss_scaling_isnan_ever = bool(serializer('has_overflowed', overflowed))
        is_reader = isinstance(serializer, chainer.serializer.Deserializer)
        for name, param in sorted(optimizer.target.namedparams()):
            rule = param.update_rule
            if rule is None or param.dtype != np.float16:
                continue
            wide = rule._fp32_param
            stored = serializer(f'float32{name}', None if wide is None else wide.array)
            if is_reader and stored is not None:
                array = param.device.send(np.asarray(stored, np.float32))
                if wide is None:
                    rule._fp32_param = chainer.Variable(array)
                else:
                    wide.array = array
