"""PaddlePaddle's objective for ``train.py --loss ssd_loss``: ground truths go in, not targets."""

import chainer
import numpy as np

from chainer_ssd.functions import ssd_loss


class SSDLossChain(chainer.Chain):
    """A model and ``ssd_loss``, which matches and encodes by itself and takes the ``options``."""

    def __init__(self, model, comm=None, **options):
        super().__init__()
        self.comm, self.options = comm, options
        center, size = np.split(swap_xy(model.coder.default_bbox), 2, axis=1)
        self.prior_box = np.concatenate([center - size / 2, center + size / 2], axis=1)
        self.prior_box_var = np.repeat(np.array(model.coder.variance, 'f'), 2)
        with self.init_scope():
            self.model = model

    def forward(self, imgs, bboxes, labels):
        mb_locs, mb_confs = self.model(imgs)
        loss = ssd_loss(
            swap_xy(mb_locs),
            mb_confs,
            list(map(swap_xy, bboxes)),
            [label + 1 for label in labels],
            self.prior_box,
            self.prior_box_var,
            reduce='sum',
            comm=self.comm,
            **self.options,
        )
        chainer.report({'loss': loss}, self)
        return loss


def swap_xy(array):
    """(y, x, ...) to (x, y, ...) in the last axis, and back."""
    return array[..., [1, 0, 3, 2]]


@chainer.dataset.converter()
def ground_truth_batch(batch, device):
    """Images as one array, boxes and labels as lists of one array an image."""
    imgs, bboxes, labels = zip(*batch)
    return device.send(np.stack(imgs)), list(bboxes), list(labels)
