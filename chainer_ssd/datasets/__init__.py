"""Data sets of images with boxes, for ``chainer.datasets.TransformDataset`` and any iterator."""

from chainer_ssd.datasets._image_lookup import ImageFolder
from chainer_ssd.datasets.annotation_problem import AnnotationProblem
from chainer_ssd.datasets.bbox_subset import BboxSubset
from chainer_ssd.datasets.choose_splits import ChosenSplit, choose_splits
from chainer_ssd.datasets.class_names import (
    VOC_LABEL_NAMES,
    find_similar_names,
    read_label_names,
    voc_bbox_label_names,
)
from chainer_ssd.datasets.coco_bbox_dataset import COCOBboxDataset
from chainer_ssd.datasets.coco_results import COCOIds, read_coco_ids, to_coco_results
from chainer_ssd.datasets.data_splits import DataSplits
from chainer_ssd.datasets.find_dataset import FORMATS, find_dataset
from chainer_ssd.datasets.found_dataset import FilePair, FoundDataset
from chainer_ssd.datasets.joined_bbox_dataset import JoinedBboxDataset
from chainer_ssd.datasets.open_datasets import open_datasets, open_split
from chainer_ssd.datasets.orientation import OrientationDecision, decide_orientation
from chainer_ssd.datasets.shapes_bbox_dataset import ShapesBboxDataset
from chainer_ssd.datasets.skip_unreadable import SkipUnreadable
from chainer_ssd.datasets.split_by_content import split_by_content
from chainer_ssd.datasets.stored_splits import open_stored_splits, read_stored_splits, save_splits
from chainer_ssd.datasets.voc_annotation import VOCAnnotation, VOCObject, read_voc_annotation
from chainer_ssd.datasets.voc_bbox_dataset import VOCBboxDataset
from chainer_ssd.datasets.voc_list import (
    VOCList,
    find_voc_image,
    read_voc_list,
    voc_annotation_file,
)
from chainer_ssd.datasets.xml_bbox_dataset import XMLBboxDataset
from chainer_ssd.datasets.yolo_bbox_dataset import YOLOBboxDataset, read_yolo_image_size
from chainer_ssd.datasets.yolo_labels import (
    YOLOLabels,
    YOLOObject,
    read_yolo_labels,
    write_yolo_labels,
)

__all__ = [
    'AnnotationProblem',
    'BboxSubset',
    'COCOBboxDataset',
    'COCOIds',
    'ChosenSplit',
    'DataSplits',
    'FORMATS',
    'FilePair',
    'FoundDataset',
    'ImageFolder',
    'JoinedBboxDataset',
    'OrientationDecision',
    'ShapesBboxDataset',
    'SkipUnreadable',
    'VOCAnnotation',
    'VOCBboxDataset',
    'VOCList',
    'VOCObject',
    'VOC_LABEL_NAMES',
    'XMLBboxDataset',
    'YOLOBboxDataset',
    'YOLOLabels',
    'YOLOObject',
    'choose_splits',
    'decide_orientation',
    'find_dataset',
    'find_similar_names',
    'find_voc_image',
    'open_datasets',
    'open_split',
    'open_stored_splits',
    'read_coco_ids',
    'read_label_names',
    'read_stored_splits',
    'read_voc_annotation',
    'read_voc_list',
    'read_yolo_image_size',
    'read_yolo_labels',
    'save_splits',
    'split_by_content',
    'to_coco_results',
    'voc_annotation_file',
    'voc_bbox_label_names',
    'write_yolo_labels',
]
