"""The losses, and the parts of which they consist."""

from chainer_ssd.functions.batch_normalization_over_ranks import batch_normalization_over_ranks
from chainer_ssd.functions.multibox_loss import multibox_loss
from chainer_ssd.functions.objective import background_loss, hard_negative_limit, n_hard_negative
from chainer_ssd.functions.ssd_loss import ssd_loss
from chainer_ssd.functions.ssd_match import ssd_match
from chainer_ssd.functions.ssd_pytorch import MultiBoxLoss

__all__ = [
    'MultiBoxLoss',
    'background_loss',
    'batch_normalization_over_ranks',
    'hard_negative_limit',
    'multibox_loss',
    'n_hard_negative',
    'ssd_loss',
    'ssd_match',
]
