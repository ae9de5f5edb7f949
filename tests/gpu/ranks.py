"""Cases for ranks that share GPU 0: ``mpiexec -n N python -m mpi4py ranks.py CASE``."""

import multiprocessing
import sys

import chainer_ssd  # isort: skip (before chainer)  # noqa: F401
import chainer
import chainer.functions as F
import chainer.links as L
import chainermn
import numpy as np

from chainer_ssd import MultiboxTrainChain

N_BOX, N_CLASS = 32, 4


class Model(chainer.Chain):
    def __init__(self, comm=None):
        super().__init__()
        rng = np.random.default_rng(1)
        with self.init_scope():
            self.conv = L.Convolution2D(
                3,
                2 * (4 + N_CLASS),
                3,
                pad=1,
                nobias=True,
                initialW=rng.normal(size=(2 * (4 + N_CLASS), 3, 3, 3)).astype('f'),
            )
            if comm is not None:
                self.bn = chainermn.links.MultiNodeBatchNormalization(2 * (4 + N_CLASS), comm)

    def forward(self, imgs):
        h = self.conv(imgs)
        h = self.bn(h) if hasattr(self, 'bn') else h
        h = F.reshape(F.transpose(h, (0, 2, 3, 1)), (len(imgs), N_BOX, 4 + N_CLASS))
        return h[:, :, :4], h[:, :, 4:]


def make_batch(seed, n):
    rng = np.random.default_rng(seed)
    label = np.where(
        rng.random((n, N_BOX)) < 0.1 * (seed + 1), rng.integers(1, N_CLASS, (n, N_BOX)), 0
    ).astype('i')
    return (
        rng.normal(size=(n, 3, 4, 4)).astype('f'),
        rng.normal(size=(n, N_BOX, 4)).astype('f'),
        label,
    )


def compute_gradients(chain, arrays):
    chain.cleargrads()
    chain(*(chain.device.send(array) for array in arrays)).backward()


def get_gradients(chain):
    return {name: chainer.backends.cuda.to_cpu(param.grad) for name, param in chain.namedparams()}


def assert_gradients_equal(found, expected, rtol):
    assert found.keys() == expected.keys()
    for name in expected:
        scale = np.abs(expected[name]).max()
        assert scale > 0, name
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=rtol * scale, err_msg=name
        )


def shared_gpu(comm):
    """Ranks on one GPU. Gradients are sent from the host, because NCCL needs one GPU per rank."""
    parts = [make_batch(rank, 2 + rank) for rank in range(comm.size)]
    single = MultiboxTrainChain(Model())
    compute_gradients(single, [np.concatenate(arrays) for arrays in zip(*parts)])

    chain = MultiboxTrainChain(Model(), comm=comm)
    chain.to_device('@cupy:0')
    compute_gradients(chain, parts[comm.rank])
    every_rank = comm.mpi_comm.allgather(get_gradients(chain))
    mean = {name: sum(grads[name] for grads in every_rank) / comm.size for name in every_rank[0]}
    assert_gradients_equal(mean, get_gradients(single), 1e-4)


def nccl(comm):
    """ChainerMN's averaging, in both precisions and with both ways of copying."""
    single = MultiboxTrainChain(Model())
    compute_gradients(single, make_batch(0, 3))
    for dtype, rtol in (None, 1e-4), (np.float16, 1e-2):
        for batched_copy in True, False:
            comm = chainermn.create_communicator('pure_nccl', allreduce_grad_dtype=dtype)
            comm.set_config('batched_copy', batched_copy)
            chain = MultiboxTrainChain(Model(), comm=comm)
            chain.to_device('@cupy:0')
            optimizer = chainermn.create_multi_node_optimizer(
                chainer.optimizers.SGD(0), comm
            ).setup(chain)
            arrays = [chain.device.send(array) for array in make_batch(0, 3)]
            for _ in range(2):  # the first call broadcasts the weights
                optimizer.update(chain, *arrays)
            assert_gradients_equal(get_gradients(chain), get_gradients(single), rtol)
            comm.finalize()


def nccl_batch_normalization(comm):
    """MultiNodeBatchNormalization with NCCL."""
    comm = chainermn.create_communicator('pure_nccl')
    single, chain = MultiboxTrainChain(Model()), MultiboxTrainChain(Model(comm), comm=comm)
    with single.model.init_scope():
        single.model.bn = L.BatchNormalization(2 * (4 + N_CLASS))
    chain.to_device('@cupy:0')
    for model in single, chain:
        compute_gradients(model, make_batch(0, 3))
    assert_gradients_equal(get_gradients(chain), get_gradients(single), 1e-3)


def workers(comm, method):
    """Iterators start worker processes from ranks with a CUDA context."""
    multiprocessing.set_start_method(method)
    chain = MultiboxTrainChain(Model(), comm=comm)
    chain.to_device('@cupy:0')  # creates the context before the workers start
    optimizer = chainer.optimizers.SGD(1e-3).setup(chain)
    iterator = chainer.iterators.MultiprocessIterator(
        list(zip(*make_batch(comm.rank, 8))), 2, n_processes=2, shuffle=False
    )
    updater = chainer.training.StandardUpdater(iterator, optimizer, device='@cupy:0')
    for _ in range(8):
        updater.update()
    assert updater.epoch == 2
    assert all(np.isfinite(grad).all() for grad in get_gradients(chain).values())
    iterator.finalize()


if __name__ == '__main__':
    case, *arguments = sys.argv[1:]
    comm = chainermn.create_communicator('naive')
    globals()[case](comm, *arguments)
    print(f'rank {comm.rank} of {comm.size}: {case} passed\n', end='')
