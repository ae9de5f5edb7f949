"""Pure functions over NumPy or CuPy arrays: no framework, no communicator, no random number."""

from chainer_ssd._validation import check_bbox
from chainer_ssd.ops.boxes import bbox_iou, center_to_corner, corner_to_center
from chainer_ssd.ops.coding import decode, encode
from chainer_ssd.ops.default_boxes import SSD300_SPEC, SSD512_SPEC, generate_default_bbox
from chainer_ssd.ops.matching import Matcher, match
from chainer_ssd.ops.mining import hard_example_mining, hard_negative_mining
from chainer_ssd.ops.nms import non_maximum_suppression

__all__ = [
    'Matcher',
    'SSD300_SPEC',
    'SSD512_SPEC',
    'bbox_iou',
    'center_to_corner',
    'check_bbox',
    'corner_to_center',
    'decode',
    'encode',
    'generate_default_bbox',
    'hard_example_mining',
    'hard_negative_mining',
    'match',
    'non_maximum_suppression',
]
