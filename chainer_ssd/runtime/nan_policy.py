"""Optimizer hook for gradients that are not finite."""

from __future__ import annotations

from typing import Any

import chainer

from chainer_ssd._options import check_choice


class NaNPolicy:
    """Optimizer hook that raises an error or skips the update if a gradient holds NaN or inf.

    Under ChainerMN, hooks get the averaged gradients. These are equal on all ranks, so all ranks
    decide alike without communication. Add it before hooks that change gradients::

        optimizer.add_hook(NaNPolicy('skip'))

    It reports ``skipped``, which is 0 or 1. Its mean in a log is the fraction of skipped updates.
    A skipped update leaves the weights and the states of the update rules unchanged. What the
    forward pass has changed stays changed, such as the running statistics of batch normalization.
    Dynamic loss scaling skips updates by itself, and the hook leaves those to it.

    Parameters
    ----------
    policy : {'raise', 'skip'}
        What to do. Default: ``'raise'``. ``'skip'`` continues a run that has a rare bad batch.

    Attributes
    ----------
    n_skipped : int
        Number of updates that this object has skipped.

    Raises
    ------
    ValueError
        If ``policy`` is neither of them.
    FloatingPointError
        During an update, under ``'raise'``. The message names the iteration and the parameter.

    Notes
    -----
    :class:`chainer.training.extensions.FailOnNonNumber` tests the weights after the update, when
    they are lost already, and cannot skip. ``Optimizer.check_nan_in_grads`` acts under dynamic
    loss scaling only.
    """

    name, timing, call_for_each_param = 'NaNPolicy', 'pre', False

    def __init__(self, policy: str = 'raise') -> None:
        self.policy = check_choice('policy', policy, ('raise', 'skip'))
        self.n_skipped = 0
        self._disabled_rules: list[Any] = []

    def __call__(self, optimizer: Any) -> None:
        """Test the gradients before an update.

        Parameters
        ----------
        optimizer : chainer.Optimizer
            The optimizer, which calls this hook.
        """
        for rule in self._disabled_rules:
            rule.enabled = True
        self._disabled_rules = []
        name = _find_non_finite(optimizer.target) if optimizer.is_safe_to_update() else None
        if name is not None and self.policy == 'raise':
            raise FloatingPointError(
                f'iteration {optimizer.t + 1}: the gradient of {name} (over MPI averaged over all '
                'ranks) holds NaN or inf: expected finite numbers'
            )
        if name is not None:
            self.n_skipped += 1
            self._disabled_rules = [
                param.update_rule
                for param in optimizer.target.params()
                if param.update_rule is not None and param.update_rule.enabled
            ]
            for rule in self._disabled_rules:
                rule.enabled = False
        chainer.report({'skipped': int(name is not None)}, optimizer.target)


def _find_non_finite(target: chainer.Link) -> str | None:
    """Return the first parameter whose gradient is not finite, with one copy from a GPU."""
    named = [
        (name, param) for name, param in sorted(target.namedparams()) if param.grad is not None
    ]
    xp = target.xp
    finite = [xp.isfinite(param.grad).all() for _, param in named]
    if not finite or bool(xp.stack(finite).all()):
        return None
    return next(name for (name, _), is_finite in zip(named, finite) if not is_finite)
