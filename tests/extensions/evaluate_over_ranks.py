"""Run on n ranks: prints the mean average precision of a detector, digit by digit.

``mpiexec -n N python -m mpi4py evaluate_over_ranks.py [lose | repeat]``: with an argument, rank 0
loses an image, or also has one of another rank.
"""

import sys

import chainer
import chainermn
import numpy as np

from chainer_ssd import DetectionEvaluator, ShapesBboxDataset, SSDMini
from chainer_ssd.distributed import gather_shards


def main():
    comm = chainermn.create_communicator('naive')
    if sys.argv[1:]:
        return gather_wrong_shards(comm, sys.argv[1])
    data = ShapesBboxDataset(13, size=64, seed=0)
    np.random.seed(0)
    model = SSDMini(len(data.label_names), 64)
    model.use_preset('evaluate')
    iterator = chainer.iterators.SerialIterator(data, 1, repeat=False, shuffle=False)
    observation = DetectionEvaluator(iterator, model, label_names=data.label_names, comm=comm)()
    # Only rank 0 has a data set, as in ChainerCV's program for many GPUs.
    sent = DetectionEvaluator(
        None if comm.rank else iterator, model, label_names=data.label_names, comm=comm
    )()
    assert repr(sent) == repr(observation), comm.rank
    for rank, other in enumerate(comm.mpi_comm.allgather(observation)):
        assert repr(other) == repr(observation), rank
    if comm.rank == 0:
        print({name: float(value).hex() for name, value in sorted(observation.items())}, flush=True)
        alone = DetectionEvaluator(iterator, model, label_names=data.label_names)()
        assert repr(alone) == repr(observation)


def gather_wrong_shards(comm, mode):
    results = dict.fromkeys(range(comm.rank, 13, comm.size), 'detections')
    if comm.rank == 0 and mode == 'lose':
        del results[6]
    if comm.rank == 0 and mode == 'repeat':
        results[7] = 'detections'
    try:
        gather_shards(comm, results, 13)
    except RuntimeError as error:
        print(f'rank {comm.rank}: {error}\n', end='', flush=True)


if __name__ == '__main__':
    main()
