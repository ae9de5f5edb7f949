"""Data sets of images with boxes, for ``chainer.datasets.TransformDataset`` and any iterator."""

from chainer_ssd.datasets.coco_bbox_dataset import COCOBboxDataset
from chainer_ssd.datasets.shapes_bbox_dataset import ShapesBboxDataset
from chainer_ssd.datasets.voc_bbox_dataset import VOC_LABEL_NAMES, VOCBboxDataset

__all__ = ['COCOBboxDataset', 'ShapesBboxDataset', 'VOCBboxDataset', 'VOC_LABEL_NAMES']
