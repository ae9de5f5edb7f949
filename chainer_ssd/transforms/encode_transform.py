"""Encoding as a step of the data pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd._validation import as_bbox
from chainer_ssd.ops import Encoder
from chainer_ssd.transforms._example import check_example


class EncodeTransform:
    """Transform that turns matched ground truths into the targets of the loss.

    It follows :class:`MatchTransform` in the data pipeline.

    Parameters
    ----------
    default_bbox : float32 array of shape (K, 4)
        (cy, cx, h, w) in pixels of the image, the same as for :class:`MatchTransform`.
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        Scales of the offsets, see :func:`chainer_ssd.encode`.
    code_type, variance_in_target
        What an offset is, see :func:`chainer_ssd.encode`.

    Raises
    ------
    ValueError
        If a default box, a variance or an option is not valid.
    """

    def __init__(
        self,
        default_bbox: Array,
        variance: Array | Sequence[float] = (0.1, 0.2),
        code_type: str = 'center_size',
        variance_in_target: bool = False,
    ) -> None:
        self.encoder = Encoder(default_bbox, variance, code_type, variance_in_target)

    def __call__(self, example: tuple[Any, ...]) -> tuple[Any, Array, Array]:
        """Encode one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label, index)``, as :class:`MatchTransform` returns it.

        Returns
        -------
        tuple
            ``(img, mb_loc, mb_label)``. mb_loc is float32 (K, 4) = (dy, dx, dh, dw), 0 where
            nothing is assigned. mb_label is int32 (K,): 0 background, -1 ignored, else label + 1.

        Raises
        ------
        ValueError
            If an assigned ground truth, a label or an index is not valid. The message names its
            row.
        """
        check_example(example, 4, '(img, bbox, label, index)', n_optional=0)
        img, bbox, label, index = example
        mb_loc, mb_label = self.encoder(as_bbox(bbox), label, index)
        return img, mb_loc.astype('f', copy=False), mb_label
