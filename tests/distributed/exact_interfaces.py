"""Tests on n ranks that the other interfaces' averaged gradients equal those of one process.

``mpiexec -n N python -m mpi4py exact_interfaces.py N`` prints a line for each loss and case.
"""

import sys
import warnings

import chainer
import chainer.functions as F
import numpy as np

from chainer_ssd import MultiBoxLoss, encode, ssd_loss
from chainer_ssd.functions import (
    AllNegatives,
    FocalLoss,
    HardExample,
    MatchesAfterMining,
    MultiboxObjective,
    PositivesOfImages,
    SoftmaxCrossEntropy,
    ssd_match,
)
from chainer_ssd.ops import corner_to_center, swap_xy

N_BOX, N_CLASS = 24, 4
PRIOR = np.array([(x, y, x + w, y + 3) for x in range(3) for y in range(4) for w in (2, 4)], 'f')
VARIANCE = np.array([0.1, 0.1, 0.2, 0.2], 'f')


class Model(chainer.Chain):
    """One linear layer. It has no normalization over the batch, so gradients can be compared."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.linear = chainer.links.Linear(6, N_BOX * (4 + N_CLASS))

    def forward(self, x):
        h = F.reshape(self.linear(x), (len(x), N_BOX, 4 + N_CLASS))
        return h[:, :, :4], h[:, :, 4:]


def make(rng, lens):
    """Return images, and the boxes (x_min, y_min, x_max, y_max) and classes of each."""
    x = rng.normal(scale=2, size=(len(lens), 6)).astype('f')
    bboxes, labels = [], []
    for n in lens:
        corner = rng.uniform(0, 3, (n, 2))
        size = rng.uniform(1.5, 4, (n, 2))
        bboxes.append(np.concatenate([corner, corner + size], 1).astype('f'))
        labels.append(rng.integers(0, N_CLASS - 1, n))
    return x, bboxes, labels


def paddle(**options):
    def loss(model, x, bboxes, labels, comm):
        loc, conf = model(x)
        return ssd_loss(
            loc,
            conf,
            bboxes,
            [label + 1 for label in labels],
            PRIOR,
            VARIANCE,
            reduce='sum',
            comm=comm,
            **options,
        )

    return loss


def ssd_pytorch(model, x, bboxes, labels, comm):
    priors = np.concatenate([(PRIOR[:, :2] + PRIOR[:, 2:]) / 2, PRIOR[:, 2:] - PRIOR[:, :2]], 1)
    targets = [np.c_[bbox, label] for bbox, label in zip(bboxes, labels)]
    criterion = MultiBoxLoss(N_CLASS, 0.5, True, 0, True, 3, 0.5, False, comm=comm)
    loss_l, loss_c = criterion((*model(x), priors), targets)
    return loss_l + loss_c


def objective_of(**parts):
    objective = MultiboxObjective(**parts)

    def loss(model, x, bboxes, labels, comm):
        mb_locs, mb_confs = model(x)
        shape = mb_confs.shape[:2]
        gt_mb_locs, gt_mb_labels = np.zeros((*shape, 4), 'f'), np.zeros(shape, 'i')
        default_bbox = corner_to_center(swap_xy(PRIOR))
        for i, index in enumerate(ssd_match(bboxes, PRIOR) if bboxes else []):
            gt_mb_locs[i], gt_mb_labels[i] = encode(
                default_bbox, swap_xy(bboxes[i]), labels[i], index
            )
        return sum(objective(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, comm))

    return loss


LOSSES = {
    'ssd_loss': paddle(),
    'ssd_loss, bipartite, band': paddle(
        match_type='bipartite', neg_overlap=0.2, neg_overlap_mode='caffe'
    ),
    'ssd_loss, hard examples': paddle(
        mining_type='hard_example', sample_size=6, mine_with_loc_loss=True
    ),
    'ssd_loss, weights, not normalised': paddle(
        normalize=False, loc_loss_weight=2.5, conf_loss_weight=0.4, neg_pos_ratio=1.5
    ),
    'MultiBoxLoss': ssd_pytorch,
    'objective, weights, smoothing': objective_of(
        confidence=SoftmaxCrossEntropy([1, 2, 3, 1], label_smoothing=0.1)
    ),
    'objective, focal loss of all boxes': objective_of(
        confidence=FocalLoss(), mining=AllNegatives()
    ),
    'objective, hard examples': objective_of(
        mining=HardExample(6), normalizer=MatchesAfterMining()
    ),
    'objective, positives of images': objective_of(normalizer=PositivesOfImages()),
}

# Numbers of ground truths of each rank's images. Further ranks repeat the list.
CASES = {
    'unequal counts': [(1, 2), (5, 4), (3, 1)],
    'one rank without ground truth': [(3, 2), (0, 0), (1, 0)],
    'no ground truth at all': [(0, 0), (0, 0), (0, 0)],
    'unequal batches': [(2,), (1, 4, 3), (2, 0)],
    'a rank without images': [(3, 1), (), (1, 2, 4)],
}


def gradients(model, loss):
    model.cleargrads()
    loss.backward()
    return {name: param.grad for name, param in model.namedparams()}


def check(comm, name, case):
    rng = np.random.default_rng(0)  # equal on all ranks, so that each has the whole batch
    np.random.seed(0)  # the initial weights, which decide whether a positive is a hard example
    parts = [make(rng, CASES[case][rank % len(CASES[case])]) for rank in range(comm.size)]
    x, bboxes, labels = zip(*parts)
    whole = np.concatenate(x), sum(bboxes, []), sum(labels, [])
    model = Model()
    comm.bcast_data(model)

    whole_loss = LOSSES[name](model, *whole, None)
    expected = gradients(model, whole_loss)
    loss = LOSSES[name](model, *parts[comm.rank], comm)
    gradients(model, loss)
    comm.multi_node_mean_grad(model)
    found = {name: param.grad for name, param in model.namedparams()}

    where = f'{name}; {case}'
    mean_loss = comm.allreduce_obj(float(loss.array)) / comm.size
    assert abs(mean_loss - float(whole_loss.array)) <= 1e-5 * abs(float(whole_loss.array)), where
    worst = 0.0
    for key, grad in expected.items():
        scale = np.abs(grad).max()
        assert (case == 'no ground truth at all') == (scale == 0), where
        np.testing.assert_allclose(found[key], grad, rtol=0, atol=1e-5 * scale, err_msg=where)
        worst = max(worst, np.abs(found[key] - grad).max() / (scale or 1))
    return worst


def main():
    import chainermn  # starts MPI, which a test that imports this file must not

    comm = chainermn.create_communicator('naive')
    assert comm.size == int(sys.argv[1]), f'{comm.size} ranks run, not {sys.argv[1]}'
    assert comm.size > 1, 'one rank shows nothing'
    warnings.simplefilter('error')
    for name in LOSSES:
        for case in CASES:
            worst = comm.gather_obj(check(comm, name, case))
            if comm.rank == 0:
                print(f'equal: {name}; {case} ({max(worst):.1e})', flush=True)


if __name__ == '__main__':
    main()
