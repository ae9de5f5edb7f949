"""Recording the functions that a network calls, as nodes of an ONNX graph."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import chainer

from chainer_ssd._array import Array
from chainer_ssd.export._converters import CONVERTERS, Call
from chainer_ssd.export._graph_builder import GraphBuilder


class _Recorder(chainer.FunctionHook):
    """Keeps each function with its inputs, in the order of the calls."""

    name = 'chainer_ssd.export'

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Sequence[Array]]] = []

    def forward_postprocess(self, function: Any, in_data: Sequence[Array]) -> None:
        self.calls.append((function, in_data))


def trace(
    graph: GraphBuilder, model: chainer.Link, imgs: Array, input_name: str
) -> list[tuple[str, tuple[int, ...]]]:
    """Run a model on example images, and add the functions that it calls to a graph.

    Parameters
    ----------
    graph : GraphBuilder
        Receives nodes and weights.
    model : chainer.Link
        Returns one or more variables. Parameters give their names to constants.
    imgs : array
        Example images. The graph takes another number of them as well.
    input_name : str
        Name of the images in the graph.

    Returns
    -------
    list of (str, tuple of int)
        Name and shape of each output.

    Raises
    ------
    ValueError
        If the model calls a function that has no converter, or returns what does not depend on
        the images.
    """
    x, recorder = chainer.Variable(imgs), _Recorder()
    with recorder, chainer.using_config('train', False), chainer.force_backprop_mode():
        with chainer.using_config('use_ideep', 'never'):
            outputs = model(x)
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    names = {id(x.node): input_name}
    labels = {id(param.node): name[1:] for name, param in model.namedparams()}
    n_reader = collections.Counter(
        id(node) for function, _ in recorder.calls for node in function.inputs
    )
    n_reader.update(id(y.node) for y in outputs)
    for function, arrays in recorder.calls:
        nodes = function.inputs
        inputs = [names.get(id(node)) for node in nodes]
        if not any(inputs):  # computed from weights alone: the reader takes its value
            continue
        name = type(function).__name__
        if name not in CONVERTERS:
            raise ValueError(
                f'the network calls {name}, which has no ONNX converter. '
                f'Supported are {", ".join(sorted(CONVERTERS))}'
            )
        call = Call(
            function,
            inputs,
            arrays,
            [labels.get(id(node), 'constant') for node in nodes],
            n_reader[id(nodes[0])] == 1,
        )
        results = CONVERTERS[name](graph, call)
        results = results if isinstance(results, list) else [results]
        for reference, result in zip(function.outputs, results):
            node = reference()
            if node is not None:  # None: nothing reads it
                names[id(node)] = result
    for y in outputs:
        if id(y.node) not in names:
            raise ValueError('an output of the network does not depend on the images')
    return [(names[id(y.node)], y.shape) for y in outputs]
