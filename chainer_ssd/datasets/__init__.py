"""Images with their boxes, ready for ``chainer.datasets.TransformDataset`` and any iterator."""

from chainer_ssd.datasets.coco_bbox_dataset import COCOBboxDataset
from chainer_ssd.datasets.shapes_bbox_dataset import ShapesBboxDataset
from chainer_ssd.datasets.voc_bbox_dataset import VOCBboxDataset

__all__ = ['COCOBboxDataset', 'ShapesBboxDataset', 'VOCBboxDataset']
