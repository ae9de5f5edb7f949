"""The SSD multibox training objective for Chainer."""
# ruff: noqa: E402
from chainer_ssd import _compat

_compat.install()  # before Chainer is imported, where the start-up hook has not done it already

from chainer_ssd.datasets import COCOBboxDataset, ShapesBboxDataset, VOCBboxDataset
from chainer_ssd.evaluation import eval_detection_voc
from chainer_ssd.extensions import (
    CosineShift,
    DetectionEvaluator,
    MeanOverRanks,
    NaNPolicy,
    Snapshot,
    Watchdog,
)
from chainer_ssd.functions import MultiBoxLoss, multibox_loss, ssd_loss
from chainer_ssd.links import MultiboxCoder, MultiboxTrainChain, SSDMini
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
from chainer_ssd.transforms import (
    Augmentation,
    CropTransform,
    DistortTransform,
    EncodeTransform,
    ExpandTransform,
    FlipTransform,
    MatchTransform,
    RandomResizeTransform,
    RandomTransformDataset,
    ResizeTransform,
    SSDAugmentation,
)

__all__ = [
    'Augmentation', 'COCOBboxDataset', 'CosineShift', 'CropTransform', 'DetectionEvaluator',
    'DistortTransform', 'EncodeTransform', 'ExpandTransform', 'FlipTransform', 'MatchTransform',
    'Matcher', 'MeanOverRanks', 'MultiBoxLoss', 'MultiboxCoder', 'MultiboxTrainChain', 'NaNPolicy',
    'RandomResizeTransform', 'RandomTransformDataset', 'ResizeTransform', 'SSDAugmentation',
    'SSDMini', 'ShapesBboxDataset', 'Snapshot', 'VOCBboxDataset', 'Watchdog', 'bbox_iou', 'decode',
    'encode', 'eval_detection_voc', 'generate_default_bbox', 'hard_example_mining',
    'hard_negative_mining', 'match', 'multibox_loss', 'non_maximum_suppression', 'ssd_loss',
]
