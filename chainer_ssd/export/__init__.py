"""Trained detectors for other runtimes: ONNX files and weights of PyTorch."""

from chainer_ssd.export.onnx_model import default_bbox_path, export_onnx
from chainer_ssd.export.torch_weights import (
    export_torch,
    load_state_dict,
    load_torch,
    to_state_dict,
)

__all__ = [
    'default_bbox_path',
    'export_onnx',
    'export_torch',
    'load_state_dict',
    'load_torch',
    'to_state_dict',
]
