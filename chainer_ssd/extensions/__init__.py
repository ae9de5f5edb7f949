"""Extensions of Chainer's Trainer."""
from chainer_ssd.extensions.cosine_shift import CosineShift
from chainer_ssd.extensions.detection_evaluator import DetectionEvaluator
from chainer_ssd.extensions.mean_over_ranks import MeanOverRanks
from chainer_ssd.extensions.nan_policy import NaNPolicy
from chainer_ssd.extensions.snapshot import Snapshot
from chainer_ssd.extensions.watchdog import Watchdog

__all__ = [
    'CosineShift', 'DetectionEvaluator', 'MeanOverRanks', 'NaNPolicy', 'Snapshot', 'Watchdog',
]
