"""The prediction layers of SSD300 and SSD512."""

from __future__ import annotations

from collections.abc import Sequence

import chainer
import chainer.functions as F

from chainer_ssd._array import Array
from chainer_ssd._options import check_integer
from chainer_ssd.links.convolution_2d import Convolution2D


class Multibox(chainer.Chain):
    """Two 3 x 3 convolutions per feature map: offsets (``loc``) and logits (``conf``).

    Parameters
    ----------
    n_class : int
        Number of classes with background.
    channels : sequence of int
        Number of channels of each feature map.
    aspect_ratios : sequence of sequences of float
        As :func:`chainer_ssd.generate_default_bbox` takes them, one for each feature map.

    Raises
    ------
    TypeError, ValueError
        If ``n_class`` is not a positive integer, or the lengths disagree.

    Notes
    -----
    Liu et al. (2016), section 2.1. Names, order and initial weights (LeCun's, uniform, with zero
    biases) are those of ChainerCV.
    """

    def __init__(
        self, n_class: int, channels: Sequence[int], aspect_ratios: Sequence[Sequence[float]]
    ) -> None:
        super().__init__()
        if len(channels) != len(aspect_ratios):
            raise ValueError(
                f'{len(channels)} channels and {len(aspect_ratios)} aspect_ratios: expected one of '
                'each for every feature map'
            )
        self.n_class = check_integer('n_class', n_class, 1)
        with self.init_scope():
            self.loc, self.conf = chainer.ChainList(), chainer.ChainList()
        for n_in, ratios in zip(channels, aspect_ratios):
            n_box = 2 + 2 * len(ratios)
            for convs, n_value in (self.loc, 4), (self.conf, n_class):
                convs.append(
                    Convolution2D(
                        n_in,
                        n_box * n_value,
                        3,
                        pad=1,
                        initialW=chainer.initializers.LeCunUniform(),
                    )
                )

    def forward(self, features: Sequence[Array]) -> tuple[chainer.Variable, chainer.Variable]:
        """Predict offsets and logits of each default box.

        Parameters
        ----------
        features : sequence of float arrays of shape (B, channels, H, W)
            Feature maps, finest first.

        Returns
        -------
        mb_locs : chainer.Variable of shape (B, K, 4)
            Offsets (dy, dx, dh, dw).
        mb_confs : chainer.Variable of shape (B, K, n_class)
            Logits, background first.

        Raises
        ------
        ValueError
            If there are more or fewer feature maps than layers.
        """
        if len(features) != len(self.loc):
            raise ValueError(f'{len(features)} features: expected {len(self.loc)} feature maps')
        mb_locs, mb_confs = (
            F.concat([rows_of_boxes(conv(x), n_value) for conv, x in zip(convs, features)])
            for convs, n_value in ((self.loc, 4), (self.conf, self.n_class))
        )
        return mb_locs, mb_confs


def rows_of_boxes(x: chainer.Variable, n_value: int) -> chainer.Variable:
    """Return the output of a convolution with one row per default box.

    Parameters
    ----------
    x : chainer.Variable of shape (B, A * n_value, H, W)
        Values of the A default boxes at each cell. B may be 0.
    n_value : int
        Number of values of a default box.

    Returns
    -------
    chainer.Variable of shape (B, H * W * A, n_value)
        Cells in rows, then the boxes of a cell.
    """
    n_image, n_channel, height, width = x.shape
    n_box = height * width * n_channel // n_value  # -1 cannot stand for it if there is no image
    return F.reshape(F.transpose(x, (0, 2, 3, 1)), (n_image, n_box, n_value))
