"""The losses, and the parts of which they consist."""

from chainer_ssd.functions.batch_normalization_over_ranks import batch_normalization_over_ranks
from chainer_ssd.functions.convolution_2d import convolution_2d
from chainer_ssd.functions.max_pooling_2d import max_pooling_2d
from chainer_ssd.functions.multibox_loss import multibox_loss
from chainer_ssd.functions.multibox_objective import MultiboxObjective, SelectedLosses
from chainer_ssd.functions.parts.batch import Batch
from chainer_ssd.functions.parts.confidence import (
    FocalLoss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    background_loss,
)
from chainer_ssd.functions.parts.iou_loss import IoULoss
from chainer_ssd.functions.parts.localization import L2, SmoothL1
from chainer_ssd.functions.parts.mining import (
    AllNegatives,
    HardExample,
    HardNegative,
    RandomNegative,
    hard_negative_limit,
    n_hard_negative,
)
from chainer_ssd.functions.parts.normalizers import (
    Boxes,
    Images,
    MatchesAfterMining,
    Positives,
    PositivesOfImages,
)
from chainer_ssd.functions.ssd_loss import ssd_loss
from chainer_ssd.functions.ssd_match import ssd_match
from chainer_ssd.functions.ssd_pytorch import MultiBoxLoss

__all__ = [
    'L2',
    'AllNegatives',
    'Batch',
    'Boxes',
    'FocalLoss',
    'HardExample',
    'HardNegative',
    'Images',
    'IoULoss',
    'MatchesAfterMining',
    'MultiBoxLoss',
    'MultiboxObjective',
    'Positives',
    'PositivesOfImages',
    'RandomNegative',
    'SelectedLosses',
    'SigmoidCrossEntropy',
    'SmoothL1',
    'SoftmaxCrossEntropy',
    'background_loss',
    'batch_normalization_over_ranks',
    'convolution_2d',
    'hard_negative_limit',
    'max_pooling_2d',
    'multibox_loss',
    'n_hard_negative',
    'ssd_loss',
    'ssd_match',
]
