"""The convolution and its gradients as function nodes."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F
import numpy as np
from chainer.functions.connection import convolution_2d as chainers

from chainer_ssd._array import Array
from chainer_ssd.functions._convolution.algorithms import compute_gradients, convolve
from chainer_ssd.functions._convolution.geometry import Geometry


class Convolution2DFunction(chainers.Convolution2DFunction):
    """``x, W[, b]`` to ``y``. Arguments and errors are Chainer's.

    Programs that distinguish functions by the names of their classes, such as exporters, find
    Chainer's name and attributes.
    """

    def forward(self, inputs: tuple[Array, ...]) -> tuple[Array]:
        self.retain_inputs((0, 1))
        x, W, b = inputs if len(inputs) == 3 else (*inputs, None)
        self.geometry = Geometry(
            self.sy,
            self.sx,
            self.ph,
            self.pw,
            self.dy,
            self.dx,
            self.groups,
            self._get_out_size(x.shape, W.shape),
        )
        return (convolve(x, W, b, self.geometry),)

    def backward(
        self, indexes: tuple[int, ...], grad_outputs: tuple[chainer.Variable]
    ) -> tuple[chainer.Variable, ...]:
        node = _Gradients(self, indexes)
        return node.apply((*self.get_retained_inputs(), *grad_outputs))


class _Gradients(chainer.FunctionNode):
    """``x, W, gy`` to the gradients of those of ``x, W, b`` that are needed."""

    def __init__(self, convolution: Convolution2DFunction, needed: tuple[int, ...]) -> None:
        self.convolution, self.needed = convolution, needed

    def forward(self, inputs: tuple[Array, Array, Array]) -> tuple[Array, ...]:
        self.retain_inputs((0, 1, 2))
        x, W, gy = inputs
        gx, gW = compute_gradients(
            x, W, gy, self.convolution.geometry, 0 in self.needed, 1 in self.needed
        )
        gb = None
        if 2 in self.needed:
            dtype = np.promote_types(x.dtype, np.float32)
            gb = gy.sum(axis=(0, 2, 3), dtype=dtype).astype(x.dtype, copy=False)
        return tuple((gx, gW, gb)[i] for i in self.needed)

    def backward(
        self, indexes: tuple[int, ...], grad_outputs: tuple[chainer.Variable | None, ...]
    ) -> tuple[chainer.Variable | None, ...]:
        # The three outputs are bilinear in two of the inputs. Chainer's functions are
        # differentiable any number of times.
        x, W, gy = self.get_retained_inputs()
        ggx, ggW, ggb = (dict(zip(self.needed, grad_outputs)).get(i) for i in range(3))
        c = self.convolution
        options: dict[str, Any] = dict(
            stride=(c.sy, c.sx), pad=(c.ph, c.pw), dilate=(c.dy, c.dx), groups=c.groups
        )
        parts: list[list[chainer.Variable]] = [[], [], []]
        if ggx is not None:
            parts[1] += chainers.Convolution2DGradW(c, W.shape, W.dtype, W.layout).apply((ggx, gy))
            parts[2].append(F.convolution_2d(ggx, W, **options))
        if ggW is not None:
            parts[0].append(F.deconvolution_2d(gy, ggW, outsize=x.shape[2:], **options))
            parts[2].append(F.convolution_2d(x, ggW, **options))
        if ggb is not None:
            parts[2].append(F.broadcast_to(F.reshape(ggb, (1, -1, 1, 1)), gy.shape))
        return tuple(sum(parts[i][1:], parts[i][0]) if parts[i] else None for i in indexes)
