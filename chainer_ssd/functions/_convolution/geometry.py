"""The sizes of a convolution."""

from __future__ import annotations

from typing import NamedTuple


class Geometry(NamedTuple):
    """Strides, padding and dilation as of :func:`chainer.functions.convolution_2d`, by axis."""

    sy: int
    sx: int
    ph: int
    pw: int
    dy: int
    dx: int
    groups: int
    #: Height and width of the output.
    out_size: tuple[int, int]
