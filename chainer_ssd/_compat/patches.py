"""The patches: which words of which Chainer module change, and when."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Callable, NamedTuple

import numpy as np

CHAINER_VERSION = '7.8.1'
NUMPY_VERSION = tuple(int(part) for part in np.__version__.split('.')[:2])


def is_importable(*names: str) -> bool:
    """Return whether all modules can be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # numpy.distutils and pkg_resources are deprecated
            for name in names:
                importlib.import_module(name)
    except Exception:
        return False
    return True


class Patch(NamedTuple):
    """Replacement of each key of ``words`` by its value, if ``is_needed()``."""

    is_needed: Callable[[], bool]
    words: dict[str, str]


def lacks_onnx_mapping() -> bool:
    """Return whether onnx has no module ``mapping``. Older releases had one."""
    return not is_importable('onnx.mapping')


_IMPORT_MAPPING = 'from onnx.mapping import NP_TYPE_TO_TENSOR_TYPE\n'
#: The same mapping by a function of onnx, in one line.
_FROM_HELPER = (
    'import onnx.helper; NP_TYPE_TO_TENSOR_TYPE = type("_TensorTypes", (), {"__getitem__": '
    'lambda self, key: onnx.helper.np_dtype_to_tensor_dtype(__import__("numpy").dtype(key))})()\n'
)

PATCHES = {
    # Lines 6 and 7: Python 3.12 removed numpy.distutils, setuptools 82 pkg_resources. Both serve
    # only a warning about macOS's vecLib and one about CuPy versions other than 7.
    'chainer._environment_check': Patch(
        lambda: not is_importable('numpy.distutils.system_info', 'pkg_resources'),
        {
            'import numpy.distutils.system_info\nimport pkg_resources\n': '\n\n',
            '    _check_osx_numpy_backend()\n    _check_optional_dependencies()\n': '\n\n',
        },
    ),
    # Line 322 pads a batch. NumPy 2.4 deprecates out as a third positional argument.
    'chainer.dataset.convert': Patch(
        lambda: NUMPY_VERSION >= (2, 4),
        {'maximum(shape, array.shape, shape)': 'maximum(shape, array.shape, out=shape)'},
    ),
    # Lines 10 and 252: NumPy 2.0 removed np.sctypes.
    'chainer.functions.array.as_strided': Patch(
        lambda: NUMPY_VERSION >= (2, 0),
        {
            "np.sctypes['int']": '(np.int8, np.int16, np.int32, np.int64)',
            "np.sctypes['float']": '(np.float16, np.float32, np.float64, np.longdouble)',
        },
    ),
    # Lines 179 to 196: NumPy 1.20 deprecated numpy.float, Python's float. NumPy 1.24 removed it.
    'chainer.functions.array.resize_images': Patch(
        lambda: NUMPY_VERSION >= (1, 20),
        {'dtype=numpy.float)': 'dtype=float)'},
    ),
    # Line 475 starts the thread that fetches batches. Python 3.10 deprecates setDaemon.
    'chainer.iterators.multiprocess_iterator': Patch(
        lambda: sys.version_info >= (3, 10),
        {'thread.setDaemon(True)': 'thread.daemon = True'},
    ),
    # Line 137: NumPy 1.25 deprecated int() of a one-element array, and 2.5 refuses it. The error
    # occurs on all ranks but the master, which then waits forever.
    'chainermn.iterators.multi_node_iterator': Patch(
        lambda: NUMPY_VERSION >= (1, 25),
        {'int(_size)': 'int(_size[0])'},
    ),
    # Line 211: since NumPy 2.0 and CuPy 14, array(copy=False) raises where a copy is needed. That
    # is always so here, in an all-reduce with float16, because the dtypes differ. Lines 291 and
    # 363: the header of CuPy 14, which needs NumPy 2, does not include the one that defines `half`.
    'chainermn.communicators._memory_utility': Patch(
        lambda: NUMPY_VERSION >= (2, 0),
        {
            'xp.array(v, copy=False, dtype=transfer_dtype)': 'v.astype(transfer_dtype, copy=False)',
            '#include <cupy/carray.cuh>': '#include <cuda_fp16.h>',
        },
    ),
    # onnx_chainer is a part of Chainer 7. Line 26 turns small constants into readable lists.
    'onnx_chainer.context': Patch(
        lacks_onnx_mapping,
        {
            'onnx.mapping.STORAGE_TENSOR_TYPE_TO_FIELD.get(\n'
            '        tensor.data_type, None)': 'None if tensor.data_type not in (1, 6, 7) else (\n'
            "        {1: 'float_data', 6: 'int32_data', 7: 'int64_data'}[tensor.data_type])"
        },
    ),
    # Line 12, whose failure becomes "ONNX is not installed". Line 31 asks for an onnx that has no
    # wheel for Python 3.9. Line 463 states onnx's newest file format, which older
    # runtimes refuse.
    'onnx_chainer.export': Patch(
        lacks_onnx_mapping,
        {
            '    ' + _IMPORT_MAPPING: '    ' + _FROM_HELPER,
            "pip install \\'onnx<1.7.0\\'": 'pip install onnx',
            'model.ir_version = onnx.IR_VERSION': 'model.ir_version = 6',
        },
    ),
    'onnx_chainer.functions.array': Patch(lacks_onnx_mapping, {_IMPORT_MAPPING: _FROM_HELPER}),
    'onnx_chainer.functions.math': Patch(lacks_onnx_mapping, {_IMPORT_MAPPING: _FROM_HELPER}),
}


def is_due(name: str) -> bool:
    """Return whether module ``name`` has a patch that this Chainer needs here."""
    return (
        name in PATCHES
        and importlib.import_module('chainer._version').__version__ == CHAINER_VERSION
        and PATCHES[name].is_needed()
    )
