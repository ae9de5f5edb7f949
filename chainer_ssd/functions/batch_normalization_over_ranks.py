"""Batch normalization with the statistics of the batches of all ranks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NoReturn

import chainer
import numpy as np

from chainer_ssd._array import Array, get_array_module
from chainer_ssd.distributed import Communicator, RankSum

#: Values of an input that are converted to float64 at once. On NumPy they fit in the cache.
N_VALUES_NUMPY, N_VALUES_CUPY = 1 << 17, 1 << 26

#: Depths of the nodes in the graph, with room for the functions between two of them.
DEPTHS = itertools.count(1 << 20, 1 << 20)


def batch_normalization_over_ranks(
    x: chainer.Variable | Array,
    gamma: chainer.Variable | Array,
    beta: chainer.Variable | Array,
    comm: Communicator,
    eps: float = 2e-5,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    decay: float = 0.9,
) -> chainer.Variable:
    """Return the input, normalized by the statistics of all ranks. A collective call.

    The batches of the ranks may differ in size, and a batch may be empty (B = 0). Mean and variance
    are those of all values on all ranks. :class:`chainer_ssd.links.MultiNodeBatchNormalization`
    holds the parameters of this function.

    Parameters
    ----------
    x : chainer.Variable or float array of shape (B, C, ...)
        This rank's input. The shape of ``gamma`` follows the first axis. The statistics are taken
        over all other axes.
    gamma, beta : chainer.Variable or float array of shape (C,)
        Factor and summand of the normalized values.
    comm : chainermn.CommunicatorBase
        All its ranks call this function, and all run backward.
    eps : float
        Added to the variance.
    running_mean, running_var : float array of shape (C,) or None
        Running averages, which this function updates in place. None: there are none.
    decay : float
        Factor of the old running averages.

    Returns
    -------
    chainer.Variable of shape (B, C, ...)
        The normalized input, in its dtype.

    Raises
    ------
    chainer.utils.type_check.InvalidType
        If a dtype is no float, or the shapes do not fit.
    NotImplementedError
        On double backpropagation.

    Notes
    -----
    Ioffe and Szegedy, "Batch Normalization" (2015). Forward and backward each send one float64
    sum over ranks, with two numbers per channel. With CuPy the numbers travel through the host.
    The variance is E[x²] - E[x]² of float64 sums. Its relative error is about 1e-16 times
    (mean / deviation)². For float32 inputs the rounding of the inputs themselves is larger.

    The gradient of ``x`` is exact under ChainerMN's convention. Each rank's loss is divided by the
    mean count of the ranks, and the gradients of parameters are averaged over ranks. So the
    gradients of ``gamma`` and ``beta`` are this rank's part only.

    If no rank has a value, the running averages do not change.
    """
    node = BatchNormalizationOverRanks(comm, eps, running_mean, running_var, decay)
    (y,) = node.apply((x, gamma, beta))
    if y.creator_node is node:
        node.call_backward_in_order(y)
    return y


class BatchNormalizationOverRanks(chainer.FunctionNode):
    """``x, gamma, beta`` to ``y``, as :func:`batch_normalization_over_ranks`."""

    def __init__(
        self,
        comm: Communicator,
        eps: float,
        running_mean: Array | None,
        running_var: Array | None,
        decay: float,
    ) -> None:
        self.comm, self.eps, self.decay = comm, eps, decay
        self.running_mean, self.running_var = running_mean, running_var

    def check_type_forward(self, in_types: Any) -> None:
        x_type, gamma_type, beta_type = in_types
        n_axis = chainer.utils.type_check.eval(gamma_type.ndim)
        chainer.utils.type_check.expect(
            x_type.dtype.kind == 'f',
            gamma_type.dtype.kind == 'f',
            gamma_type.dtype == beta_type.dtype,
            gamma_type.shape == beta_type.shape,
            x_type.shape[1 : 1 + n_axis] == gamma_type.shape,
        )

    def forward(self, inputs: tuple[Array, Array, Array]) -> tuple[Array]:
        self.retain_inputs((0, 1))
        x, gamma, beta = inputs
        xp = get_array_module(x)
        (x_sum, x2_sum), n = sum_over_ranks(self.comm, sum_channels(x, x, gamma), x, gamma)
        self.mean = x_sum / max(n, 1)
        var = xp.maximum(x2_sum / max(n, 1) - self.mean**2, 0)
        self.inv_std = 1 / xp.sqrt(var + self.eps)
        if self.running_mean is not None and n:
            self._update(self.running_mean, self.mean)
            self._update(self.running_var, var * (n / max(n - 1, 1)))  # the unbiased estimate

        y = center(x, self.mean, gamma)
        y *= along_channels(gamma * self.inv_std, y)
        y += along_channels(beta, y)
        return (y.astype(x.dtype, copy=False),)

    def _update(self, running: Array, value: Array) -> None:
        running *= self.decay
        running += (1 - self.decay) * value

    def backward(
        self, indexes: tuple[int, ...], grad_outputs: tuple[chainer.Variable]
    ) -> tuple[chainer.Variable, ...]:
        x, gamma = self.get_retained_inputs()
        node = _Gradients(self.comm, self.mean, self.inv_std)
        return node.apply((x, gamma, *grad_outputs))

    def call_backward_in_order(self, y: chainer.Variable) -> None:
        """Make the backward calls of these functions run in the reverse of their forward order.

        Chainer runs backward by falling ``rank``, the depth in the graph. The order of nodes of
        equal depth depends on the graph of the loss, which differs on a rank without images. Then
        the sums of two branches would be exchanged. So no two of these nodes get the same depth.
        """
        self.rank = max(y.rank - 1, next(DEPTHS))
        y.creator_node = self  # sets the depth of y


class _Gradients(chainer.FunctionNode):
    """``x, gamma, gy`` to the gradients of ``x, gamma, beta``."""

    def __init__(self, comm: Communicator, mean: Array, inv_std: Array) -> None:
        self.comm, self.mean, self.inv_std = comm, mean, inv_std

    def forward(self, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, gamma, gy = inputs
        centered = center(x, self.mean, gamma)
        local = sum_channels(gy, centered, gamma)
        (gy_sum, product_sum), n = sum_over_ranks(self.comm, local, x, gamma)
        # gx = γ/σ · (gy - Σ gy / n - x̂ · Σ gy x̂ / n) with x̂ = (x - mean) / σ
        scale = gamma * self.inv_std
        gx = gy * along_channels(scale, centered)
        centered *= along_channels(scale * self.inv_std**2 * product_sum / max(n, 1), centered)
        gx -= centered
        gx -= along_channels(scale * gy_sum / max(n, 1), centered)
        gbeta, ggamma = local[0], local[1] * self.inv_std
        return (
            gx.astype(x.dtype, copy=False),
            ggamma.astype(gamma.dtype, copy=False),
            gbeta.astype(gamma.dtype, copy=False),
        )

    def backward(self, indexes: Any, grad_outputs: Any) -> NoReturn:
        raise NotImplementedError('MultiNodeBatchNormalization does not support double backprop')


def along_channels(values: Array, x: Array) -> Array:
    """Return the values of the channels in the dtype of ``x`` (B, C, ...), ready to broadcast."""
    shape = values.shape + (1,) * (x.ndim - 1 - values.ndim)
    return values.astype(x.dtype, copy=False).reshape(shape)


def center(x: Array, mean: Array, gamma: Array) -> Array:
    """Return ``x - mean`` as a new array, at least in float32."""
    dtype = np.result_type(x.dtype, gamma.dtype, np.float32)
    shape = mean.shape + (1,) * (x.ndim - 1 - mean.ndim)
    return x - mean.astype(dtype).reshape(shape)


def sum_channels(a: Array, b: Array, gamma: Array) -> Array:
    """Return Σ a and Σ a·b of each channel, in float64."""
    xp = get_array_module(a)
    axis = (0, *range(gamma.ndim + 1, a.ndim))
    sums = xp.zeros((2, *gamma.shape))
    n_values = N_VALUES_NUMPY if xp is np else N_VALUES_CUPY
    step = max(n_values * len(a) // max(a.size, 1), 1)
    for first in range(0, len(a), step):
        part = a[first : first + step].astype(np.float64)
        sums[0] += part.sum(axis)
        part *= b[first : first + step]
        sums[1] += part.sum(axis)
    return sums


def sum_over_ranks(
    comm: Communicator, sums: Array, x: Array, gamma: Array
) -> tuple[Sequence[Array], int]:
    """Return the sums of channels over all ranks, and the number of values per channel."""
    local: Any = np.append(chainer.backends.cuda.to_cpu(sums), x.size // max(gamma.size, 1))
    total = RankSum(comm, local).total()
    device = chainer.backend.get_device_from_array(sums)
    return device.send(total[:-1].reshape(sums.shape)), int(total[-1])
