"""The feature extractor of SSD300 and SSD512."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Callable

import chainer
import chainer.functions as F
import numpy as np

from chainer_ssd.functions import max_pooling_2d
from chainer_ssd.links.convolution_2d import Convolution2D

RunStage = Callable[[int, Callable[[Any], Any], Any], Any]

#: VGG-16's blocks of 3 x 3 convolutions: (channels, number of convolutions)
_BLOCKS = (64, 2), (128, 2), (256, 3), (512, 3), (512, 3)


class VGG16Extractor(chainer.Chain):
    """VGG-16 with the changes of SSD, followed by pairs of convolutions.

    The links have ChainerCV's names: ``conv1_1`` … ``conv5_3``, ``norm4``, ``conv6``, ``conv7``,
    ``conv8_1``, ``conv8_2``, …

    Parameters
    ----------
    extras : sequence of (int, int, int, int, int)
        For each pair after ``conv7``: the channels of its 1 x 1 convolution, then channels,
        kernel, stride and padding of the second one.

    Attributes
    ----------
    channels : list of int
        Number of channels of each feature map that :meth:`forward` returns.

    Notes
    -----
    Liu et al. (2016), section 3. Four things differ from VGG-16. The predictions from ``conv4_3``
    use its normalized output. The fifth pooling keeps the size. The dilated ``conv6`` and
    ``conv7`` replace the fully connected layers. Poolings round up: 300, 150, 75, 38, 19.

    VGG-16 starts from Chainer's default weights (LeCun et al. (1998), normal). The other layers
    use the uniform version, as in ChainerCV. Biases start at 0.
    """

    def __init__(self, extras: Sequence[tuple[int, int, int, int, int]]) -> None:
        super().__init__()
        n_in = 3
        for i, (n_out, n_conv) in enumerate(_BLOCKS, 1):
            for j in range(1, n_conv + 1):
                self.add_link(f'conv{i}_{j}', Convolution2D(n_in, n_out, 3, pad=1))
                n_in = n_out
        with self.init_scope():
            self.norm4 = Normalize(512, 20)
            self.conv6 = Convolution2D(512, 1024, 3, pad=6, dilate=6)
            self.conv7 = Convolution2D(1024, 1024, 1)
        self.channels = [512, 1024]
        initial: dict[str, Any] = {'initialW': chainer.initializers.LeCunUniform()}
        for i, (n_narrow, n_out, ksize, stride, pad) in enumerate(extras, 8):
            self.add_link(f'conv{i}_1', Convolution2D(self.channels[-1], n_narrow, 1, **initial))
            self.add_link(
                f'conv{i}_2', Convolution2D(n_narrow, n_out, ksize, stride, pad, **initial)
            )
            self.channels.append(n_out)

    def forward(self, x: Any, run_stage: RunStage | None = None) -> list[chainer.Variable]:
        """Return the feature maps, finest first.

        Parameters
        ----------
        x : float array of shape (B, 3, H, W)
            RGB minus its mean, about -128 to 128.
        run_stage : callable, optional
            ``run_stage(i, layers, x)`` returns ``layers(x)`` for block i of VGG-16, from 0 on.
            Default: it only calls them.

        Returns
        -------
        list of chainer.Variable
            Outputs of ``conv4_3`` (normalized), ``conv7``, ``conv8_2``, ``conv9_2``, …
        """
        features = []
        for i in range(1, len(_BLOCKS) + 1):
            layers = functools.partial(self._run_block, i)
            x = layers(x) if run_stage is None else run_stage(i - 1, layers, x)
            if i == 4:
                features.append(self.norm4(x))
            x = max_pooling_2d(x, 2) if i < 5 else max_pooling_2d(x, 3, 1, 1)
        features.append(F.relu(self.conv7(F.relu(self.conv6(x)))))
        for i in range(8, 6 + len(self.channels)):
            features.append(F.relu(self[f'conv{i}_2'](F.relu(self[f'conv{i}_1'](features[-1])))))
        return features

    def _run_block(self, i: int, x: Any) -> chainer.Variable:
        for j in range(1, _BLOCKS[i - 1][1] + 1):
            x = F.relu(self[f'conv{i}_{j}'](x))
        return x


class Normalize(chainer.Link):
    """L2 normalization over channels, with a learned scale per channel.

    Parameters
    ----------
    n_channel : int
        Number of channels.
    initial : float
        Initial value of the parameter ``scale``.

    Notes
    -----
    Liu, Rabinovich and Berg, "ParseNet" (2016), section 3.3.
    """

    def __init__(self, n_channel: int, initial: float) -> None:
        super().__init__()
        with self.init_scope():
            self.scale = chainer.Parameter(initial, (n_channel,))

    def forward(self, x: Any) -> chainer.Variable:
        """Normalize features.

        Parameters
        ----------
        x : float array of shape (B, n_channel, H, W)
            Features.

        Returns
        -------
        chainer.Variable of the same shape and dtype
            scale · x / (‖x‖ + 1e-5)
        """
        # The squares of conv4_3 overflow float16.
        wide = F.cast(x, np.promote_types(x.dtype, 'f'))
        h = F.cast(F.normalize(wide, eps=1e-5, axis=1), x.dtype)
        return F.scale(h, self.scale, axis=1)
