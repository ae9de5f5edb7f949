"""Optimizer hook for gradients that are not finite."""

from __future__ import annotations

import copy
from typing import Any

import chainer
import numpy as np

from chainer_ssd._options import check_choice


class NaNPolicy:
    """Optimizer hook that raises an error or skips the update if a gradient holds NaN or inf.

    Under ChainerMN, hooks get the averaged gradients. These are equal on all ranks, so all ranks
    decide alike without communication. Add it before hooks that change gradients::

        optimizer.add_hook(NaNPolicy('skip'))

    It reports ``skipped``, which is 0 or 1. Its mean in a log is the fraction of skipped updates.
    A skipped update leaves the weights and the states of the update rules unchanged. It also
    restores the persistent values of all links, such as the running statistics of batch
    normalization, which the forward pass has changed. They become those after the last update. For
    that, the hook copies them after each update. Dynamic loss scaling skips updates by itself, and
    the hook leaves those to it.

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
        Under ``'skip'``, if a weight or a persistent value is not finite itself, because then each
        further update would be skipped.

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
        self._persistent: dict[str, Any] | None = None

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
            self._skip(optimizer)
        elif self.policy == 'skip':
            self._persistent = _copy_persistent(optimizer.target)
        chainer.report({'skipped': int(name is not None)}, optimizer.target)

    def _skip(self, optimizer: Any) -> None:
        self.n_skipped += 1
        if self._persistent is not None:
            _restore_persistent(optimizer.target, self._persistent)
        _check_state(optimizer)
        self._disabled_rules = [
            param.update_rule
            for param in optimizer.target.params()
            if param.update_rule is not None and param.update_rule.enabled
        ]
        for rule in self._disabled_rules:
            rule.enabled = False


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


def _copy_persistent(target: chainer.Link) -> dict[str, Any]:
    """Return copies of the values that links save beside their parameters, by path."""
    return {
        f'{path}/{name}': copy.deepcopy(link.__dict__[name])
        for path, link in target.namedlinks()
        for name in sorted(link._persistent)
    }


def _restore_persistent(target: chainer.Link, saved: dict[str, Any]) -> None:
    for path, link in target.namedlinks():
        for name in link._persistent & {key.rpartition('/')[2] for key in saved}:
            value: Any = saved.get(f'{path}/{name}')
            if hasattr(value, 'shape') and value.shape == np.shape(link.__dict__[name]):
                link.__dict__[name][...] = value  # other objects may hold the same array
            elif value is not None:
                link.__dict__[name] = copy.deepcopy(value)


def _check_state(optimizer: Any) -> None:
    """Raise ``FloatingPointError`` if the model itself is not finite."""
    target = optimizer.target
    state = {path: param.array for path, param in target.namedparams()}
    state.update(_copy_persistent(target))
    for path, value in sorted(state.items()):
        kind = getattr(value, 'dtype', np.dtype(object)).kind
        if kind == 'f' and not bool(target.xp.isfinite(value).all()):
            raise FloatingPointError(
                f'iteration {optimizer.t + 1}: {path} of the model holds NaN or inf, so no update '
                'is possible: expected finite numbers. Go back to an older snapshot'
            )
