"""Transforms of examples in a data pipeline. They can be pickled and run on the CPU."""

from chainer_ssd.transforms.augmentation import Augmentation, MildAugmentation, SSDAugmentation
from chainer_ssd.transforms.crop_transform import CropTransform
from chainer_ssd.transforms.distort_transform import DistortTransform
from chainer_ssd.transforms.encode_transform import EncodeTransform
from chainer_ssd.transforms.expand_transform import ExpandTransform
from chainer_ssd.transforms.flip_transform import FlipTransform
from chainer_ssd.transforms.match_transform import MatchTransform
from chainer_ssd.transforms.random_resize_transform import RandomResizeTransform
from chainer_ssd.transforms.random_transform_dataset import FixedEpoch, RandomTransformDataset
from chainer_ssd.transforms.resize_transform import ResizeTransform

__all__ = [
    'Augmentation',
    'CropTransform',
    'DistortTransform',
    'EncodeTransform',
    'ExpandTransform',
    'FixedEpoch',
    'FlipTransform',
    'MatchTransform',
    'MildAugmentation',
    'RandomResizeTransform',
    'RandomTransformDataset',
    'ResizeTransform',
    'SSDAugmentation',
]
