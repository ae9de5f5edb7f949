"""How each function of Chainer becomes nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.export._graph_builder import GraphBuilder


class Call:
    """One call of a Chainer function, as it was recorded.

    Parameters
    ----------
    function : chainer.FunctionNode
        The function, with its attributes.
    names : list of (str or None)
        Names of the inputs in the graph. None: the input does not depend on the images.
    arrays : sequence of arrays
        Values of the inputs.
    labels : list of str
        For names in the graph: the parameter that each constant input is, or 'constant'.
    is_only_reader : bool
        Whether no other function reads the first input.
    """

    def __init__(
        self,
        function: Any,
        names: list[Any],
        arrays: Sequence[Array],
        labels: list[str],
        is_only_reader: bool,
    ) -> None:
        self.function, self.names = function, names
        self.arrays, self.labels = arrays, labels
        self.is_only_reader = is_only_reader

    def input(self, graph: GraphBuilder, i: int) -> str:
        """Return the name of an input. A constant is added as it is."""
        if self.names[i] is None:
            return graph.constant(self.arrays[i], self.labels[i])
        return self.names[i]

    def operand(self, graph: GraphBuilder, i: int) -> str:
        """Return the name of an input that is broadcast. A constant shrinks to what differs."""
        if self.names[i] is None:
            return graph.constant(_shrink(self.arrays[i]), self.labels[i])
        return self.names[i]

    def refuse(self, what: str) -> None:
        """Raise ``ValueError`` with what the function does that is not supported."""
        raise ValueError(f'{type(self.function).__name__}: {what} cannot be exported')


def _shrink(array: Array) -> Array:
    """Return an array with size 1 along each axis on which all values are equal."""
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if (array == first).all():
            array = first
    return array


def _convolution(graph: GraphBuilder, call: Call) -> str:
    function = call.function
    if call.names[1] is not None:
        call.refuse('a convolution with computed weights')
    inputs = [call.input(graph, i) for i in range(len(call.names))]
    weight = call.arrays[1]
    return graph.op(
        'Conv',
        *inputs,
        kernel_shape=weight.shape[2:],
        strides=(function.sy, function.sx),
        pads=(function.ph, function.pw) * 2,
        dilations=(function.dy, function.dx),
        group=function.groups,
    )


def _normalize_channels(graph: GraphBuilder, call: Call) -> str:
    """Batch normalization in test mode. It is folded into the convolution before it."""
    if any(name is not None for name in call.names[1:]):
        call.refuse('a normalization with computed statistics')
    gamma, beta, mean, var = (array.astype(np.float64) for array in call.arrays[1:5])
    # y = scale · (x − mean) + beta,   scale = gamma / sqrt(var + eps)
    scale = gamma / np.sqrt(var + call.function.eps)
    node = next((node for node in graph.nodes if call.names[0] in node.output), None)
    if node is not None and node.op_type == 'Conv' and call.is_only_reader:
        weight = graph.constants[node.input[1]]
        bias = graph.constants[node.input[2]] if len(node.input) > 2 else 0
        folded = (weight * scale[:, None, None, None]).astype(np.float32)
        stem = node.input[1]
        del node.input[1:]
        node.input.append(graph.constant(folded, stem + '/folded'))
        shift = ((bias - mean) * scale + beta).astype(np.float32)
        node.input.append(graph.constant(shift, stem + '/bias'))
        return call.names[0]
    names = [
        graph.constant(array.astype(np.float32), label)
        for array, label in zip((gamma, beta, mean, var), call.labels[1:])
    ]
    return graph.op('BatchNormalization', call.names[0], *names, epsilon=float(call.function.eps))


def _binary(op_type: str) -> Callable[[GraphBuilder, Call], str]:
    def convert(graph: GraphBuilder, call: Call) -> str:
        return graph.op(op_type, call.operand(graph, 0), call.operand(graph, 1))

    return convert


def _with_constant(op_type: str, is_first: bool = False) -> Callable[[GraphBuilder, Call], str]:
    def convert(graph: GraphBuilder, call: Call) -> str:
        value = graph.constant(np.array(call.function.value, np.float32))
        names = (value, call.names[0]) if is_first else (call.names[0], value)
        return graph.op(op_type, *names)

    return convert


def _unary(op_type: str) -> Callable[[GraphBuilder, Call], str]:
    def convert(graph: GraphBuilder, call: Call) -> str:
        return graph.op(op_type, call.names[0])

    return convert


def _leaky_relu(graph: GraphBuilder, call: Call) -> str:
    return graph.op('LeakyRelu', call.names[0], alpha=float(call.function.slope))


def _clip_above(graph: GraphBuilder, call: Call) -> str:
    limits = (graph.constant(np.array(x, np.float32)) for x in (0, call.function.cap))
    return graph.op('Clip', call.names[0], *limits)


def _concat(graph: GraphBuilder, call: Call) -> str:
    inputs = [call.input(graph, i) for i in range(len(call.names))]
    return graph.op('Concat', *inputs, axis=call.function.axis)


def _split(graph: GraphBuilder, call: Call) -> list[str]:
    # Slice, because OpenCV up to 4.7 ignores the sizes of Split and cuts into equal parts.
    function, size = call.function, call.arrays[0].shape[call.function.axis]
    if function.sections is not None:
        step = size // function.sections
        ends = [step * (i + 1) for i in range(function.sections)]
    else:
        ends = [*(int(end) for end in function.indices), size]
    starts = [0, *ends[:-1]]
    return [
        graph.op('Slice', call.names[0], *(graph.indices(x) for x in (start, end, function.axis)))
        for start, end in zip(starts, ends)
    ]


def _reshape(graph: GraphBuilder, call: Call) -> str:
    shape, old = list(call.function.shape), call.arrays[0].shape
    if not shape or shape[0] != old[0]:
        call.refuse(f'a reshape from {old} to {tuple(shape)}, which changes the first axis,')
    return graph.op('Reshape', call.names[0], graph.indices(-1, *map(int, shape[1:])))


def _transpose(graph: GraphBuilder, call: Call) -> str:
    ndim = call.arrays[0].ndim
    axes = call.function.axes
    axes = tuple(range(ndim))[::-1] if axes is None else tuple(axis % ndim for axis in axes)
    return graph.op('Transpose', call.names[0], perm=axes)


def _depth_to_space(graph: GraphBuilder, call: Call) -> str:
    return graph.op('DepthToSpace', call.names[0], blocksize=call.function.r, mode='DCR')


def _repeat_pixels(graph: GraphBuilder, call: Call) -> str:
    function, (height, width) = call.function, call.arrays[0].shape[2:]
    ksize, stride = (function.kh, function.kw), (function.sy, function.sx)
    size = height * function.kh, width * function.kw
    if ksize != stride or function.ph or function.pw or (function.outh, function.outw) != size:
        call.refuse('an unpooling whose windows overlap, are padded or are cut')
    # Pixel x of the output is pixel floor(x / k) of the input: asymmetric and floor together.
    # onnx's default half_pixel with floor is another function. OpenCV 4 ignores both, 5.0 does not.
    return graph.op(
        'Resize',
        call.names[0],
        '',
        graph.constant([1, 1, *ksize], 'scales', np.float32),
        mode='nearest',
        coordinate_transformation_mode='asymmetric',
        nearest_mode='floor',
    )


def _pool(op_type: str) -> Callable[[GraphBuilder, Call], str]:
    def convert(graph: GraphBuilder, call: Call) -> str:
        function = call.function
        if hasattr(function, 'ndim'):  # Chainer's pooling over any number of axes
            ksize, stride, pad = function.ksize, function.stride, function.pad
        else:
            ksize, stride = (function.kh, function.kw), (function.sy, function.sx)
            pad = function.ph, function.pw
        attributes: dict[str, Any] = {
            'kernel_shape': ksize,
            'strides': stride,
            'pads': tuple(pad) * 2,
        }
        is_covered = getattr(function, 'cover_all', False)
        if op_type == 'AveragePool':
            attributes['count_include_pad'] = 1
            if is_covered:
                call.refuse('an average over windows that the border cuts')
        elif is_covered:
            attributes['ceil_mode'] = 1
        return graph.op(op_type, call.names[0], **attributes)

    return convert


def _normalize_l2(graph: GraphBuilder, call: Call) -> str:
    axis = call.function.axis
    axes = [axis] if np.ndim(axis) == 0 else list(axis)
    norm = graph.op('ReduceL2', call.names[0], axes=[int(each) for each in axes], keepdims=1)
    eps = graph.constant(np.array(call.function.eps, np.float32))
    return graph.op('Div', call.names[0], graph.op('Add', norm, eps))


def _identity(graph: GraphBuilder, call: Call) -> str:
    return call.names[0]


def _cast(graph: GraphBuilder, call: Call) -> str:
    if np.dtype(call.function.type) != call.arrays[0].dtype:
        call.refuse(f'a cast from {call.arrays[0].dtype} to {np.dtype(call.function.type)}')
    return call.names[0]


#: Functions by the name of their class.
CONVERTERS: dict[str, Callable[[GraphBuilder, Call], Any]] = {
    'Add': _binary('Add'),
    'AddConstant': _with_constant('Add'),
    'AveragePooling2D': _pool('AveragePool'),
    'Cast': _cast,
    'ClippedReLU': _clip_above,
    'Concat': _concat,
    'Convolution2DFunction': _convolution,
    'Depth2Space': _depth_to_space,
    'Div': _binary('Div'),
    'FixedBatchNormalization': _normalize_channels,
    'Identity': _identity,
    'LeakyReLU': _leaky_relu,
    'MaxPooling2D': _pool('MaxPool'),
    'MaxPoolingND': _pool('MaxPool'),
    'Mul': _binary('Mul'),
    'MulConstant': _with_constant('Mul'),
    'NormalizeL2': _normalize_l2,
    'ReLU': _unary('Relu'),
    'Reshape': _reshape,
    'Sigmoid': _unary('Sigmoid'),
    'SplitAxis': _split,
    'Sub': _binary('Sub'),
    'SubFromConstant': _with_constant('Sub', is_first=True),
    'Tanh': _unary('Tanh'),
    'Transpose': _transpose,
    'Unpooling2D': _repeat_pixels,
}
