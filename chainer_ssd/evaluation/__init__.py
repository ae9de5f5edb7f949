"""How good a set of detections is: figures that compare with what others publish."""
from chainer_ssd.evaluation.eval_detection_voc import eval_detection_voc

__all__ = ['eval_detection_voc']
