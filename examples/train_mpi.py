"""Train on many ranks with ChainerMN: equal gradients, snapshots, and a watchdog.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    mpiexec -n 2 python -m mpi4py examples/train_mpi.py --iteration 200 --out result

The gradients equal those of one process with the batches of all ranks, because the ranks agree on
the number of positives. Start the command again, and it continues from the newest snapshot.
"""

import argparse
import functools

import chainer
import chainermn
import numpy as np
from chainer.training import extensions

from chainer_ssd import (
    Augmentation,
    DetectionEvaluator,
    EncodeTransform,
    FlipTransform,
    MatchTransform,
    MeanOverRanks,
    MultiboxTrainChain,
    MultiNodeBatchNormalization,
    RandomTransformDataset,
    ShapesBboxDataset,
    Snapshot,
    SSDMini,
    Watchdog,
    save_detector,
)


def create_updater(args, comm, model, shapes):
    """Return an updater whose ranks divide each epoch among themselves."""
    data = RandomTransformDataset(
        shapes, Augmentation(FlipTransform()), seed=0, rank=comm.rank, size=comm.size
    )
    for transform in (MatchTransform, EncodeTransform):
        data = chainer.datasets.TransformDataset(data, transform(model.coder.default_bbox))
    iterator = chainer.iterators.SerialIterator(
        data, args.batchsize, order_sampler=RandomTransformDataset.next_epoch
    )
    chain = MultiboxTrainChain(model, comm=comm)  # comm: the number of positives of all ranks
    optimizer = chainermn.create_multi_node_optimizer(chainer.optimizers.Adam(2e-3), comm)
    optimizer.setup(chain)
    optimizer.update()  # sends rank 0's weights to all ranks, without a step
    return chainer.training.StandardUpdater(iterator, optimizer)


def train(args, comm, watchdog):
    """Train, and save the detector on rank 0."""
    np.random.seed(0)  # for the initial weights
    shapes = ShapesBboxDataset(1000, size=args.insize)
    test = ShapesBboxDataset(40, size=args.insize, seed=1)
    norm = functools.partial(MultiNodeBatchNormalization, comm=comm)
    model = SSDMini(len(shapes.label_names), args.insize, norm)
    model.use_preset('evaluate')

    updater = create_updater(args, comm, model, shapes)
    trainer = chainer.training.Trainer(updater, (args.iteration, 'iteration'), args.out)
    trainer.extend(watchdog)
    at_end = chainer.training.triggers.ManualScheduleTrigger(args.iteration, 'iteration')
    test_iterator = chainer.iterators.SerialIterator(test, 1, repeat=False, shuffle=False)
    evaluator = DetectionEvaluator(test_iterator, model, label_names=shapes.label_names, comm=comm)
    trainer.extend(evaluator, trigger=at_end)
    snapshot = Snapshot(args.out, comm)
    trainer.extend(snapshot, trigger=(args.snapshot_interval, 'iteration'))
    interval = max(1, args.iteration // 10), 'iteration'
    trainer.extend(MeanOverRanks(comm, interval))  # the log then holds the losses of all ranks
    if comm.rank == 0:
        trainer.extend(extensions.LogReport(trigger=interval))
        columns = ['iteration', 'main/loss', 'validation/main/map', 'elapsed_time']
        trainer.extend(extensions.PrintReport(columns), trigger=interval)
    iteration = snapshot.resume(trainer)  # after the last extension, before the first iteration
    if comm.rank == 0:
        print(f'{comm.size} ranks start after iteration {iteration or 0}', flush=True)
    trainer.run()
    if comm.rank == 0:
        save_detector(args.out, model, shapes.label_names)


def main():
    """Start the watchdog, then train. It ends the job on all ranks if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n\n')[0])
    parser.add_argument('--out', default='result', help='folder of detector and snapshots')
    parser.add_argument('--iteration', type=int, default=200)
    parser.add_argument('--batchsize', type=int, default=4, help='images of one rank')
    parser.add_argument('--insize', type=int, default=128, help='a multiple of 32')
    parser.add_argument('--snapshot-interval', type=int, default=50, help='in iterations')
    args = parser.parse_args()
    comm = chainermn.create_communicator('naive')  # 'pure_nccl' on GPUs
    with Watchdog(comm, timeout=600) as watchdog:
        train(args, comm, watchdog)


if __name__ == '__main__':
    main()
