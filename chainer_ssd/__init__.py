"""The SSD multibox training objective for Chainer."""

# ruff: noqa: E402
from chainer_ssd import _compat

_compat.install()  # before Chainer is imported, where the start-up hook has not done it already

from chainer_ssd.datasets import COCOBboxDataset, ShapesBboxDataset, VOCBboxDataset
from chainer_ssd.evaluation import (
    calc_detection_voc_prec_rec,
    detect_dataset,
    eval_detection_coco,
    eval_detection_voc,
    summarize_detections,
)
from chainer_ssd.extensions import (
    DetectionCOCOEvaluator,
    DetectionEvaluator,
    DetectionVisReport,
    MatchReport,
    MatchVisReport,
)
from chainer_ssd.functions import MultiBoxLoss, multibox_loss, ssd_loss
from chainer_ssd.images import read_image, write_image
from chainer_ssd.links import (
    SSD300,
    SSD512,
    MultiboxCoder,
    MultiboxTrainChain,
    MultiNodeBatchNormalization,
    SSDLossChain,
    SSDMini,
    load_detector,
    save_detector,
)
from chainer_ssd.ops import (
    Matcher,
    bbox_iou,
    decode,
    encode,
    generate_default_bbox,
    hard_example_mining,
    hard_negative_mining,
    match,
    non_maximum_suppression,
)
from chainer_ssd.runtime import (
    CosineShift,
    MeanOverRanks,
    NaNPolicy,
    Snapshot,
    StragglerReport,
    TimeReport,
    Watchdog,
)
from chainer_ssd.transforms import (
    Augmentation,
    CropTransform,
    DistortTransform,
    EncodeTransform,
    ExpandTransform,
    FlipTransform,
    MatchTransform,
    MildAugmentation,
    RandomResizeTransform,
    RandomTransformDataset,
    ResizeTransform,
    SSDAugmentation,
)
from chainer_ssd.visualizations import (
    draw_bbox,
    draw_detection,
    draw_match,
    draw_precision_recall,
)

__all__ = [
    'Augmentation',
    'COCOBboxDataset',
    'CosineShift',
    'CropTransform',
    'DetectionCOCOEvaluator',
    'DetectionEvaluator',
    'DetectionVisReport',
    'DistortTransform',
    'EncodeTransform',
    'ExpandTransform',
    'FlipTransform',
    'MatchReport',
    'MatchTransform',
    'MatchVisReport',
    'Matcher',
    'MeanOverRanks',
    'MildAugmentation',
    'MultiBoxLoss',
    'MultiNodeBatchNormalization',
    'MultiboxCoder',
    'MultiboxTrainChain',
    'NaNPolicy',
    'RandomResizeTransform',
    'RandomTransformDataset',
    'ResizeTransform',
    'SSD300',
    'SSD512',
    'SSDAugmentation',
    'SSDLossChain',
    'SSDMini',
    'ShapesBboxDataset',
    'Snapshot',
    'StragglerReport',
    'TimeReport',
    'VOCBboxDataset',
    'Watchdog',
    'bbox_iou',
    'calc_detection_voc_prec_rec',
    'decode',
    'detect_dataset',
    'draw_bbox',
    'draw_detection',
    'draw_match',
    'draw_precision_recall',
    'encode',
    'eval_detection_coco',
    'eval_detection_voc',
    'generate_default_bbox',
    'hard_example_mining',
    'hard_negative_mining',
    'load_detector',
    'match',
    'multibox_loss',
    'non_maximum_suppression',
    'read_image',
    'save_detector',
    'ssd_loss',
    'summarize_detections',
    'write_image',
]

__version__ = '0.1.0'
