"""Prints how often the host waits for the device in each function, for 8 images."""

import json
import warnings

import chainer
import cupy
import numpy as np
from cupy import _log

from chainer_ssd import MultiBoxLoss, SSDMini, multibox_loss, ssd_loss
from chainer_ssd.functions import ssd_match
from chainer_ssd.ops import center_to_corner, swap_xy

N_TRUTHS, N_CLASS = (1, 2, 0, 3, 1, 5, 2, 4), 4
warnings.simplefilter('ignore')
rng = np.random.default_rng(0)
coder = SSDMini(N_CLASS - 1, 64).coder
n_box = len(coder.default_bbox)
corners = [rng.uniform(0, 40, (n, 2)) for n in N_TRUTHS]
bboxes = [np.hstack([corner, corner + rng.uniform(5, 24, corner.shape)]) for corner in corners]
bboxes = [bbox.astype('f') for bbox in bboxes]
labels = [rng.integers(1, N_CLASS, n).astype('i') for n in N_TRUTHS]
priors = cupy.asarray(swap_xy(center_to_corner(coder.default_bbox)))
centers = cupy.asarray(swap_xy(coder.default_bbox))
variance = cupy.asarray([0.1, 0.1, 0.2, 0.2], 'f')
mb_locs, gt_mb_locs = (
    cupy.asarray(rng.normal(size=(len(N_TRUTHS), n_box, 4)).astype('f')) for _ in range(2)
)
mb_confs = cupy.asarray(rng.normal(size=(len(N_TRUTHS), n_box, N_CLASS)).astype('f'))
gt_mb_labels = cupy.asarray((rng.random((len(N_TRUTHS), n_box)) < 0.05).astype('i'))
targets = [np.c_[bbox, label - 1] for bbox, label in zip(bboxes, labels)]
criterion = MultiBoxLoss(N_CLASS, 0.5, True, 0, True, 3, 0.5, False)


def step(loss):
    """Run a loss forward and backward."""
    predictions = [chainer.Variable(array) for array in (mb_locs, mb_confs)]
    losses = loss(*predictions)
    (sum(losses) if isinstance(losses, tuple) else chainer.functions.sum(losses)).backward()


def run_node():
    with chainer.using_config('use_fused_multibox', 'always'):
        step(lambda *predictions: multibox_loss(*predictions, gt_mb_locs, gt_mb_labels, 3))


PROGRAMS = {
    'multibox_loss, kernels': run_node,
    'multibox_loss': lambda: step(lambda *p: multibox_loss(*p, gt_mb_locs, gt_mb_labels, 3)),
    'ssd_match': lambda: ssd_match(bboxes, priors),
    'ssd_loss': lambda: step(lambda *p: ssd_loss(*p, bboxes, labels, priors, variance)),
    'MultiBoxLoss': lambda: step(lambda *p: criterion((*p, centers), targets)),
    'decode_batch': lambda: coder.decode_batch(mb_locs, mb_confs, score_thresh=0.3),
}
waits = {}
for name, program in PROGRAMS.items():
    program()  # the first call may check or compile
    _log.waits.clear()
    program()
    waits[name] = sum(_log.waits.values())
print(json.dumps(waits))
