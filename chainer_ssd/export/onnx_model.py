"""A detector as an ONNX file."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._files import atomic_write
from chainer_ssd._options import (
    check_flag,
    check_fraction,
    check_integer,
    check_label_names,
    short_repr,
)
from chainer_ssd.export._detection_nodes import Limits, add_detections
from chainer_ssd.export._graph_builder import GraphBuilder
from chainer_ssd.export._trace import trace
from chainer_ssd.links import SSD

_IMAGES = 'images'


def export_onnx(
    path: str | os.PathLike[str],
    model: SSD,
    label_names: Sequence[str] | None = None,
    *,
    raw_heads: bool = False,
    batchsize: int | None = None,
    nms_thresh: float | None = None,
    score_thresh: float | None = None,
    max_per_class: int | None = None,
    max_per_image: int | None = None,
) -> None:
    """Write a detector as an ONNX file, from the pixels to the detections.

    Needs onnx (``pip install "chainer_ssd[onnx]"``).

    Parameters
    ----------
    path : str or path
        The file. It is written whole or not at all.
    model : SSD
        A detector of this package, or your own subclass of :class:`chainer_ssd.links.SSD`. Its
        weights are float32.
    label_names : sequence of str, optional
        Class names, kept in the file. Default: ``model.label_names``, or none.
    raw_heads : bool
        Whether the file ends with the network's predictions. Choose it for a runtime without
        ``NonMaxSuppression``, such as OpenCV. Thresholds and limits then have no effect.
    batchsize : int, optional
        Number of images of a call. Default: any number. Choose it for a runtime that needs a
        fixed one.
    nms_thresh : float, optional
        Of two boxes of one class with at least this IoU, the one with the lower score is
        suppressed. Above 0. Default: ``model.nms_thresh``.
    score_thresh : float, optional
        Minimum softmax score of a detection. Default: ``model.score_thresh``.
    max_per_class : int, optional
        Maximum number of boxes of each class and image that enter the suppression, those with the
        highest scores. Default: no limit. The paper has 400.
    max_per_image : int, optional
        Maximum number of detections of an image, those with the highest scores. Default: no limit.
        The paper has 200.

    Raises
    ------
    ImportError
        If onnx is missing.
    TypeError
        If ``model`` is not an SSD, or an option has the wrong type.
    ValueError
        If an option is out of range, if the weights are not float32, or if the network calls a
        function of Chainer that has no converter. The message names it.
    OSError
        If the file cannot be written.

    Notes
    -----
    The input ``images`` is float32 (B, 3, insize, insize), RGB, 0 to 255. The network's
    normalization is inside. The outputs are

    - ``boxes``, float32 (B, R, 4): (y_min, x_min, y_max, x_max) in pixels of the input, clipped
      to it,
    - ``labels``, int64 (B, R): foreground classes, counted from 0,
    - ``scores``, float32 (B, R): softmax scores.

    R is the largest number of detections that an image of the batch has. It can be 0. The rows
    of an image are sorted by falling score. An image with fewer detections is filled with the
    label -1, the score 0 and a box of zeros.

    With ``raw_heads`` the outputs are ``mb_locs`` (B, K, 4) and ``mb_confs`` (B, K, C) of
    :meth:`chainer_ssd.links.SSD.forward`. ``MultiboxCoder.decode`` takes those of one image. The
    default boxes (K, 4) = (cy, cx, h, w) are written beside the file: ``model.default_bbox.npy``
    for ``model.onnx``.

    The file has operators of opset 13. Batch normalizations are folded into the convolutions
    before them. ``metadata_props`` holds ``insize`` and the JSON lists ``label_names`` and
    ``variance``.

    A graph cannot raise errors. So NaN in a prediction gives no detection, where
    :meth:`chainer_ssd.links.SSD.predict` raises.
    """
    if not isinstance(model, SSD):
        raise TypeError(f'model = {short_repr(model)}: expected an SSD')
    check_flag('raw_heads', raw_heads)
    limits = Limits(
        model.nms_thresh if nms_thresh is None else nms_thresh,
        model.score_thresh if score_thresh is None else score_thresh,
        max_per_class,
        max_per_image,
    )
    _check_limits(limits)
    if batchsize is not None:
        check_integer('batchsize', batchsize, 1)
    if label_names is None:
        label_names = model.label_names
    if label_names is not None:
        label_names = check_label_names(label_names, model.n_fg_class)

    graph = GraphBuilder()
    coder = model.coder
    locs, confs = _trace_heads(graph, model)
    n_image: Any = 'batch' if batchsize is None else batchsize
    outputs: dict[str, tuple[Any, tuple[Any, ...]]]
    if raw_heads:
        n_box = len(coder.default_bbox)
        names = [locs, confs]
        outputs = {
            'mb_locs': (np.float32, (n_image, n_box, 4)),
            'mb_confs': (np.float32, (n_image, n_box, model.n_fg_class + 1)),
        }
    else:
        names = list(
            add_detections(
                graph, locs, confs, coder.default_bbox, coder.variance, model.insize, limits
            )
        )
        outputs = {
            'boxes': (np.float32, (n_image, 'detections', 4)),
            'labels': (np.int64, (n_image, 'detections')),
            'scores': (np.float32, (n_image, 'detections')),
        }
    for name, output in zip(names, outputs):
        graph.rename(name, output)
    metadata = {
        'insize': str(model.insize),
        'variance': json.dumps(np.asarray(coder.variance).tolist()),
    }
    if label_names is not None:
        metadata['label_names'] = json.dumps(list(label_names), ensure_ascii=False)
    shape = n_image, 3, model.insize, model.insize
    onnx_model = graph.build(
        type(model).__name__, {_IMAGES: (np.float32, shape)}, outputs, metadata
    )
    if raw_heads:
        with atomic_write(default_bbox_path(path)) as file:
            np.save(file, coder.default_bbox)
    with atomic_write(path) as file:
        file.write(onnx_model.SerializeToString())


def default_bbox_path(path: str | os.PathLike[str]) -> str:
    """Return where :func:`export_onnx` writes the default boxes for raw heads.

    Parameters
    ----------
    path : str or path
        The ONNX file.

    Returns
    -------
    str
        ``model.default_bbox.npy`` for ``model.onnx``.
    """
    return os.path.splitext(os.fspath(path))[0] + '.default_bbox.npy'


def _trace_heads(graph: GraphBuilder, model: SSD) -> tuple[str, str]:
    """Add the network to a graph, and return the names of its offsets and logits."""
    for name, param in model.namedparams():
        if param.array is None or param.dtype != np.float32:
            found = 'no values' if param.array is None else param.dtype
            raise ValueError(f'{name[1:]} has {found}: expected float32 weights')
    model = copy.deepcopy(model)  # a model on a GPU stays there
    model.to_device('@numpy')
    imgs = np.full((1, 3, model.insize, model.insize), 127.5, np.float32)
    with chainer.using_config('dtype', np.dtype(np.float32)):
        outputs = trace(graph, model, imgs, _IMAGES)
    n_box, n_class = len(model.coder.default_bbox), model.n_fg_class + 1
    expected = [(1, n_box, 4), (1, n_box, n_class)]
    if [shape for _, shape in outputs] != expected:
        raise ValueError(
            f'the network returns shapes {[shape for _, shape in outputs]}: expected {expected}'
        )
    return outputs[0][0], outputs[1][0]


def _check_limits(limits: Limits) -> None:
    check_fraction('nms_thresh', limits.nms_thresh)
    if not limits.nms_thresh:
        raise ValueError('nms_thresh = 0: expected a number above 0')
    check_fraction('score_thresh', limits.score_thresh)
    for name in 'max_per_class', 'max_per_image':
        value = getattr(limits, name)
        if value is not None:
            check_integer(name, value, 1)
