"""Detections over a data set, and their figures by the rules of Pascal VOC and COCO."""

from chainer_ssd.evaluation.calc_detection_confusion_matrix import (
    calc_detection_confusion_matrix,
)
from chainer_ssd.evaluation.check_iterator import check_dataset, check_single_pass
from chainer_ssd.evaluation.detect_dataset import detect_batches, detect_dataset
from chainer_ssd.evaluation.eval_detection_coco import eval_detection_coco
from chainer_ssd.evaluation.eval_detection_voc import (
    calc_detection_voc_prec_rec,
    eval_detection_voc,
)
from chainer_ssd.evaluation.eval_detection_voc_by_area import (
    COCO_AREAS,
    eval_detection_voc_by_area,
)
from chainer_ssd.evaluation.find_detection_errors import DetectionError, find_detection_errors
from chainer_ssd.evaluation.find_suspicious_labels import (
    SuspiciousLabel,
    find_suspicious_labels,
)
from chainer_ssd.evaluation.readable_examples import readable_examples
from chainer_ssd.evaluation.summarize_detections import (
    best_score_thresholds,
    summarize_detections,
)

__all__ = [
    'COCO_AREAS',
    'DetectionError',
    'SuspiciousLabel',
    'best_score_thresholds',
    'calc_detection_confusion_matrix',
    'calc_detection_voc_prec_rec',
    'check_dataset',
    'check_single_pass',
    'detect_batches',
    'detect_dataset',
    'eval_detection_coco',
    'eval_detection_voc',
    'eval_detection_voc_by_area',
    'find_detection_errors',
    'find_suspicious_labels',
    'readable_examples',
    'summarize_detections',
]
