"""Run on n ranks: what the count, the watchdog and an iteration cost.

``mpiexec -n N python -m mpi4py cost.py`` prints a row of a table: ranks; microseconds of the count
and of ``allreduce_obj`` (the quickest of many blocks, on the slowest rank); milliseconds of an
iteration of a small model with 4 images a rank, without and with the watchdog, in turns.
"""
import contextlib
import time

import chainer
import chainermn
import numpy as np

from chainer_ssd import MultiboxTrainChain, SSDMini
from chainer_ssd.distributed import PositiveCount
from chainer_ssd.extensions import Watchdog


def seconds(comm, call, n_call):
    """The slowest rank's mean time of a call."""
    comm.mpi_comm.Barrier()
    began = time.perf_counter()
    for _ in range(n_call):
        call()
    return max(comm.mpi_comm.allgather((time.perf_counter() - began) / n_call))


def make_step(comm):
    model = SSDMini(3, 64)
    chain = MultiboxTrainChain(model, comm=comm)
    optimizer = chainermn.create_multi_node_optimizer(chainer.optimizers.SGD(1e-4), comm)
    optimizer.setup(chain)
    optimizer.update()
    n_box = len(model.coder.default_bbox)
    rng = np.random.default_rng(comm.rank)
    batch = (rng.normal(size=(4, 3, 64, 64)).astype('f'),
             rng.normal(size=(4, n_box, 4)).astype('f'),
             (rng.random((4, n_box)) < 0.02).astype('i'))
    return lambda: optimizer.update(chain, *batch)


def main():
    comm = chainermn.create_communicator('naive')
    count = PositiveCount(comm)
    ours = 1e6 * min(seconds(comm, lambda: count.mean(17), 100) for _ in range(40))
    pickled = 1e6 * min(seconds(comm, lambda: comm.allreduce_obj(17.), 100) for _ in range(40))
    step, times = make_step(comm), {False: [], True: []}
    step()
    for i in range(12):
        watched = bool(i % 2)
        watchdog = Watchdog(comm, 600) if watched else contextlib.nullcontext()
        with watchdog:
            times[watched].append(1e3 * seconds(comm, step, 4))
    if comm.rank == 0:
        print(f'| {comm.size} | {ours:.1f} | {pickled:.1f} | {min(times[False]):.1f} | '
              f'{min(times[True]):.1f} |', flush=True)


if __name__ == '__main__':
    main()
