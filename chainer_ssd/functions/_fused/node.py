"""The multibox loss as one FunctionNode: the definition's values and gradients, fewer passes."""

import chainer
import numpy as np

from chainer_ssd.distributed import PositiveCount
from chainer_ssd.functions._fused import kernels
from chainer_ssd.functions._fused.memory import zeros
from chainer_ssd.functions._fused.mining import mine
from chainer_ssd.functions.objective import rows, selected_losses

#: The kernels are right where tests/kernels emulates them, but have not met a GPU yet: until
#: ``pytest -m gpu`` has passed on one, ``'auto'`` leaves CuPy arrays to the definition.
KERNELS_HAVE_RUN = False


def serves(*arrays):
    """Whether the node, and not the definition, is to compute the loss of these arrays.

    Parameters
    ----------
    *arrays : arrays
        Predictions first, then targets.

    Returns
    -------
    bool
        By ``chainer.config.use_fused_multibox``, and by whose arrays these are: ChainerX's and
        iDeep's go to the definition, CuPy's until ``KERNELS_HAVE_RUN`` and where they cannot.

    Raises
    ------
    ValueError
        If ``chainer.config.use_fused_multibox`` is neither ``'auto'`` nor ``'never'``.
    """
    use = chainer.config.use_fused_multibox
    if use not in ('auto', 'never'):
        raise ValueError(f"chainer.config.use_fused_multibox = {use!r}: expected 'auto' or 'never'")
    if use == 'never' or arrays[0].dtype not in (np.float16, np.float32, np.float64):
        return False
    if all(isinstance(array, np.ndarray) for array in arrays):
        return True
    return (
        KERNELS_HAVE_RUN
        and all(isinstance(array, chainer.backends.cuda.ndarray) for array in arrays)
        and kernels.can_run(*arrays)
    )


