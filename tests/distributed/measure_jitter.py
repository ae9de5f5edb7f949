"""Time of an iteration whose ranks are slow in different phases.

``mpiexec -n N python -m mpi4py measure_jitter.py [ITERATIONS]``. The forward and the backward pass
of each rank sleep for a random time. The count of positives is exchanged in one of two places:

- inside: ``multibox_loss(..., comm=comm)``, between the forward and the backward pass
- before: ``MultiboxTrainChain(..., comm=comm)``, which sends it before the model runs

Both alternate in blocks, in one run. The table has medians of the blocks, with minimum and maximum.
"""

import statistics
import sys
import time

import chainer
import chainer.links as L
import chainermn
import numpy as np

from chainer_ssd import MultiboxTrainChain, multibox_loss

MEAN_SECONDS, DEVIATION_SECONDS = 0.020, 0.006
N_BOX, N_CLASS, BATCH, BLOCK, K = 18, 4, 2, 25, 3


class Sleep(chainer.FunctionNode):
    """Identity that sleeps, in pieces as a model of many functions."""

    def __init__(self, rng):
        self.rng = rng

    def forward(self, inputs):
        sleep(self.rng, 1 / N_FUNCTION)
        return inputs

    def backward(self, indexes, grad_outputs):
        sleep(self.rng, 1 / N_FUNCTION)
        return grad_outputs


N_FUNCTION = 10


def sleep(rng, fraction):
    seconds = rng['scale'] * fraction
    time.sleep(max(seconds, 0))


class Model(chainer.Chain):
    def __init__(self, rng):
        super().__init__()
        self.rng = rng
        with self.init_scope():
            self.linear = L.Linear(27, N_BOX * (4 + N_CLASS))

    def forward(self, imgs):
        self.rng['scale'] = self.rng['generator'].normal(MEAN_SECONDS, DEVIATION_SECONDS)
        h = self.linear(imgs)
        for _ in range(N_FUNCTION):
            (h,) = Sleep(self.rng).apply((h,))
        self.rng['scale'] = self.rng['generator'].normal(MEAN_SECONDS, DEVIATION_SECONDS)
        h = h.reshape(len(imgs), N_BOX, 4 + N_CLASS)
        return h[:, :, :4], h[:, :, 4:]


class ChainWithCountInside(MultiboxTrainChain):
    def __init__(self, model, comm):
        super().__init__(model)
        self.communicator = comm

    def forward(self, imgs, gt_mb_locs, gt_mb_labels):
        losses = multibox_loss(*self.model(imgs), gt_mb_locs, gt_mb_labels, K, self.communicator)
        return sum(losses)


def main():
    n_iteration = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    comm = chainermn.create_communicator('naive')
    rng = np.random.default_rng(comm.rank)
    label = (rng.random((BATCH, N_BOX)) < 0.3) * rng.integers(1, N_CLASS, (BATCH, N_BOX))
    batch = (
        rng.normal(size=(BATCH, 27)).astype('f'),
        rng.normal(size=(BATCH, N_BOX, 4)).astype('f'),
        label.astype('i'),
    )
    ways = {}
    for name, create in (('inside', ChainWithCountInside), ('before', MultiboxTrainChain)):
        model = Model({'generator': np.random.default_rng(100 + comm.rank), 'scale': 0})
        chain = create(model, comm=comm)
        optimizer = chainermn.create_multi_node_optimizer(chainer.optimizers.SGD(0.01), comm)
        optimizer.setup(chain)
        optimizer.update(chain, *batch)
        ways[name] = optimizer
    seconds = {name: [] for name in ways}
    block_size = min(BLOCK, n_iteration)
    for block in range(max(2, n_iteration // BLOCK)):
        for name in sorted(ways, reverse=block % 2):
            comm.mpi_comm.Barrier()
            began = time.perf_counter()
            for _ in range(block_size):
                ways[name].update(ways[name].target, *batch)
            seconds[name].append((time.perf_counter() - began) / block_size * 1000)
    if comm.rank == 0:
        for name, values in seconds.items():
            print(
                f'{comm.size} ranks, count {name}: {statistics.median(values):.1f} ms '
                f'({min(values):.1f} to {max(values):.1f})'
            )
        ratio = statistics.median(seconds['inside']) / statistics.median(seconds['before'])
        print(f'{comm.size} ranks: inside / before = {ratio:.3f}')


if __name__ == '__main__':
    main()
