"""Detections over a data set, and their figures by the rules of Pascal VOC and COCO."""

from chainer_ssd.evaluation.check_iterator import check_dataset, check_single_pass
from chainer_ssd.evaluation.detect_dataset import detect_batches, detect_dataset
from chainer_ssd.evaluation.eval_detection_coco import eval_detection_coco
from chainer_ssd.evaluation.eval_detection_voc import (
    calc_detection_voc_prec_rec,
    eval_detection_voc,
)
from chainer_ssd.evaluation.readable_examples import readable_examples
from chainer_ssd.evaluation.summarize_detections import summarize_detections

__all__ = [
    'calc_detection_voc_prec_rec',
    'check_dataset',
    'check_single_pass',
    'detect_batches',
    'detect_dataset',
    'eval_detection_coco',
    'eval_detection_voc',
    'readable_examples',
    'summarize_detections',
]