class FusedMultiboxLoss(chainer.FunctionNode):
    """``mb_locs, mb_confs`` to ``loc_loss, conf_loss``, as :func:`chainer_ssd.multibox_loss`.

    Parameters
    ----------
    gt_mb_locs, gt_mb_labels, k, comm
        As :func:`chainer_ssd.multibox_loss` takes them, and has checked them.
    not_background : int array
        Flat indices of the boxes that are not background; only NumPy's are looked at.
    """

    def __init__(self, gt_mb_locs, gt_mb_labels, not_background, k, comm=None):
        self.gt_mb_locs, self.gt_mb_labels = gt_mb_locs, gt_mb_labels
        self.not_background, self.k, self.comm = not_background, k, comm

    def forward_cpu(self, inputs):
        self.retain_inputs((0, 1))
        mb_locs, mb_confs = inputs
        dtype = np.promote_types(mb_locs.dtype, 'f').type
        label = self.gt_mb_labels.take(self.not_background)
        self.positive = self.not_background[label > 0]
        with np.errstate(all='ignore'):
            hard_negative = mine(mb_confs, self.positive, self.not_background, self.k)
            self.selected = np.concatenate([self.positive, hard_negative])

            self.n = dtype(self._mean(len(self.positive)) or 1)  # without positives: 0 / 1
            loc_loss = self._huber_loss(mb_locs, dtype) / self.n
            conf_loss = self._softmax_cross_entropy(mb_confs, dtype) / self.n
        return np.asarray(loc_loss, dtype), np.asarray(conf_loss, dtype)

    def forward_gpu(self, inputs):
        self.retain_inputs((0, 1))
        xp, dtype = chainer.backends.cuda.cupy, np.promote_types(inputs[0].dtype, 'f')
        if not self.gt_mb_labels.size:  # nothing to launch
            self.selected, self.n = self.gt_mb_labels, xp.zeros(())
            self._mean(0)
            return xp.zeros((), dtype), xp.zeros((), dtype)
        # What the kernels take: contiguous, and targets as sums are made.
        self.gt_mb_locs = xp.ascontiguousarray(self.gt_mb_locs, dtype)
        self.gt_mb_labels = xp.ascontiguousarray(self.gt_mb_labels, 'i')
        losses, self.n, self.selected = kernels.forward(
            *map(xp.ascontiguousarray, inputs),
            self.gt_mb_locs,
            self.gt_mb_labels,
            self.k,
            divide=self.comm is None,
        )
        if self.comm is not None:  # the one look at the device
            n = self._mean(self.n)
            losses /= n or 1
            self.n = xp.asarray(n)
        return losses[0], losses[1]

    def _mean(self, n_positive):
        return n_positive if self.comm is None else PositiveCount.of(self.comm).mean(n_positive)

    def _huber_loss(self, mb_locs, dtype):
        # |d| < 1: d² / 2, else |d| − 1/2
        d = rows(mb_locs).take(self.positive, axis=0).astype(dtype) - rows(self.gt_mb_locs).take(
            self.positive, axis=0
        ).astype(dtype)
        self.huber_gradient = d.clip(-1, 1)
        return (self.huber_gradient * (d - self.huber_gradient / 2)).sum()

    def _softmax_cross_entropy(self, mb_confs, dtype):
        # −log softmax(x)_t = log Σ_c exp(x_c − m) − (x_t − m),  m = max_c x_c
        # Classes first: along the first axis of a short, wide array NumPy's reductions are fast.
        x = rows(mb_confs).take(self.selected, axis=0).T.astype(dtype, order='C')
        x -= x.max(axis=0)
        target = self.gt_mb_labels.take(self.selected), np.arange(len(self.selected))
        x_t = x[target]
        total = np.exp(x, out=x).sum(axis=0)
        # softmax(x) − onehot(t)
        x /= total
        x[target] -= 1
        self.softmax_gradient = x
        return (np.log(total) - x_t).sum()

    def backward(self, indexes, grad_outputs):
        inputs = self.get_retained_inputs()
        if chainer.config.enable_backprop:  # the gradients are to be differentiated
            return self._gradients_of_definition(indexes, inputs, grad_outputs)
        inputs = [x.array for x in inputs]
        grads = [
            g.array if g is not None and i in indexes else None for i, g in enumerate(grad_outputs)
        ]
        of_host = isinstance(inputs[0], np.ndarray)
        gradients = (self._gradients_cpu if of_host else self._gradients_gpu)(inputs, grads)
        return tuple(
            None if gradients[i] is None else chainer.as_variable(gradients[i]) for i in indexes
        )

    def _gradients_cpu(self, inputs, grads):
        # softmax_gradient has classes first
        rows_of = (self.positive, self.huber_gradient), (self.selected, self.softmax_gradient.T)
        gradients = [None, None]
        with np.errstate(all='ignore'):
            for i, (where, gradient) in enumerate(rows_of):
                if grads[i] is not None:
                    gradients[i] = zeros(inputs[i].shape, inputs[i].dtype)
                    gradient = np.multiply(gradient, grads[i] / self.n, order='C')
                    whole_rows(gradients[i])[where] = whole_rows(
                        gradient.astype(inputs[i].dtype, copy=False)
                    )
        return gradients

    def _gradients_gpu(self, inputs, grads):
        xp = chainer.backends.cuda.cupy
        if not self.gt_mb_labels.size:
            return [None if g is None else xp.zeros_like(x) for x, g in zip(inputs, grads)]
        return kernels.backward(
            *map(xp.ascontiguousarray, inputs),
            self.gt_mb_locs,
            self.gt_mb_labels,
            self.selected,
            self.n,
            *grads,
        )

    def _gradients_of_definition(self, indexes, inputs, grads):
        # With the choice of rows that has been made, and the count: no rank asks again.
        positive = self.gt_mb_labels > 0
        selected = self.selected
        if isinstance(positive, np.ndarray):
            selected = np.zeros(positive.shape, bool)
            selected.ravel()[self.selected] = True
        losses = selected_losses(
            *inputs,
            self.gt_mb_locs,
            self.gt_mb_labels,
            positive,
            selected.astype(bool) & ~positive,
            float(self.n) or 1.0,
        )
        return tuple(
            None
            if grads[i] is None
            else chainer.grad([losses[i]], [inputs[i]], [grads[i]], enable_double_backprop=True)[0]
            for i in indexes
        )


def whole_rows(x):
    """A contiguous array as its rows, which NumPy then copies whole and not number by number."""
    return x.view(f'V{x.shape[-1] * x.itemsize}').reshape(-1)
