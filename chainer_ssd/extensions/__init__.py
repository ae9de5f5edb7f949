"""Extensions of Chainer's Trainer."""
from chainer_ssd.extensions.cosine_shift import CosineShift
from chainer_ssd.extensions.detection_evaluator import DetectionEvaluator
from chainer_ssd.extensions.detection_vis_report import DetectionVisReport
from chainer_ssd.extensions.match_report import MatchReport
from chainer_ssd.extensions.match_vis_report import MatchVisReport
from chainer_ssd.extensions.mean_over_ranks import MeanOverRanks
from chainer_ssd.extensions.nan_policy import NaNPolicy
from chainer_ssd.extensions.snapshot import Snapshot
from chainer_ssd.extensions.time_report import TimeReport
from chainer_ssd.extensions.watchdog import Watchdog

__all__ = [
    'CosineShift', 'DetectionEvaluator', 'DetectionVisReport', 'MatchReport', 'MatchVisReport',
    'MeanOverRanks', 'NaNPolicy', 'Snapshot', 'TimeReport', 'Watchdog',
]
