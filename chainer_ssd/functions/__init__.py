"""Differentiable Chainer functions."""
from chainer_ssd.functions.multibox_loss import multibox_loss
from chainer_ssd.functions.ssd_loss import ssd_loss
from chainer_ssd.functions.ssd_pytorch import MultiBoxLoss

__all__ = ['MultiBoxLoss', 'multibox_loss', 'ssd_loss']
