"""The same training with ChainerMN and ChainerCV's loss, or with this package.

``mpiexec -n N python -m mpi4py comparison.py (chainermn | ours) OUT [options]``. The way
``chainermn`` sums positives by ``comm.allreduce_obj`` and has a data set per rank. Its snapshots
are those of ChainerMN's checkpointer, and its average precision is a mean over ranks.
"""

import argparse
import os
import random
import signal

import chainer
import chainer.functions as F
import chainermn
import numpy as np

from chainer_ssd import DetectionEvaluator, MultiboxTrainChain
from chainer_ssd.runtime import Snapshot, Watchdog
from chainer_ssd.transforms import RandomTransformDataset

N_BOX, N_CLASS, BATCH = 18, 4, 2
N_IMAGE = 21
UNEQUAL = 12, 9  # images of rank 0 and of the others: 6 and 5 iterations an epoch
TIMEOUT_SECONDS = 5


class Model(chainer.Chain):
    """A convolution with the output layout of ChainerCV's Multibox."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.conv = chainer.links.Convolution2D(3, 2 * (4 + N_CLASS), 3, pad=1)

    def forward(self, imgs):
        h = F.transpose(self.conv(F.dropout(imgs, 0.1)), (0, 2, 3, 1))
        h = F.reshape(h, (len(imgs), -1, 4 + N_CLASS)) * (1 + 0.01 * random.gauss(0, 1))
        return h[:, :, :4], h[:, :, 4:]


class ChainerCVChain(chainer.Chain):
    """ChainerCV's loss, written again. The count is a pickled object."""

    def __init__(self, model, comm):
        super().__init__()
        self.comm = comm
        with self.init_scope():
            self.model = model

    def forward(self, imgs, gt_mb_locs, gt_mb_labels):
        mb_locs, mb_confs = self.model(imgs)
        positive = gt_mb_labels > 0
        n = self.comm.allreduce_obj(positive.sum()) / self.comm.size
        loc_loss = F.sum(F.huber_loss(mb_locs, gt_mb_locs, 1, reduce='no'), 2)
        conf_loss = F.reshape(
            F.softmax_cross_entropy(
                F.reshape(mb_confs, (-1, N_CLASS)), gt_mb_labels.ravel(), reduce='no'
            ),
            positive.shape,
        )
        # Positives come last. A negative is hard if fewer than 3 n_i have a larger loss.
        order = np.where(positive, 1, -conf_loss.array).argsort(1).argsort(1)
        hard = ~positive & (order < 3 * positive.sum(1, keepdims=True))
        loss = (F.sum(loc_loss * positive) + F.sum(conf_loss * (positive | hard))) / n
        chainer.report({'loss': loss}, self)
        return loss


def make_examples(rng, n):
    labels = (rng.random((n, N_BOX)) < 0.3) * rng.integers(1, N_CLASS, (n, N_BOX))
    return list(
        zip(
            rng.normal(size=(n, 3, 3, 3)).astype('f'),
            rng.normal(size=(n, N_BOX, 4)).astype('f'),
            labels.astype('i'),
        )
    )


def identity(example, rng):
    return example


def make_trainer(args, comm):
    ours = args.way == 'ours'
    np.random.seed(comm.rank)
    random.seed(comm.rank)
    if ours and not args.unequal:
        data = RandomTransformDataset(
            make_examples(np.random.default_rng(0), N_IMAGE), identity, 0, comm.rank, comm.size
        )
        iterator = chainer.iterators.SerialIterator(data, BATCH, order_sampler=data.next_epoch)
    else:
        n = UNEQUAL[min(comm.rank, 1)] if args.unequal else N_IMAGE // comm.size
        iterator = chainer.iterators.SerialIterator(
            make_examples(np.random.default_rng(comm.rank), n), BATCH
        )
    chain = MultiboxTrainChain(Model(), comm=comm) if ours else ChainerCVChain(Model(), comm)
    optimizer = chainermn.create_multi_node_optimizer(chainer.optimizers.Adam(), comm)
    optimizer.setup(chain)
    if ours:
        optimizer.update()  # the first call only broadcasts rank 0's weights
    updater = chainer.training.StandardUpdater(
        iterator, optimizer, converter=lambda batch, device: convert(args, comm, updater, batch)
    )
    trainer = chainer.training.Trainer(updater, (3, 'epoch'), args.out)
    if args.sum:
        trainer.extend(
            lambda trainer: print(f'sum of 1.0: {comm.allreduce_obj(1.0)}', flush=True),
            trigger=(1, 'epoch'),
        )
    if args.kill:
        trainer.extend(
            lambda trainer: (
                trainer.updater.iteration == args.kill and os.kill(os.getpid(), signal.SIGKILL)
            ),
            priority=-200,
        )
    return trainer, optimizer


