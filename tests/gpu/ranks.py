"""Run on n ranks that share GPU 0: ``mpiexec -n N python -m mpi4py ranks.py CASE``."""

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


def batch(seed, n):
    rng = np.random.default_rng(seed)
    label = np.where(
        rng.random((n, N_BOX)) < 0.1 * (seed + 1), rng.integers(1, N_CLASS, (n, N_BOX)), 0
    ).astype('i')
    return (
        rng.normal(size=(n, 3, 4, 4)).astype('f'),
        rng.normal(size=(n, N_BOX, 4)).astype('f'),
        label,
    )


def gradients(chain, arrays):
    chain.cleargrads()
    chain(*(chain.device.send(array) for array in arrays)).backward()


def on_host(chain):
    return {name: chainer.backends.cuda.to_cpu(param.grad) for name, param in chain.namedparams()}


def assert_same(found, expected, rtol):
    assert found.keys() == expected.keys()
    for name in expected:
        scale = np.abs(expected[name]).max()
        assert scale > 0, name
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=rtol * scale, err_msg=name
        )


def shared_gpu(comm):
    """Ranks on one GPU; the gradients travel through the host, for NCCL takes a GPU a rank."""
    parts = [batch(rank, 2 + rank) for rank in range(comm.size)]
    alone = MultiboxTrainChain(Model())
    gradients(alone, [np.concatenate(arrays) for arrays in zip(*parts)])

    chain = MultiboxTrainChain(Model(), comm=comm)
    chain.to_device('@cupy:0')
    gradients(chain, parts[comm.rank])
    every_rank = comm.mpi_comm.allgather(on_host(chain))
    mean = {name: sum(grads[name] for grads in every_rank) / comm.size for name in every_rank[0]}
    assert_same(mean, on_host(alone), 1e-4)


def nccl(comm):
    """ChainerMN's own averaging, in both precisions and both ways of packing, and its BN."""
    alone = MultiboxTrainChain(Model())
    gradients(alone, batch(0, 3))
    for dtype, rtol in (None, 1e-4), (np.float16, 1e-2):
        for batched_copy in True, False:
            comm = chainermn.create_communicator('pure_nccl', allreduce_grad_dtype=dtype)
            comm.set_config('batched_copy', batched_copy)
            chain = MultiboxTrainChain(Model(), comm=comm)
            chain.to_device('@cupy:0')
            optimizer = chainermn.create_multi_node_optimizer(
                chainer.optimizers.SGD(0), comm
            ).setup(chain)
            arrays = [chain.device.send(array) for array in batch(0, 3)]
            for _ in range(2):  # the first call only sends the weights round
                optimizer.update(chain, *arrays)
            assert_same(on_host(chain), on_host(alone), rtol)
            comm.finalize()


def nccl_batch_normalization(comm):
    comm = chainermn.create_communicator('pure_nccl')
    alone, chain = MultiboxTrainChain(Model()), MultiboxTrainChain(Model(comm), comm=comm)
    with alone.model.init_scope():
        alone.model.bn = L.BatchNormalization(2 * (4 + N_CLASS))
    chain.to_device('@cupy:0')
    for each in alone, chain:
        gradients(each, batch(0, 3))
    assert_same(on_host(chain), on_host(alone), 1e-3)


def workers(comm, method):
    """Ranks with a CUDA context whose iterators start processes."""
    multiprocessing.set_start_method(method)
    chain = MultiboxTrainChain(Model(), comm=comm)
    chain.to_device('@cupy:0')  # the context is there before the workers
    optimizer = chainer.optimizers.SGD(1e-3).setup(chain)
    iterator = chainer.iterators.MultiprocessIterator(
        list(zip(*batch(comm.rank, 8))), 2, n_processes=2, shuffle=False
    )
    updater = chainer.training.StandardUpdater(iterator, optimizer, device='@cupy:0')
    for _ in range(8):
        updater.update()
    assert updater.epoch == 2
    assert all(np.isfinite(grad).all() for grad in on_host(chain).values())
    iterator.finalize()


if __name__ == '__main__':
    case, *arguments = sys.argv[1:]
    comm = chainermn.create_communicator('naive')
    globals()[case](comm, *arguments)
    print(f'rank {comm.rank} of {comm.size}: {case} holds\n', end='')
