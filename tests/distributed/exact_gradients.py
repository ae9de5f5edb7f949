"""Tests on n ranks that averaged gradients equal those of one process with the whole batch.

``mpiexec -n N python -m mpi4py exact_gradients.py N`` prints a line for each case.
"""

import itertools
import sys

import chainer
import numpy as np

from chainer_ssd import MultiboxTrainChain

N_BOX, N_CLASS = 18, 4


class Model(chainer.Chain):
    """One convolution. It has no normalization over the batch, so gradients can be compared."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.conv = chainer.links.Convolution2D(3, 2 * (4 + N_CLASS), 3, pad=1)

    def forward(self, imgs):
        h = chainer.functions.transpose(self.conv(imgs), (0, 2, 3, 1))
        h = chainer.functions.reshape(h, (len(imgs), N_BOX, 4 + N_CLASS))
        return h[:, :, :4], h[:, :, 4:]


def make_batch(rng, fractions):
    """Return images and targets. ``fractions[i]`` of image i's boxes are positive."""
    batch = len(fractions)
    imgs = rng.normal(size=(batch, 3, 3, 3)).astype('f')
    gt_mb_locs = rng.normal(size=(batch, N_BOX, 4)).astype('f')
    gt_mb_labels = rng.integers(1, N_CLASS, (batch, N_BOX)).astype('i')
    gt_mb_labels[rng.random((batch, N_BOX)) >= np.reshape(fractions, (-1, 1))] = 0
    gt_mb_labels[rng.random((batch, N_BOX)) < 0.05] = -1
    return imgs, gt_mb_locs, gt_mb_labels


# Fractions of positives of each rank's images. Further ranks repeat the list.
CASES = {
    'unequal positives': [(0.1, 0.1), (0.8, 0.5), (0.3, 0.0)],
    'one rank without positives': [(0.5, 0.2), (0.0, 0.0), (0.3, 0.1)],
    'no positives at all': [(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)],
    'unequal batches': [(0.3,), (0.2, 0.6, 0.1), (0.5, 0.5)],
    'a rank without images': [(0.3, 0.4), (), (0.2, 0.6, 0.1)],
    'one rank has all images': [(), (0.3, 0.4, 0.2), ()],
}


def gradients(chain):
    return {name: param.grad.copy() for name, param in chain.namedparams()}


# Relative to a gradient's largest entry. A rounding in float16 is 5e-4.
TOLERANCES = {'float32': 1e-5, 'float16': 4e-3}


def check(comm, case, fractions, dtype):
    rng = np.random.default_rng(0)  # equal on all ranks, so that each has the whole batch
    parts = [make_batch(rng, each) for each in fractions]
    parts = [(imgs.astype(dtype), *targets) for imgs, *targets in parts]
    tolerance = TOLERANCES[dtype]
    with chainer.using_config('dtype', np.dtype(dtype)):
        model = Model()
    comm.bcast_data(model)

    alone = MultiboxTrainChain(model, alpha=0.7)
    alone.cleargrads()
    whole_loss = alone(*map(np.concatenate, zip(*parts)))
    whole_loss.backward()
    expected = gradients(alone)

    chain = MultiboxTrainChain(model, alpha=0.7, comm=comm)
    chain.cleargrads()
    loss = chain(*parts[comm.rank])
    loss.backward()
    comm.multi_node_mean_grad(chain)
    found = gradients(chain)

    mean_loss = comm.allreduce_obj(float(loss.array)) / comm.size
    assert whole_loss.dtype == loss.dtype == np.float32
    expected_loss = float(whole_loss.array)
    assert abs(mean_loss - expected_loss) <= tolerance * abs(expected_loss), case
    worst = 0.0
    for name, grad in expected.items():
        assert grad.dtype == found[name].dtype == dtype
        grad = grad.astype('f8')
        scale = np.abs(grad).max()
        assert (case == 'no positives at all') == (scale == 0), case
        np.testing.assert_allclose(found[name], grad, rtol=0, atol=tolerance * scale, err_msg=case)
        worst = max(worst, np.abs(found[name] - grad).max() / (scale or 1))
    return worst


def main():
    import chainermn  # starts MPI, which a test that imports this file must not

    comm = chainermn.create_communicator('naive')
    assert comm.size == int(sys.argv[1]), f'{comm.size} ranks run, not {sys.argv[1]}'
    assert comm.size > 1, 'one rank shows nothing'
    for dtype, (case, fractions) in itertools.product(TOLERANCES, CASES.items()):
        worst = comm.gather_obj(
            check(
                comm, case, [fractions[rank % len(fractions)] for rank in range(comm.size)], dtype
            )
        )
        if comm.rank == 0:
            print(f'equal: {case}, {dtype} ({max(worst):.1e})', flush=True)


if __name__ == '__main__':
    main()
