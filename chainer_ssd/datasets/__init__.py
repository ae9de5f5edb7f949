"""Images with their boxes, ready for ``chainer.datasets.TransformDataset`` and any iterator."""
from chainer_ssd.datasets.shapes_bbox_dataset import ShapesBboxDataset
from chainer_ssd.datasets.voc_bbox_dataset import VOC_LABEL_NAMES, VOCBboxDataset

__all__ = ['ShapesBboxDataset', 'VOCBboxDataset', 'VOC_LABEL_NAMES']
