"""Extensions of Chainer's Trainer that report on boxes and pictures of them."""

from chainer_ssd.extensions.detection_coco_evaluator import DetectionCOCOEvaluator
from chainer_ssd.extensions.detection_evaluator import DetectionEvaluator
from chainer_ssd.extensions.detection_vis_report import DetectionVisReport
from chainer_ssd.extensions.match_report import MatchReport
from chainer_ssd.extensions.match_vis_report import MatchVisReport

__all__ = [
    'DetectionCOCOEvaluator',
    'DetectionEvaluator',
    'DetectionVisReport',
    'MatchReport',
    'MatchVisReport',
]
