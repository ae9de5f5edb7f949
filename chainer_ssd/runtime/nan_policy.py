"""What becomes of a step whose gradients are not finite."""

import chainer


class NaNPolicy:
    """Optimizer hook that raises, or skips the step, if a gradient holds NaN or inf.

    Under ChainerMN hooks see the averaged gradients, the same on every rank: all ranks decide alike
    and nothing is communicated. Register it before the hooks that change gradients::

        optimizer.add_hook(NaNPolicy('skip'))

    Reports ``skipped``, 0 or 1: a log's mean is the share of skipped steps. A skipped step leaves
    weights and the update rules' states as they were; what the forward pass itself changed (the
    running statistics of batch normalisation) it cannot take back. Steps that dynamic loss scaling
    skips by itself are left to it.

    Parameters
    ----------
    policy : {'raise', 'skip'}
        What to do.

    Attributes
    ----------
    n_skipped : int
        Steps skipped by this object.

    Raises
    ------
    ValueError
        If ``policy`` is neither.
    FloatingPointError
        Of an update, under ``'raise'``: names the iteration and the parameter.
    """

    name, timing, call_for_each_param = 'NaNPolicy', 'pre', False

    def __init__(self, policy='raise'):
        if policy not in ('raise', 'skip'):
            raise ValueError(f"policy = {policy!r}: expected 'raise' or 'skip'")
        self.policy, self.n_skipped = policy, 0
        self._disabled = []

    def __call__(self, optimizer):
        """Called by the optimizer, between the gradients and the update."""
        for rule in self._disabled:
            rule.enabled = True
        self._disabled = []
        wrong = self._not_finite(optimizer.target) if optimizer.is_safe_to_update() else None
        if wrong is not None and self.policy == 'raise':
            raise FloatingPointError(
                f'iteration {optimizer.t + 1}: the gradient of {wrong} (over MPI averaged over all '
                'ranks) holds NaN or inf: expected finite numbers'
            )
        if wrong is not None:
            self.n_skipped += 1
            self._disabled = [
                param.update_rule
                for param in optimizer.target.params()
                if param.update_rule is not None and param.update_rule.enabled
            ]
            for rule in self._disabled:
                rule.enabled = False
        chainer.report({'skipped': int(wrong is not None)}, optimizer.target)

    @staticmethod
    def _not_finite(target):
        """The first parameter whose gradient is not finite; on a GPU one copy to the host."""
        named = [
            (name, param) for name, param in sorted(target.namedparams()) if param.grad is not None
        ]
        xp = target.xp
        finite = [xp.isfinite(param.grad).all() for _, param in named]
        if not finite or bool(xp.stack(finite).all()):
            return None
        return next(name for (name, _), each in zip(named, finite) if not each)
