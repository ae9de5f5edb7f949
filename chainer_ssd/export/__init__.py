"""Trained detectors for other runtimes: ONNX files and weights of PyTorch."""

from chainer_ssd.export.onnx_model import export_onnx

__all__ = ['export_onnx']
