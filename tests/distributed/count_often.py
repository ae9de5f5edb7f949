"""Tests that counts use one duplicate of a communicator, and that chains can be copied.

``mpiexec -n N python -m mpi4py count_often.py``. MPICH allows 2,048 communicators.
"""

import copy

import chainer.links as L
import chainermn

from chainer_ssd import MultiboxTrainChain
from chainer_ssd.distributed import PositiveCount

N_COUNT = 3000


def main():
    comm = chainermn.create_communicator('naive')
    part = comm.split(0, comm.rank)
    for i in range(N_COUNT):
        assert PositiveCount(part).mean(i + part.rank) == i + (part.size - 1) / 2
    chain = MultiboxTrainChain(L.Linear(2, 2), comm=part)
    assert copy.deepcopy(chain).comm.mean(2) == 2
    for _ in range(N_COUNT):  # a duplicate is freed with its communicator
        part = comm.split(0, comm.rank)
        assert PositiveCount(part).mean(1) == 1
        part.mpi_comm.Free()
    if comm.rank == 0:
        print('counted and copied', flush=True)


if __name__ == '__main__':
    main()
