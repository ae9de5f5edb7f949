"""A detector that learns on a CPU while one waits."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np

from chainer_ssd.links.multibox_coder import MultiboxCoder
from chainer_ssd.links.ssd import SSD

_STRIDES = 4, 8, 16, 32
_SIZES = 0.07, 0.15, 0.3, 0.6, 0.9  # of the input: default boxes of the scales, and one beyond
_ASPECT_RATIO = 2
_N_SHAPE = 4  # default boxes of a cell: two squares, a wide and a tall one
_PRIOR = 0.01  # how likely an untrained model says that a default box holds an object


class SSDMini(SSD):
    """A small SSD for training from random weights on a CPU.

    ``model(imgs)`` takes float32 (B, 3, insize, insize), RGB, 0..255, and returns ``mb_locs``
    (B, K, 4) and the logits ``mb_confs`` (B, K, n_fg_class + 1); scaling to zero mean happens
    inside. :meth:`predict` takes images of any size.

    Parameters
    ----------
    n_fg_class : int
        Number of classes without background.
    insize : int
        Height and width of the input in pixels, a multiple of 32.
    norm : callable or None
        Makes the normalisation that follows a convolution: ``norm(channels)`` returns a link. Over
        MPI: ``functools.partial(chainermn.links.MultiNodeBatchNormalization, comm=comm)``, whose
        weights load into a model with the default and back. None: biases instead, and so a
        model whose examples do not see each other.

    Attributes
    ----------
    coder : MultiboxCoder
        Default boxes, encoding and decoding.
    insize, n_fg_class : int
        As given.
    nms_thresh, score_thresh : float
        What :meth:`predict` decodes with, see :meth:`use_preset`.

    Raises
    ------
    ValueError
        If ``n_fg_class`` is below 1 or ``insize`` is not a positive multiple of 32.

    Notes
    -----
    Made for Chainer's convolutions on NumPy, where copying the input's patches (input channels ·
    kernel area) costs as much as multiplying them:

    - a stem of 6 x 6, stride 4: no layer works at a finer resolution; then 2 x 2, stride 2. An
      even kernel keeps each cell's view centred on its default boxes, an odd one with a stride
      moves it to the upper left, 14 pixels by stride 32;
    - residual blocks that widen in their 3 x 3 and narrow in their 1 x 1 convolution, whose input
      needs no patches (Tan and Le, "EfficientNetV2" (2021), the fused block);
    - a path from coarse to fine (Lin et al., "Feature Pyramid Networks" (2017)) instead of more
      layers at stride 8;
    - one 1 x 1 convolution a scale predicts offsets and classes together; the one of stride 8
      also predicts for its four quarters, which gives small objects default boxes 4 pixels apart
      at the price of a matrix product (Shi et al. (2016), sub-pixel convolution);
    - the classes start at 1 % for objects (Lin et al., "Focal Loss" (2017), section 3.3).

    Default boxes double from scale to scale: 7, 15, 30 and 60 % of the input.

    At 192 pixels a training step takes some 35 ms an image on one core. Left out for bringing
    nothing: a second block at stride 16 (18 % more time) and an input of 224 pixels (35 % more).
    On blood cells (BCCD, 205 images to train on, 87 to choose by, 548 iterations of 8, one seed
    each; seeds differ by 0.01) the mAP was 0.898 without either, 0.895 with the block and 0.895
    with both.
    """

    def __init__(self, n_fg_class, insize=192, norm=L.BatchNormalization, box_scale=1):
        if insize < 1 or insize % _STRIDES[-1]:
            raise ValueError(f'insize = {insize}: expected a multiple of {_STRIDES[-1]}')
        super().__init__(
            n_fg_class,
            insize,
            MultiboxCoder(
                grids=[insize // stride for stride in _STRIDES],
                aspect_ratios=[(_ASPECT_RATIO,)] * len(_STRIDES),
                steps=_STRIDES,
                sizes=[share * insize for share in _SIZES],
            ),
            box_scale,
        )

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
                *(_Head(128, n_fg_class + 1, n_part) for n_part in (2, 1, 1, 1))
            )

    def _forward(self, imgs):
        c8 = self.stage8(self.stem((imgs - 127.5) * (1 / 64)))
        c16 = self.stage16(c8)
        c32 = self.stage32(c16)
        p16 = self.smooth16(F.relu(c16 + _upsample(self.lateral16(c32))))
        p8 = self.smooth8(F.relu(c8 + _upsample(self.lateral8(p16))))
        y = F.concat([head(h) for head, h in zip(self.heads, (p8, p8, p16, c32))], axis=1)
        return F.split_axis(y, [4], axis=2)


class _Convolution(chainer.Chain):
    """Convolution that divides the size by its stride, normalisation, ReLU."""

    def __init__(self, n_in, n_out, ksize, stride=1, norm=None, activate=True):
        super().__init__()
        self.activate = activate
        with self.init_scope():
            self.conv = L.Convolution2D(
                n_in,
                n_out,
                ksize,
                stride,
                (ksize - stride + 1) // 2,
                nobias=norm is not None,
                initialW=chainer.initializers.HeNormal(),
            )
            self.norm = norm and norm(n_out)

    def forward(self, x):
        h = self.conv(x)
        if self.norm is not None:
            h = self.norm(h)
        return F.relu(h) if self.activate else h


class _Block(chainer.Chain):
    def __init__(self, n_channel, norm):
        super().__init__()
        with self.init_scope():
            self.widen = _Convolution(n_channel, 2 * n_channel, 3, norm=norm)
            self.narrow = _Convolution(2 * n_channel, n_channel, 1, norm=norm, activate=False)

    def forward(self, x):
        return F.relu(x + self.narrow(self.widen(x)))


class _Head(chainer.Chain):
    """Offsets and logits (B, K, 4 + C) of one scale, for n_part x n_part parts of each cell."""

    def __init__(self, n_in, n_class, n_part):
        super().__init__()
        self.n_part, self.n_value = n_part, 4 + n_class
        with self.init_scope():
            self.conv = L.Convolution2D(
                n_in,
                n_part**2 * _N_SHAPE * self.n_value,
                1,
                initialW=chainer.initializers.LeCunNormal(),
                initial_bias=0,
            )
        # softmax of the background = 1 − _PRIOR
        background = self.conv.b.array.reshape(-1, self.n_value)[:, 4]
        background[:] = np.log((n_class - 1) * (1 - _PRIOR) / _PRIOR)

    def forward(self, x):
        y = self.conv(x)
        if self.n_part > 1:
            y = F.depth2space(y, self.n_part)
        return F.reshape(F.transpose(y, (0, 2, 3, 1)), (len(x), -1, self.n_value))


def _stage(n_in, n_out, norm):
    return chainer.Sequential(_Convolution(n_in, n_out, 2, 2, norm=norm), _Block(n_out, norm))


def _upsample(x):
    return F.unpooling_2d(x, 2, cover_all=False)
