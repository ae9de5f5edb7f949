"""The predictions of SSD300 and SSD512."""

import chainer
import chainer.functions as F
import chainer.links as L


class Multibox(chainer.Chain):
    """Two 3 x 3 convolutions a feature map: offsets (``loc``) and logits (``conf``).

    Parameters
    ----------
    n_class : int
        Number of classes with background.
    channels : sequence of int
        Of the feature maps.
    aspect_ratios : sequence of sequences of float
        As those of :func:`chainer_ssd.generate_default_bbox`, one for each feature map.

    Notes
    -----
    Liu et al. (2016), section 2.1. Names, order and initial weights (LeCun's, uniform; biases of 0)
    are ChainerCV's.
    """

    def __init__(self, n_class, channels, aspect_ratios):
        super().__init__()
        self.n_class = n_class
        with self.init_scope():
            self.loc, self.conf = chainer.ChainList(), chainer.ChainList()
        for n_in, ratios in zip(channels, aspect_ratios):
            n_box = 2 + 2 * len(ratios)
            for convs, n_value in (self.loc, 4), (self.conf, n_class):
                convs.append(
                    L.Convolution2D(
                        n_in,
                        n_box * n_value,
                        3,
                        pad=1,
                        initialW=chainer.initializers.LeCunUniform(),
                    )
                )

    def forward(self, features):
        """Predicts for each default box.

        Parameters
        ----------
        features : sequence of float arrays of shape (B, channels, H, W)
            Feature maps, from fine to coarse.

        Returns
        -------
        mb_locs : chainer.Variable of shape (B, K, 4)
            Offsets (dy, dx, dh, dw).
        mb_confs : chainer.Variable of shape (B, K, n_class)
            Logits, background first.
        """
        return tuple(
            F.concat(
                [
                    F.reshape(F.transpose(conv(x), (0, 2, 3, 1)), (len(x), -1, n_value))
                    for conv, x in zip(convs, features)
                ]
            )
            for convs, n_value in ((self.loc, 4), (self.conf, self.n_class))
        )
