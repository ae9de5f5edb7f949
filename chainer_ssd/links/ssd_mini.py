"""A small detector that trains on a CPU in minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np

from chainer_ssd._options import check_integer, check_positive_number
from chainer_ssd.links.convolution_2d import Convolution2D
from chainer_ssd.links.multibox import rows_of_boxes
from chainer_ssd.links.multibox_coder import MultiboxCoder
from chainer_ssd.links.ssd import MAX_INSIZE, SSD

Normalization = Callable[[int], chainer.Link]

_STRIDES = 4, 8, 16, 32
#: Sides of the squares of each scale as fractions of the input, and of the last larger square.
_SIZES = 0.07, 0.15, 0.3, 0.6, 0.9
_ASPECT_RATIOS = ((2,),) * len(_STRIDES)  # four boxes per cell: two squares, a wide, a tall one
_N_PARTS = 2, 1, 1, 1  # along one side of a cell of each head's feature map
_INITIAL_OBJECT_PROBABILITY = 0.01


class SSDMini(SSD):
    """A small SSD for training from random weights on a CPU.

    ``model(imgs)`` takes float32 (B, 3, insize, insize), RGB, 0 to 255. It returns ``mb_locs``
    (B, K, 4) and the logits ``mb_confs`` (B, K, n_fg_class + 1). Scaling to zero mean happens
    inside. :meth:`predict` takes images of any size.

    Parameters
    ----------
    n_fg_class : int
        Number of classes without background.
    insize : int
        Height and width of the input in pixels, a multiple of 32.
    norm : callable or None
        ``norm(channels)`` returns the normalization that follows a convolution. Over MPI use
        ``functools.partial(chainer_ssd.links.MultiNodeBatchNormalization, comm=comm)``. Its
        weights load into a model with the default, and back. None: biases instead, so that the
        images of a batch do not influence each other.
    box_scale : float
        Factor on the height and width of all default boxes.
    sizes : sequence of 5 floats
        s_k of :func:`chainer_ssd.generate_default_bbox` as fractions of ``insize``, for strides of
        4, 8, 16 and 32 pixels, and of the last larger square. Default: 0.07, 0.15, 0.3, 0.6, 0.9.
    aspect_ratios : sequence of 4 sequences of floats
        The ratios of each stride. Each adds a wide and a tall box to each cell. Default: 2 for all.
        :func:`chainer_ssd.ops.fit_default_boxes` chooses both from the objects of a data set.

    Attributes
    ----------
    coder : MultiboxCoder
        Default boxes, encoding and decoding.
    insize, n_fg_class, box_scale
        As given.
    sizes : tuple of float
        As given.
    aspect_ratios : tuple of tuples of float
        As given.
    grids, steps : tuple of int
        Cells along one side, and their distance in pixels, as
        :func:`chainer_ssd.generate_default_bbox` takes them.
    nms_thresh, score_thresh : float
        Thresholds of :meth:`predict`, see :meth:`use_preset`.
    label_names : tuple of str or None
        Class names, set by :func:`chainer_ssd.load_detector`.

    Raises
    ------
    TypeError, ValueError
        If ``n_fg_class`` is not an integer above 0, ``insize`` is not a positive multiple of 32,
        or ``box_scale`` is not a number above 0. If ``sizes`` or ``aspect_ratios`` are not of the
        given lengths, or hold a number that is not above 0.

    Notes
    -----
    The layers suit Chainer's convolutions on NumPy. There, copying the patches of the input
    (input channels · kernel area) costs as much as multiplying them.

    - The stem is 6 x 6 with stride 4, so that no layer works at a finer resolution. Later stages
      begin with 2 x 2 and stride 2. An even kernel keeps the field of view of each cell centered
      on its default boxes. An odd kernel with a stride shifts it, by 14 pixels at stride 32.
    - Residual blocks widen in their 3 x 3 convolution and narrow in their 1 x 1 convolution,
      which needs no patches. This is the fused block of Tan and Le, "EfficientNetV2" (2021).
    - A path from coarse to fine replaces more layers at stride 8 (Lin et al., "Feature Pyramid
      Networks" (2017)).
    - One 1 x 1 convolution per scale predicts offsets and classes. That of stride 8 also
      predicts for the four quarters of each cell. So small objects get default boxes 4 pixels
      apart (the sub-pixel convolution of Shi et al. (2016)).
    - The initial probability of an object is 1 % (Lin et al., "Focal Loss" (2017), section 3.3).

    By default the default boxes double from scale to scale: 7, 15, 30 and 60 % of the input.

    At 192 pixels a training step takes about 35 ms per image on one core. Two extensions made no
    difference to the mAP on blood cells (BCCD). They are a second block at stride 16 (18 % more
    time) and an input of 224 pixels (35 % more time). The mAP was 0.898 without either, 0.895
    with the block and 0.895 with both. Each is one seed, and seeds differ by 0.01. There were 205
    training images, 87 validation images and 548 iterations.
    """

    class_layers = joint_heads = ('heads/',)
    stages = ('stem',), ('stage8',), ('stage16',), ('stage32',)

    def __init__(
        self,
        n_fg_class: int,
        insize: int = 192,
        norm: Normalization | None = L.BatchNormalization,
        box_scale: float = 1,
        sizes: Sequence[float] = _SIZES,
        aspect_ratios: Sequence[Sequence[float]] = _ASPECT_RATIOS,
    ) -> None:
        check_integer('insize', insize, 1, MAX_INSIZE)
        if insize % _STRIDES[-1]:
            raise ValueError(f'insize = {insize}: expected a multiple of {_STRIDES[-1]}')
        grids = tuple(insize // stride for stride in _STRIDES)
        coder = MultiboxCoder(
            grids=grids,
            aspect_ratios=aspect_ratios,
            steps=_STRIDES,
            sizes=[check_positive_number('sizes', fraction) * insize for fraction in sizes],
        )
        super().__init__(n_fg_class, insize, coder, box_scale)
        self.grids, self.steps = grids, _STRIDES
        self.sizes = tuple(sizes)
        self.aspect_ratios = tuple(tuple(ratios) for ratios in aspect_ratios)

        with self.init_scope():
            self.stem = _Convolution(3, 32, 6, 4, norm=norm)
            self.stage8 = _stage(32, 64, norm)
            self.stage16 = _stage(64, 128, norm)
            self.stage32 = _stage(128, 128, norm)
            self.lateral16 = _Convolution(128, 128, 1, norm=norm, activate=False)
            self.lateral8 = _Convolution(128, 64, 1, norm=norm, activate=False)
            self.smooth16 = _Convolution(128, 128, 3, norm=norm)
            self.smooth8 = _Convolution(64, 128, 3, norm=norm)
            self.heads = chainer.ChainList(
                *(
                    _Head(128, n_fg_class + 1, n_part, 2 + 2 * len(ratios))
                    for n_part, ratios in zip(_N_PARTS, self.aspect_ratios)
                )
            )

    def forward_layers(self, imgs: chainer.Variable) -> tuple[chainer.Variable, chainer.Variable]:
        h = self.run_stage(0, self.stem, (imgs - 127.5) * (1 / 64))
        c8 = self.run_stage(1, self.stage8, h)
        c16 = self.run_stage(2, self.stage16, c8)
        c32 = self.run_stage(3, self.stage32, c16)
        p16 = self.smooth16(F.relu(c16 + _upsample(self.lateral16(c32))))
        p8 = self.smooth8(F.relu(c8 + _upsample(self.lateral8(p16))))
        y = F.concat([head(h) for head, h in zip(self.heads, (p8, p8, p16, c32))], axis=1)
        return F.split_axis(y, [4], axis=2)


class _Convolution(chainer.Chain):
    """Convolution that divides the size by its stride, normalization, ReLU."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        ksize: int,
        stride: int = 1,
        norm: Normalization | None = None,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.activate = activate
        with self.init_scope():
            self.conv = Convolution2D(
                n_in,
                n_out,
                ksize,
                stride,
                (ksize - stride + 1) // 2,
                nobias=norm is not None,
                initialW=chainer.initializers.HeNormal(),
            )
            self.norm = norm and norm(n_out)

    def forward(self, x: chainer.Variable) -> chainer.Variable:
        h = self.conv(x)
        if self.norm is not None:
            h = self.norm(h)
        return F.relu(h) if self.activate else h


class _Block(chainer.Chain):
    """Residual block: a 3 x 3 convolution that widens, a 1 x 1 convolution that narrows."""

    def __init__(self, n_channel: int, norm: Normalization | None) -> None:
        super().__init__()
        with self.init_scope():
            self.widen = _Convolution(n_channel, 2 * n_channel, 3, norm=norm)
            self.narrow = _Convolution(2 * n_channel, n_channel, 1, norm=norm, activate=False)

    def forward(self, x: chainer.Variable) -> chainer.Variable:
        return F.relu(x + self.narrow(self.widen(x)))


class _Head(chainer.Chain):
    """Offsets and logits (B, K, 4 + C) of one scale, for n_part x n_part parts of each cell."""

    def __init__(self, n_in: int, n_class: int, n_part: int, n_shape: int) -> None:
        super().__init__()
        self.n_part, self.n_value = n_part, 4 + n_class
        with self.init_scope():
            self.conv = Convolution2D(
                n_in,
                n_part**2 * n_shape * self.n_value,
                1,
                initialW=chainer.initializers.LeCunNormal(),
                initial_bias=0,
            )
        # softmax(background) = 1 − p, with p the initial probability of an object
        background = self.conv.b.array.reshape(-1, self.n_value)[:, 4]
        p = _INITIAL_OBJECT_PROBABILITY
        background[:] = np.log((n_class - 1) * (1 - p) / p)

    def forward(self, x: chainer.Variable) -> chainer.Variable:
        y = self.conv(x)
        if self.n_part > 1:
            y = F.depth2space(y, self.n_part)
        return rows_of_boxes(y, self.n_value)


def _stage(n_in: int, n_out: int, norm: Normalization | None) -> chainer.Sequential:
    return chainer.Sequential(_Convolution(n_in, n_out, 2, 2, norm=norm), _Block(n_out, norm))


def _upsample(x: chainer.Variable) -> chainer.Variable:
    return F.unpooling_2d(x, 2, cover_all=False)
