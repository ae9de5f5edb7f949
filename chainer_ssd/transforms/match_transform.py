"""Matching as a step of the data pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd._validation import as_bbox
from chainer_ssd.ops import Matcher
from chainer_ssd.transforms._example import check_example, check_length


class MatchTransform:
    """Transform that assigns default boxes to the ground truths of an example.

    For ``chainer.datasets.TransformDataset``. :class:`EncodeTransform` follows it.

    Parameters
    ----------
    default_bbox : float32 array of shape (K, 4)
        (cy, cx, h, w) in pixels of the image that comes in.
    iou_thresh : float
        A default box whose best IoU is at least this takes that ground truth.
    match_type : {'per_prediction', 'bipartite', 'argmax'}
        Matching strategy, see :func:`chainer_ssd.match`.
    neg_overlap : float or None
        An unmatched default box whose best IoU is at least this is ignored. None: no such band.
    ignore_outside : sequence of 2 floats or None
        Height and width of the image. Default boxes that leave it are ignored. None: they are not.

    Raises
    ------
    ValueError
        If an option is out of its range or a default box is not valid.
    """

    def __init__(
        self,
        default_bbox: Array,
        iou_thresh: float = 0.5,
        match_type: str = 'per_prediction',
        neg_overlap: float | None = None,
        ignore_outside: Sequence[float] | None = None,
    ) -> None:
        self.match = Matcher(default_bbox, iou_thresh, match_type, neg_overlap, ignore_outside)

    def __call__(self, example: tuple[Any, ...]) -> tuple[Any, Array, Any, Array]:
        """Match one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label)`` or ``(img, bbox, label, difficult)``. img is float32
            (3, H, W), bbox (R, 4) = (y_min, x_min, y_max, x_max) in pixels, label int (R,)
            counted from 0. difficult is bool (R,): ground truths that are never assigned.

        Returns
        -------
        tuple
            ``(img, bbox, label, index)``. index is int32 (K,): the row of the assigned ground
            truth, -1 for background, -2 for ignored.

        Raises
        ------
        ValueError
            If a ground truth is not finite or has no area (the message names its row), or shapes
            disagree.
        TypeError
            If example is no tuple, or difficult is not bool.
        """
        expected = '(img, bbox, label) or (img, bbox, label, difficult)'
        check_example(example, 3, expected, n_optional=1)
        img, bbox, label, *ignore = example
        bbox = as_bbox(bbox)
        check_length(label, len(bbox), 'label')
        return img, bbox, label, self.match(bbox, *ignore)
