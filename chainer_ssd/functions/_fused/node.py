"""The multibox loss as one FunctionNode: the definition's values and gradients, fewer passes.

See "One node" in ``docs/explanation/fast-loss.md``.
"""

from __future__ import annotations

from typing import Any, Callable

import chainer
import chainer.functions as F
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.functions._fused import kernels
from chainer_ssd.functions._fused.memory import zeros
from chainer_ssd.functions._fused.mining import select_hard_negatives
from chainer_ssd.functions.parts.batch import as_rows, select_rows
from chainer_ssd.functions.parts.confidence import SoftmaxCrossEntropy
from chainer_ssd.functions.parts.localization import SmoothL1


class FusedMultiboxLoss(chainer.FunctionNode):
    """``mb_locs, mb_confs`` to ``loc_loss, conf_loss``, as :func:`chainer_ssd.multibox_loss`.

    Parameters
    ----------
    gt_mb_locs, gt_mb_labels, k
        Valid arguments of :func:`chainer_ssd.multibox_loss`.
    not_background : int array or None
        Flat indices of boxes that are not background. Used with NumPy arrays only.
    count : callable or None
        Returns the divisor of the losses for a number of positives, and is called once. None: the
        number itself.
    localization, confidence : SmoothL1, SoftmaxCrossEntropy
        The losses of rows.
    """

    def __init__(
        self,
        gt_mb_locs: Array,
        gt_mb_labels: Array,
        not_background: Array,
        k: float,
        count: Callable[[Any], Any] | None,
        localization: SmoothL1,
        confidence: SoftmaxCrossEntropy,
    ) -> None:
        self.localization, self.confidence = localization, confidence
        self.gt_mb_locs, self.gt_mb_labels = gt_mb_locs, gt_mb_labels
        self.not_background, self.k, self.count = not_background, k, count

    def forward_cpu(self, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        self.retain_inputs((0, 1))
        mb_locs, mb_confs = inputs
        dtype = np.promote_types(mb_locs.dtype, 'f').type
        label = self.gt_mb_labels.take(self.not_background)
        self.positive = self.not_background[label > 0]
        with np.errstate(all='ignore'):
            hard_negative = select_hard_negatives(
                mb_confs, self.positive, self.not_background, self.k
            )
            self.selected = np.concatenate([self.positive, hard_negative])

            # Without positives no row is selected, and the sums are 0.
            n_positive = len(self.positive)
            self.normalizer = dtype((self.count(n_positive) if self.count else n_positive) or 1)
            loc_loss = self._smooth_l1(mb_locs, dtype) / self.normalizer
            conf_loss = self._softmax_cross_entropy(mb_confs, dtype) / self.normalizer
        return np.asarray(loc_loss, dtype), np.asarray(conf_loss, dtype)

    def forward_gpu(self, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        self.retain_inputs((0, 1))
        xp, dtype = chainer.backends.cuda.cupy, np.promote_types(inputs[0].dtype, 'f')
        if not self.gt_mb_labels.size:
            self.selected, self.normalizer = self.gt_mb_labels, xp.zeros(())
            if self.count is not None:
                self.count(0)
            return xp.zeros((), dtype), xp.zeros((), dtype)
        self.gt_mb_locs = xp.ascontiguousarray(self.gt_mb_locs, dtype)
        self.gt_mb_labels = xp.ascontiguousarray(self.gt_mb_labels, 'i')
        losses, self.normalizer, self.selected = kernels.forward(
            xp.ascontiguousarray(inputs[0]),
            xp.ascontiguousarray(inputs[1]),
            self.gt_mb_locs,
            self.gt_mb_labels,
            self.k,
            divide=self.count is None,
        )
        if self.count is not None:
            normalizer = self.count(self.normalizer)  # may synchronize
            losses /= normalizer or 1
            self.normalizer = xp.asarray(normalizer, np.float64)  # as the kernels read it
        return losses[0], losses[1]

    def _smooth_l1(self, mb_locs: Array, dtype: Any) -> Any:
        # The sum of SmoothL1 over positives, and its gradient h:
        # β h · (d − h / 2),  h = clip(d, −1, 1),  d = (x − t) / β.
        beta = dtype(self.localization.beta)
        d = as_rows(mb_locs).take(self.positive, axis=0).astype(dtype)
        d -= as_rows(self.gt_mb_locs).take(self.positive, axis=0).astype(dtype)
        if beta != 1:
            d /= beta
        self.loc_gradient = d.clip(-1, 1)
        return beta * (self.loc_gradient * (d - self.loc_gradient / 2)).sum()

    def _softmax_cross_entropy(self, mb_confs: Array, dtype: Any) -> Any:
        # The sum of SoftmaxCrossEntropy over selected rows, and its gradient:
        # −log softmax(x)_t = log Σ_c exp(x_c − m) − (x_t − m),  m = max_c x_c.
        # Classes come first, because reductions along the first axis are faster.
        x = as_rows(mb_confs).take(self.selected, axis=0).T.astype(dtype, order='C')
        x -= x.max(axis=0)
        target = self.gt_mb_labels.take(self.selected), np.arange(len(self.selected))
        weights = self.confidence.weights(len(x), dtype)
        if weights is not None:
            return self._weighted_cross_entropy(x, target, *weights)
        x_t = x[target]
        total = np.exp(x, out=x).sum(axis=0)
        # softmax(x) − onehot(t)
        x /= total
        x[target] -= 1
        self.conf_gradient = x  # (C, number of selected rows)
        return (np.log(total) - x_t).sum()

    def _weighted_cross_entropy(self, x: Array, target: Any, shared: Array, own: Array) -> Any:
        # −Σ_c v_c log p_c = V log Σ_c exp(x_c) − Σ_c v_c x_c,  V = Σ_c v_c.
        # v = shared + own_t onehot(t), and the gradient is V softmax(x) − v.
        own = own[target[0]]
        weight = shared.sum() + own
        linear = shared @ x + own * x[target]
        total = np.exp(x, out=x).sum(axis=0)
        x *= weight / total
        x -= shared[:, None]
        x[target] -= own
        self.conf_gradient = x
        return (weight * np.log(total) - linear).sum()

    def backward(
        self, indexes: tuple[int, ...], grad_outputs: tuple[Any, Any]
    ) -> tuple[chainer.Variable | None, ...]:
        inputs = self.get_retained_inputs()
        if chainer.config.enable_backprop:  # double backprop
            return self._differentiable_gradients(indexes, inputs, grad_outputs)
        inputs = [x.array for x in inputs]
        grads = [
            g.array if g is not None and i in indexes else None for i, g in enumerate(grad_outputs)
        ]
        on_cpu = isinstance(inputs[0], np.ndarray)
        gradients = (self._gradients_cpu if on_cpu else self._gradients_gpu)(inputs, grads)
        return tuple(
            None if gradients[i] is None else chainer.as_variable(gradients[i]) for i in indexes
        )

    def _gradients_cpu(self, inputs: list[Array], grads: list[Array | None]) -> list[Array | None]:
        selected_gradients = (
            (self.positive, self.loc_gradient),
            (self.selected, self.conf_gradient.T),
        )
        gradients = [None, None]
        with np.errstate(all='ignore'):
            for i, (rows, gradient) in enumerate(selected_gradients):
                if grads[i] is not None:
                    gradients[i] = zeros(inputs[i].shape, inputs[i].dtype)
                    gradient = np.multiply(gradient, grads[i] / self.normalizer, order='C')
                    rows_as_items(gradients[i])[rows] = rows_as_items(
                        gradient.astype(inputs[i].dtype, copy=False)
                    )
        return gradients

    def _gradients_gpu(self, inputs: list[Array], grads: list[Array | None]) -> Any:
        xp = chainer.backends.cuda.cupy
        if not self.gt_mb_labels.size:
            return [None if g is None else xp.zeros_like(x) for x, g in zip(inputs, grads)]
        return kernels.backward(
            xp.ascontiguousarray(inputs[0]),
            xp.ascontiguousarray(inputs[1]),
            self.gt_mb_locs,
            self.gt_mb_labels,
            self.selected,
            self.normalizer,
            *(None if g is None else g.astype(self.gt_mb_locs.dtype, copy=False) for g in grads),
        )

    def _differentiable_gradients(
        self, indexes: tuple[int, ...], inputs: tuple[Any, Any], grads: tuple[Any, Any]
    ) -> tuple[chainer.Variable | None, ...]:
        # The definition's gradients for the same selection and count, so that no rank counts again.
        positive = self.gt_mb_labels > 0
        selected = self.selected
        if isinstance(positive, np.ndarray):
            selected = np.zeros(positive.shape, bool)
            selected.ravel()[self.selected] = True
        selected = selected.astype(bool)
        loc_rows = self.localization(select_rows(inputs[0], positive), self.gt_mb_locs[positive])
        conf_rows = self.confidence(select_rows(inputs[1], selected), self.gt_mb_labels[selected])
        divisor = float(self.normalizer) or 1.0
        losses = F.sum(loc_rows) / divisor, F.sum(conf_rows) / divisor
        return tuple(
            None
            if grads[i] is None
            else chainer.grad([losses[i]], [inputs[i]], [grads[i]], enable_double_backprop=True)[0]
            for i in indexes
        )


def rows_as_items(array: Array) -> Array:
    """Return a contiguous array as one item per row, so that NumPy copies rows as a whole."""
    return array.view(f'V{array.shape[-1] * array.itemsize}').reshape(-1)
