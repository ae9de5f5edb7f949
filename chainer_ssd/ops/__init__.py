"""Pure functions of NumPy or CuPy arrays: no framework, no communicator, no random number."""

from chainer_ssd._validation import check_bbox
from chainer_ssd.ops.batches import encode_batch, match_batch
from chainer_ssd.ops.boxes import bbox_iou, center_to_corner, corner_to_center, swap_xy
from chainer_ssd.ops.code_types import CODE_TYPES, check_code, check_size, decode_corners
from chainer_ssd.ops.coding import MAX_LOG_RATIO, Encoder, check_variance, decode, encode
from chainer_ssd.ops.default_boxes import SSD300_SPEC, SSD512_SPEC, generate_default_bbox
from chainer_ssd.ops.fitting import DefaultBoxFit, fit_default_boxes
from chainer_ssd.ops.matching import MIN_MATCH_IOU, Matcher, match
from chainer_ssd.ops.mining import hard_example_mining, hard_negative_mining
from chainer_ssd.ops.nms import non_maximum_suppression, suppress_batch

__all__ = [
    'CODE_TYPES',
    'MAX_LOG_RATIO',
    'MIN_MATCH_IOU',
    'SSD300_SPEC',
    'SSD512_SPEC',
    'DefaultBoxFit',
    'Encoder',
    'Matcher',
    'bbox_iou',
    'center_to_corner',
    'check_bbox',
    'check_code',
    'check_size',
    'check_variance',
    'corner_to_center',
    'decode',
    'decode_corners',
    'encode',
    'encode_batch',
    'fit_default_boxes',
    'generate_default_bbox',
    'hard_example_mining',
    'hard_negative_mining',
    'match',
    'match_batch',
    'non_maximum_suppression',
    'suppress_batch',
    'swap_xy',
]
