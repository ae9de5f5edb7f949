"""Decoding and non-maximum suppression as nodes of an ONNX graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.export._graph_builder import GraphBuilder
from chainer_ssd.ops import MAX_LOG_RATIO

#: Above any number of detections.
_EVERYTHING = 2**62
NO_LABEL = -1


class Limits(NamedTuple):
    """Thresholds of the detections, and their numbers. None: no limit."""

    nms_thresh: float
    score_thresh: float
    max_per_class: int | None
    max_per_image: int | None


def add_detections(
    graph: GraphBuilder,
    mb_locs: str,
    mb_confs: str,
    default_bbox: Array,
    variance: Any,
    insize: int,
    limits: Limits,
) -> tuple[str, str, str]:
    """Add the nodes from offsets and logits to detections.

    Parameters
    ----------
    graph : GraphBuilder
        Receives the nodes.
    mb_locs, mb_confs : str
        Names of the offsets (B, K, 4) and of the logits (B, K, C).
    default_bbox : array of shape (K, 4)
        (cy, cx, h, w).
    variance : sequence of 2 or 4 floats
        Scales of the offsets.
    insize : int
        Side of the input. Boxes are clipped to it.
    limits : Limits
        Which detections remain.

    Returns
    -------
    boxes, labels, scores : str
        Names of arrays of shape (B, R, 4), (B, R) and (B, R). R is the largest number of
        detections of an image. Rows are sorted by falling score, and filled with zeros and -1.
    """
    boxes = _decode(graph, mb_locs, default_bbox, variance)
    scores = graph.op('Softmax', mb_confs, axis=2)
    scores = graph.op('Transpose', scores, perm=(0, 2, 1))
    scores = _slice(graph, scores, 1, _EVERYTHING, axis=1)  # without background
    n_box = len(default_bbox)
    candidates = scores
    if limits.max_per_class is not None and limits.max_per_class < n_box:
        best, index = graph.op(
            'TopK', scores, graph.indices(limits.max_per_class), axis=2, n_output=2
        )
        nothing = graph.op('Expand', graph.constant(np.float32(-1)), graph.op('Shape', scores))
        candidates = graph.op('ScatterElements', nothing, index, best, axis=2)
    # The operator takes scores above its threshold and suppresses boxes above the other one. We
    # take those that reach it.
    selected = graph.op(
        'NonMaxSuppression',
        boxes,
        candidates,
        graph.indices(n_box),
        graph.constant([_below(limits.nms_thresh)], dtype=np.float32),
        graph.constant([_below(limits.score_thresh)], dtype=np.float32),
    )
    # One row (image, class, box) a detection, image after image.
    image, label, box = (_slice(graph, selected, i, i + 1, axis=1) for i in range(3))
    found_score = graph.op('GatherND', scores, selected)
    found_box = graph.op('GatherND', boxes, graph.op('Concat', image, box, axis=1))
    low, high = (graph.constant(np.float32(x)) for x in (0, insize))
    found_box = graph.op('Clip', found_box, low, high)

    # place[i, d]: detection d belongs to image i. Its running sum numbers the detections.
    n_image = graph.op('Shape', mb_locs)
    n_image = _slice(graph, n_image, 0, 1, axis=0)
    numbers = graph.op(
        'Range',
        graph.constant(np.int64(0)),
        graph.op('Squeeze', n_image, graph.indices(0)),
        graph.constant(np.int64(1)),
    )
    numbers = graph.op('Unsqueeze', numbers, graph.indices(0))
    place = graph.op('Cast', graph.op('Equal', image, numbers), to=7)  # int64
    running = graph.op('CumSum', place, graph.constant(np.int64(0)))
    rank = graph.op('ReduceSum', graph.op('Mul', place, running), graph.indices(1), keepdims=1)
    rank = graph.op('Sub', rank, graph.indices(1))
    n_found = graph.op('ReduceSum', place, graph.indices(0), keepdims=0)
    n_row = graph.op('ReduceMax', n_found, axes=[0], keepdims=1)
    row = graph.op('Concat', image, rank, axis=1)

    shape = graph.op('Concat', n_image, n_row, axis=0)
    box_shape = graph.op('Concat', shape, graph.indices(4), axis=0)
    all_boxes = _scatter(graph, box_shape, row, found_box, np.float32(0))
    all_scores = _scatter(graph, shape, row, found_score, np.float32(-1))
    found_label = graph.op('Squeeze', label, graph.indices(1))
    all_labels = _scatter(graph, shape, row, found_label, np.int64(NO_LABEL))

    n_kept = n_row
    if limits.max_per_image is not None:
        n_kept = graph.op('Min', n_row, graph.indices(limits.max_per_image))
    sorted_scores, order = graph.op('TopK', all_scores, n_kept, axis=1, n_output=2)
    sorted_scores = graph.op('Max', sorted_scores, graph.constant(np.float32(0)))
    sorted_labels = graph.op('GatherElements', all_labels, order, axis=1)
    order = graph.op('Unsqueeze', order, graph.indices(2))
    sorted_boxes = graph.op('GatherND', all_boxes, order, batch_dims=1)
    return sorted_boxes, sorted_labels, sorted_scores


def _decode(graph: GraphBuilder, mb_locs: str, default_bbox: Array, variance: Any) -> str:
    """Add :func:`chainer_ssd.decode`. The result is (y_min, x_min, y_max, x_max)."""
    sigma = np.asarray(variance, np.float32)
    sigma = sigma.repeat(2) if sigma.shape == (2,) else sigma
    center, size = default_bbox[:, :2], default_bbox[:, 2:]
    # c = c_default + s_default · σ_c · (dy, dx),   s / 2 = s_default / 2 · exp(σ_s · (dh, dw))
    shift = graph.op(
        'Mul', _slice(graph, mb_locs, 0, 2, axis=2), graph.constant(size * sigma[:2], 'shift')
    )
    centers = graph.op('Add', shift, graph.constant(center, 'center'))
    ratio = graph.op('Mul', _slice(graph, mb_locs, 2, 4, axis=2), graph.constant(sigma[2:]))
    ratio = graph.op('Exp', graph.op('Min', ratio, graph.constant(np.float32(MAX_LOG_RATIO))))
    halves = graph.op('Mul', ratio, graph.constant(size / 2, 'half_size'))
    return graph.op(
        'Concat', graph.op('Sub', centers, halves), graph.op('Add', centers, halves), axis=2
    )


def _slice(graph: GraphBuilder, name: str, start: int, end: int, axis: int) -> str:
    return graph.op('Slice', name, graph.indices(start), graph.indices(end), graph.indices(axis))


def _scatter(graph: GraphBuilder, shape: str, row: str, values: str, fill: Any) -> str:
    """Add an array of a shape that holds values in some rows, and a constant elsewhere."""
    nothing = graph.op('Expand', graph.constant(fill), shape)
    return graph.op('ScatterND', nothing, row, values)


def _below(thresh: float) -> float:
    """Return the float32 before a threshold, so that "above it" means "at least the threshold"."""
    return float(np.nextafter(np.float32(thresh), np.float32(-1)))
