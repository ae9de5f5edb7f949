"""The losses, and the parts that they are made of."""

import chainer

from chainer_ssd.functions.multibox_loss import multibox_loss
from chainer_ssd.functions.objective import background_loss, n_hard_negative
from chainer_ssd.functions.ssd_loss import ssd_loss
from chainer_ssd.functions.ssd_pytorch import MultiBoxLoss

if not hasattr(chainer.global_config, 'use_fused_multibox'):
    chainer.global_config.use_fused_multibox = 'auto'

__all__ = ['MultiBoxLoss', 'background_loss', 'multibox_loss', 'n_hard_negative', 'ssd_loss']
