"""The parts of an objective: two losses, a choice of boxes, and a divisor."""

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
    'Positives',
    'PositivesOfImages',
    'RandomNegative',
    'SigmoidCrossEntropy',
    'SmoothL1',
    'SoftmaxCrossEntropy',
    'background_loss',
    'hard_negative_limit',
    'n_hard_negative',
]
