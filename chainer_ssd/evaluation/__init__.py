"""How good a set of detections is: figures that compare with what others publish."""

from chainer_ssd.evaluation.eval_detection_coco import eval_detection_coco
from chainer_ssd.evaluation.eval_detection_voc import (
    calc_detection_voc_prec_rec,
    eval_detection_voc,
)

__all__ = ['calc_detection_voc_prec_rec', 'eval_detection_coco', 'eval_detection_voc']
