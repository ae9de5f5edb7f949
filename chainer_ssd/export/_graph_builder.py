"""An ONNX graph under construction."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._extras import require

#: Operators of ONNX 1.8 (2020). The file format is that of ONNX 1.10, which any runtime reads that
#: knows these operators. Without it, the installed onnx writes its newest format.
OPSET, IR_VERSION = 13, 8


class GraphBuilder:
    """Nodes and constants of an ONNX graph, with names that are each used once.

    Raises
    ------
    ImportError
        If onnx is missing (``pip install "chainer_ssd[onnx]"``).
    """

    def __init__(self) -> None:
        self._onnx = require('onnx', 'onnx')
        self._helper = require('onnx.helper', 'onnx')
        self._numpy_helper = require('onnx.numpy_helper', 'onnx')
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self._counters: dict[str, itertools.count[int]] = {}

    def constant(self, array: Any, name: str = 'constant', dtype: Any = None) -> str:
        """Add an array, and return its name. Small arrays that are equal are added once."""
        array = np.ascontiguousarray(array, dtype).reshape(np.shape(array))
        if array.size <= 16:
            for other, known in self.constants.items():
                same_type = known.dtype == array.dtype and known.shape == array.shape
                if same_type and known.tobytes() == array.tobytes():
                    return other
        name = self._new_name(name)
        self.constants[name] = array
        return name

    def indices(self, *values: int) -> str:
        """Add a vector of int64, and return its name."""
        return self.constant(values, 'indices', np.int64)

    def op(self, op_type: str, *inputs: str, n_output: int = 1, **attributes: Any) -> Any:
        """Add a node, and return the name of its output, or a list of names."""
        name = self._new_name(op_type)
        outputs = [name] if n_output == 1 else [f'{name}_{i}' for i in range(n_output)]
        self.nodes.append(
            self._helper.make_node(op_type, list(inputs), outputs, name=name, **attributes)
        )
        return outputs[0] if n_output == 1 else outputs

    def rename(self, old: str, new: str) -> None:
        """Give the output of a node the name of an output of the graph."""
        for node in self.nodes:
            for names in node.input, node.output:
                names[:] = [new if name == old else name for name in names]

    def build(
        self,
        name: str,
        inputs: dict[str, tuple[Any, tuple[Any, ...]]],
        outputs: dict[str, tuple[Any, tuple[Any, ...]]],
        metadata: dict[str, str],
    ) -> Any:
        """Return the checked model, without constants that no node reads.

        Parameters
        ----------
        name : str
            Name of the graph.
        inputs, outputs : dict of str to (dtype, shape)
            A str in a shape is a size that is known at run time only.
        metadata : dict of str to str
            Kept in the file.

        Returns
        -------
        onnx.ModelProto
            The model.
        """
        used = {each for node in self.nodes for each in node.input}
        graph = self._helper.make_graph(
            self.nodes,
            name,
            [self._describe(key, *value) for key, value in inputs.items()],
            [self._describe(key, *value) for key, value in outputs.items()],
            [
                self._numpy_helper.from_array(array, key)
                for key, array in self.constants.items()
                if key in used
            ],
        )
        model = self._helper.make_model(
            graph,
            producer_name='chainer_ssd',
            opset_imports=[self._helper.make_opsetid('', OPSET)],
            ir_version=IR_VERSION,
        )
        self._helper.set_model_props(model, metadata)
        self._onnx.checker.check_model(model)
        return model

    def _describe(self, name: str, dtype: Any, shape: tuple[Any, ...]) -> Any:
        element = self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._helper.make_tensor_value_info(name, element, shape)

    def _new_name(self, stem: str) -> str:
        number = next(self._counters.setdefault(stem, itertools.count()))
        return f'{stem}_{number}' if number or not stem.count('/') else stem
