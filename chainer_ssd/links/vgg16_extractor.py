"""The layers under SSD300's and SSD512's predictions."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np

#: VGG-16's blocks of 3 x 3 convolutions: (channels, how many)
_BLOCKS = (64, 2), (128, 2), (256, 3), (512, 3), (512, 3)


class VGG16Extractor(chainer.Chain):
    """VGG-16 as SSD has it, and pairs of convolutions that go on from its end.

    The links are named as ChainerCV's: ``conv1_1`` … ``conv5_3``, ``norm4``, ``conv6``, ``conv7``,
    ``conv8_1``, ``conv8_2``, …

    Parameters
    ----------
    extras : sequence of (int, int, int, int, int)
        For each pair after ``conv7``: channels of its 1 x 1 convolution; channels, kernel, stride
        and padding of the other.

    Attributes
    ----------
    channels : list of int
        Of the feature maps that :meth:`forward` returns.

    Notes
    -----
    Liu et al. (2016), section 3. Against VGG-16: ``conv4_3`` is normalised on its way to its
    predictions; the fifth pooling keeps the size; the fully connected layers are ``conv6``,
    dilated, and ``conv7``. Poolings round up: 300, 150, 75, 38, 19.

    VGG-16 starts with Chainer's default (LeCun and others (1998), normal), what follows with the
    same, uniform, as in ChainerCV; biases with 0.
    """

    def __init__(self, extras):
        super().__init__()
        n_in = 3
        for i, (n_out, n_conv) in enumerate(_BLOCKS, 1):
            for j in range(1, n_conv + 1):
                self.add_link(f'conv{i}_{j}', L.Convolution2D(n_in, n_out, 3, pad=1))
                n_in = n_out
        with self.init_scope():
            self.norm4 = Normalize(512, 20)
            self.conv6 = L.Convolution2D(512, 1024, 3, pad=6, dilate=6)
            self.conv7 = L.Convolution2D(1024, 1024, 1)
        self.channels = [512, 1024]
        initial = {'initialW': chainer.initializers.LeCunUniform()}
        for i, (n_narrow, n_out, ksize, stride, pad) in enumerate(extras, 8):
            self.add_link(f'conv{i}_1', L.Convolution2D(self.channels[-1], n_narrow, 1, **initial))
            self.add_link(
                f'conv{i}_2', L.Convolution2D(n_narrow, n_out, ksize, stride, pad, **initial)
            )
            self.channels.append(n_out)

    def forward(self, x):
        """Feature maps, from fine to coarse.

        Parameters
        ----------
        x : float array of shape (B, 3, H, W)
            RGB less its mean, of about -128..128.

        Returns
        -------
        list of chainer.Variable
            From ``conv4_3`` (normalised), ``conv7``, ``conv8_2``, ``conv9_2``, …
        """
        features = []
        for i, (_, n_conv) in enumerate(_BLOCKS, 1):
            for j in range(1, n_conv + 1):
                x = F.relu(self[f'conv{i}_{j}'](x))
            if i == 4:
                features.append(self.norm4(x))
            x = F.max_pooling_2d(x, 2) if i < 5 else F.max_pooling_2d(x, 3, 1, 1)
        features.append(F.relu(self.conv7(F.relu(self.conv6(x)))))
        for i in range(8, 6 + len(self.channels)):
            features.append(F.relu(self[f'conv{i}_2'](F.relu(self[f'conv{i}_1'](features[-1])))))
        return features


class Normalize(chainer.Link):
    """Gives the channels of every pixel unit length, and scales each by what is learned.

    Parameters
    ----------
    n_channel : int
        Number of channels.
    initial : float
        What ``scale``, the parameter, starts with.

    Notes
    -----
    Liu, Rabinovich and Berg, "ParseNet" (2016), section 3.3.
    """

    def __init__(self, n_channel, initial):
        super().__init__()
        with self.init_scope():
            self.scale = chainer.Parameter(initial, (n_channel,))

    def forward(self, x):
        """Normalises.

        Parameters
        ----------
        x : float array of shape (B, n_channel, H, W)
            Any features.

        Returns
        -------
        chainer.Variable of the same shape and dtype
            scale · x / (‖x‖ + 1e-5)
        """
        # Float16 does not hold the squares of conv4_3.
        wide = F.cast(x, np.promote_types(x.dtype, 'f'))
        h = F.cast(F.normalize(wide, eps=1e-5, axis=1), x.dtype)
        return F.scale(h, self.scale, axis=1)
