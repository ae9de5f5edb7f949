"""Tests on n ranks that training with normalization over ranks equals that of one process.

``mpiexec -n N python -m mpi4py exact_normalization.py N`` prints a line for each case.
"""

import functools
import itertools
import sys

import chainer
import numpy as np

from chainer_ssd import MultiboxTrainChain, SSDMini
from chainer_ssd.links import MultiNodeBatchNormalization

INSIZE, N_CLASS, N_STEP = 64, 3, 2
ALL_NEGATIVES = 10**4
TOLERANCES = {'float64': 1e-10, 'float32': 1e-5}  # relative to the largest entry

# Number of images of each rank. Further ranks repeat the list.
CASES = {
    'equal batches': [4, 4],
    'unequal batches': [5, 3],
    'a rank without images': [4, 0, 4],
    'one rank has all images': [0, 8, 0],
}


def make_batch(rng, n_image, n_box, dtype):
    labels = (rng.random((n_image, n_box)) < 0.1) * rng.integers(1, N_CLASS, (n_image, n_box))
    return (
        rng.uniform(0, 255, (n_image, 3, INSIZE, INSIZE)).astype(dtype),
        rng.normal(size=(n_image, n_box, 4)).astype(dtype),
        labels.astype('i'),
    )


def train(comm, norm, parts, rank):
    """Return the gradients of the last of N_STEP updates, and the running averages."""
    np.random.seed(0)
    model = SSDMini(N_CLASS - 1, INSIZE, norm=norm)
    chain = MultiboxTrainChain(model, k=ALL_NEGATIVES, comm=comm)
    optimizer = chainer.optimizers.SGD(0.01)
    optimizer.setup(chain)
    for step in range(N_STEP):
        chain.cleargrads()
        chain(*parts[step][rank]).backward()
        if comm is not None:
            comm.multi_node_mean_grad(chain)
        optimizer.update()
    found = {name: param.grad for name, param in chain.namedparams()}
    for name, link in chain.namedlinks():
        if hasattr(link, 'avg_mean'):
            found[f'{name}/avg_mean'], found[f'{name}/avg_var'] = link.avg_mean, link.avg_var
    return found


def check(comm, case, n_images, dtype):
    rng = np.random.default_rng(1)  # equal on all ranks, so that each has the whole batch
    n_box = len(SSDMini(N_CLASS - 1, INSIZE).coder.default_bbox)
    parts = [[make_batch(rng, n, n_box, dtype) for n in n_images] for _ in range(N_STEP)]
    whole = [[tuple(map(np.concatenate, zip(*part)))] for part in parts]
    with chainer.using_config('dtype', np.dtype(dtype)):
        expected = train(None, chainer.links.BatchNormalization, whole, 0)
        norm = functools.partial(MultiNodeBatchNormalization, comm=comm)
        found = train(comm, norm, parts, comm.rank)
    worst = 0.0
    for name, value in expected.items():
        assert value.dtype == found[name].dtype == dtype
        scale = np.abs(value).max()
        assert scale > 0, name
        error = np.abs(found[name] - value).max() / scale
        assert error <= TOLERANCES[dtype], f'{case}, {dtype}, {name}: {error:.1e}'
        worst = max(worst, error)
    return worst


def main():
    import chainermn  # starts MPI, which a test that imports this file must not

    # A rounding can neither move a value over the kink of ReLU nor choose another hard negative.
    chainer.functions.relu = chainer.functions.elu
    comm = chainermn.create_communicator('naive')
    assert comm.size == int(sys.argv[1]), f'{comm.size} ranks run, not {sys.argv[1]}'
    for dtype, (case, n_images) in itertools.product(TOLERANCES, CASES.items()):
        n_images = [n_images[rank % len(n_images)] for rank in range(comm.size)]
        worst = comm.gather_obj(check(comm, case, n_images, dtype))
        if comm.rank == 0:
            print(f'equal: {case}, {dtype} ({max(worst):.1e})', flush=True)


if __name__ == '__main__':
    main()