def convert(args, comm, updater, batch):
    """Return the arrays of a batch. With ``--empty``, rank 1's fifth batch has no image."""
    arrays = chainer.dataset.concat_examples(batch)
    if args.empty and comm.rank == 1 and updater.iteration == 4:
        arrays = tuple(array[:0] for array in arrays)
    return arrays


def train(args, comm, watchdog=None):
    trainer, optimizer = make_trainer(args, comm)
    if watchdog is not None:
        trainer.extend(watchdog)
        snapshot = Snapshot(args.out, comm)
        trainer.extend(snapshot, trigger=(2, 'iteration'))
        if args.resume:
            snapshot.resume(trainer)
    elif args.kill or args.resume:
        checkpointer = chainermn.create_multi_node_checkpointer('chainermn', comm, path=args.out)
        trainer.extend(checkpointer, trigger=(2, 'iteration'))
        if args.resume:
            checkpointer.maybe_load(trainer, optimizer)
    first = trainer.updater.iteration
    trainer.run()
    if comm.rank == 0:
        chainer.serializers.save_npz(os.path.join(args.out, 'weights.npz'), optimizer.target)
        print(f'done: {first} to {trainer.updater.iteration}', flush=True)


class Detector(chainer.Link):
    """Detector that returns prepared detections. An image's first pixel is its index."""

    def __init__(self, detections):
        super().__init__()
        self.detections = detections

    def predict(self, imgs):
        return tuple(map(list, zip(*(self.detections[int(img[0, 0, 0])] for img in imgs))))


def evaluate(args, comm):
    rng, examples, detections = np.random.default_rng(1), [], []
    for i, n in enumerate(rng.integers(0, 5, 24)):
        corner = rng.uniform(0, 60, (n, 2))
        bbox = np.hstack([corner, corner + rng.uniform(8, 40, (n, 2))]).astype('f')
        label = rng.integers(0, 3, n).astype('i')
        examples.append((np.full((3, 4, 4), i, 'f'), bbox, label))
        keep = np.concatenate([np.arange(n), rng.integers(0, n, n)]).astype('i')
        detections.append(
            (
                bbox[keep] + rng.normal(0, 3, (2 * n, 4)).astype('f'),
                label[keep],
                rng.random(2 * n).astype('f'),
            )
        )
    names = ['a', 'b', 'c']
    shard, options = examples, {'comm': comm}
    if args.way == 'chainermn':
        shard, options = chainermn.scatter_dataset(examples, comm), {}
    iterator = chainer.iterators.SerialIterator(shard, 1, repeat=False, shuffle=False)
    evaluator = DetectionEvaluator(iterator, Detector(detections), label_names=names, **options)
    if args.way == 'chainermn':
        evaluator = chainermn.create_multi_node_evaluator(evaluator, comm)
    found = evaluator()
    if comm.rank == 0:
        print(f'mAP {float(found["main/map"])!r}', flush=True)


def main():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add('way', choices=('chainermn', 'ours'))
    add('out')
    add('--unequal', action='store_true', help='data sets of unequal length')
    add('--sum', action='store_true', help='an extension sums 1.0 over ranks after each epoch')
    add('--empty', action='store_true', help='a batch of rank 1 holds no image')
    add('--kill', type=int, default=0, help='after so many iterations')
    add('--resume', action='store_true')
    add('--evaluate', action='store_true')
    args = parser.parse_args()
    comm = chainermn.create_communicator('naive')
    if args.evaluate:
        evaluate(args, comm)
    elif args.way == 'ours':
        with Watchdog(comm, TIMEOUT_SECONDS) as watchdog:
            train(args, comm, watchdog)
    else:
        train(args, comm)


if __name__ == '__main__':
    main()
