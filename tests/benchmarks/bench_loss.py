"""The loss, forward and backward: ChainerCV, torchvision, the definition and the fused node."""

import chainer
import chainer.functions as F
import numpy as np

from chainer_ssd import multibox_loss
from tests.benchmarks._timing import Case

SHAPES = [
    ('VOC300', 32, 8732, 21, 'at least 11 x faster (aim 13 x)'),
    ('COCO300', 32, 8732, 81, 'at least 6 x faster (aim 8 x)'),
    ('VOC512', 8, 24564, 21, 'at least 13 x faster (aim 16 x)'),
]
K = 3


def cases():
    """Yield one case per shape."""
    for name, batch, n_box, n_class, goal in SHAPES:
        arrays = make(batch, n_box, n_class)
        functions = {
            "ChainerCV's computation": lambda a=arrays: gradients(chainercv_multibox_loss, *a),
            'definition': lambda a=arrays: with_config('never', *a),
            'fused node': lambda a=arrays: with_config('auto', *a),
            'floor': Floor(*arrays[:2]),
        }
        functions.update(torch_functions(*arrays))
        check(functions)
        yield Case(
            title=f'loss forward + backward, {name}: B={batch}, K={n_box:,}, C={n_class}',
            functions=functions,
            reference="ChainerCV's computation",
            floor='floor',
            input_bytes=arrays[1].nbytes,
            goal=f'fused node: {goal}, at most 2.4 x the floor (aim 1.7 x), peak at most 1.25 x '
            'the logits (aim 1.05 x)',
        )


def make(batch, n_box, n_class, seed=0):
    """Return predictions like those of a trained network, and 10 to 60 positives per image."""
    rng = np.random.default_rng(seed)
    mb_locs = rng.standard_normal((batch, n_box, 4), 'f')
    mb_confs = rng.standard_normal((batch, n_box, n_class), 'f')
    mb_confs[:, :, 0] += 4
    gt_mb_locs = rng.standard_normal((batch, n_box, 4), 'f')
    gt_mb_labels = np.zeros((batch, n_box), 'i')
    for label in gt_mb_labels:
        positive = rng.choice(n_box, rng.integers(10, 61), replace=False)
        label[positive] = rng.integers(1, n_class, len(positive))
    return mb_locs, mb_confs, gt_mb_locs, gt_mb_labels


def gradients(loss, mb_locs, mb_confs, gt_mb_locs, gt_mb_labels):
    """Return both losses and both gradients."""
    mb_locs, mb_confs = chainer.Variable(mb_locs), chainer.Variable(mb_confs)
    loc_loss, conf_loss = loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, K)
    (loc_loss + conf_loss).backward()
    return loc_loss.array, conf_loss.array, mb_locs.grad, mb_confs.grad


def with_config(use_fused_multibox, *arrays):
    """Return losses and gradients of the definition or of the node."""
    with chainer.using_config('use_fused_multibox', use_fused_multibox):
        return gradients(multibox_loss, *arrays)


def chainercv_multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k):
    """ChainerCV's computation: all boxes, products with masks, and an argsort of an argsort."""
    n_image, n_box = gt_mb_labels.shape
    flat_label = gt_mb_labels.reshape(-1)
    positive = gt_mb_labels > 0
    n_positive = positive.sum()
    loc = F.huber_loss(F.reshape(mb_locs, (-1, 4)), gt_mb_locs.reshape(-1, 4), 1)
    loc_loss = F.sum(loc * positive.reshape(-1).astype('f')) / float(n_positive)
    conf = F.softmax_cross_entropy(
        F.reshape(mb_confs, (n_image * n_box, -1)), flat_label, reduce='no'
    )
    masked = conf.array.reshape(n_image, n_box) * (positive.astype('i') - 1)
    rank = masked.argsort(axis=1).argsort(axis=1)
    selected = positive | (rank < (positive.sum(axis=1) * k)[:, None])
    conf_loss = F.sum(conf * selected.reshape(-1).astype('f')) / float(n_positive)
    return loc_loss, conf_loss


class Floor:
    """The least work: one exp of all logits, block by block, and one write of used memory."""

    def __init__(self, mb_locs, mb_confs):
        self.confs = mb_confs.reshape(-1)
        self.block = np.empty(3 << 17, 'f')
        self.out = [np.zeros(mb_locs.shape, 'f'), np.zeros(mb_confs.shape, 'f')]

    def __call__(self):
        for i in range(0, len(self.confs), len(self.block)):
            part = self.confs[i : i + len(self.block)]
            np.exp(part, out=self.block[: len(part)])
        for out in self.out:
            out.view('u1').fill(0)  # memset, NumPy's fastest write


def torch_functions(*arrays):
    """Return torchvision's computation in plain torch, if torch is installed."""
    try:
        import torch
        import torch.nn.functional as T
    except ImportError:
        return {}
    torch.set_num_threads(1)
    mb_locs, mb_confs, gt_mb_locs, label = map(torch.from_numpy, arrays)
    label = label.long()
    mb_locs, mb_confs = mb_locs.requires_grad_(), mb_confs.requires_grad_()

    def compute():
        mb_locs.grad = mb_confs.grad = None
        positive = label > 0
        n_positive = max(1, int(positive.sum()))
        loc_loss = T.smooth_l1_loss(mb_locs[positive], gt_mb_locs[positive], reduction='sum')
        conf = T.cross_entropy(mb_confs.flatten(0, 1), label.flatten(), reduction='none').view(
            label.shape
        )
        negative = conf.detach().clone()
        negative[positive] = -float('inf')
        order = negative.sort(1, descending=True).indices
        rank = order.sort(1).indices
        hard = rank < (K * positive.sum(1))[:, None]
        conf_loss = (conf[positive].sum() + conf[hard].sum()) / n_positive
        loc_loss = loc_loss / n_positive
        (loc_loss + conf_loss).backward()
        return (
            loc_loss.detach().numpy(),
            conf_loss.detach().numpy(),
            mb_locs.grad.numpy(),
            mb_confs.grad.numpy(),
        )

    return {"torchvision's computation in torch": compute}


def check(functions):
    """Assert that all functions except the floor return the same losses and gradients."""
    expected = functions['definition']()
    for name, function in functions.items():
        if name != 'floor':
            for a, b in zip(function(), expected):
                np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * abs(b).max(), err_msg=name)
