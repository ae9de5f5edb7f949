"""Trains SSDMini on drawn shapes, or on one's own data in Pascal VOC's layout.

    python examples/train.py --dataset shapes
    python examples/train.py --dataset voc --root path/to/BCCD
    mpiexec -n 2 python -m mpi4py examples/train.py --communicator naive --batchsize 4

Over MPI --batchsize is that of one process, and the learning rate is the same for any number of
processes: raise it by hand (with Adam by about the root of their number) where they are many.

The folder --out then holds model.npz (the weights), label_names.json and result.json (the average
precision on the test split), beside the log and the snapshots.
"""
import argparse
import contextlib
import functools
import importlib.metadata
import json
import math
import os
import platform
import shlex
import sys

import chainer
import numpy as np
from chainer.training import extensions, triggers
from ssd_loss_chain import SSDLossChain, ground_truth_batch

from chainer_ssd import (
    CosineShift,
    DetectionEvaluator,
    EncodeTransform,
    FlipTransform,
    MatchTransform,
    MeanOverRanks,
    MultiboxTrainChain,
    NaNPolicy,
    RandomTransformDataset,
    ResizeTransform,
    ShapesBboxDataset,
    Snapshot,
    SSDMini,
    VOCBboxDataset,
    Watchdog,
)

INSIZE = {'shapes': 128, 'voc': 192}
EPOCH = {'shapes': 3, 'voc': 15}


def main():
    parser = create_parser()
    args = parser.parse_args()
    try:
        comm = create_communicator(args.communicator)
    except (ImportError, ValueError) as error:
        exit_(parser, error)
    with Watchdog(comm, args.watchdog_timeout) if comm else contextlib.nullcontext() as watchdog:
        try:
            train, test, label_names = load_data(args)
            model = create_model(args, comm, len(label_names))
            trainer = create_trainer(args, comm, model, train)
            evaluator = DetectionEvaluator(
                chainer.iterators.SerialIterator(test, 1, repeat=False, shuffle=False),
                model, label_names, comm=comm)
            extend(trainer, evaluator, args, comm, watchdog)
            if args.resume:
                resume(trainer, args, comm)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            if comm is not None:
                raise  # the watchdog tells all ranks
            exit_(parser, error)
        trainer.run()
        observation = evaluator()
        if comm is None or comm.rank == 0:
            save_result(args, trainer, model, label_names, observation)


def exit_(parser, error):
    parser.exit(2, f'{parser.prog}: error: {" ".join(str(error).split())}\n')


def create_parser():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('--dataset', choices=('shapes', 'voc'), default='shapes')
    add('--loss', choices=('multibox_loss', 'ssd_loss'), default='multibox_loss',
        help='ChainerCV\'s interface, or PaddlePaddle\'s')
    add('--root', help='voc: the folder of Annotations/, ImageSets/ and JPEGImages/')
    add('--train-split', default='trainval', help='voc: the list in ImageSets/Main/ to train on')
    add('--test-split', default='test', help='voc: the list in ImageSets/Main/ to test on')
    add('--insize', type=int, help='side of the network\'s input (shapes: 128, voc: 192)')
    add('--batchsize', type=positive, default=8, help='images of one process in an iteration')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--iteration', type=positive)
    length.add_argument('--epoch', type=positive, help='default: shapes 3, voc 15')
    add('--gpu', type=int, default=-1, help='CUDA device; -1: CPU; over MPI any other: one a rank')
    add('--communicator', help='under mpiexec: ChainerMN\'s naive, flat, pure_nccl, ...')
    add('--out', default='result', help='folder for whatever is written')
    add('--resume', help='folder to go on from; auto: --out, or anew if it holds no snapshot')
    add('--snapshot-interval', type=positive, default=500, help='iterations')
    add('--watchdog-timeout', type=float, default=600,
        help='over MPI: seconds after which a frozen or stalled rank ends the job')
    add('--seed', type=int, default=0)
    return parser


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text}: expected 1 or more')
    return value


def create_communicator(name):
    if name is None:
        return None
    import chainermn  # needs mpi4py
    return chainermn.create_communicator(name)


def load_data(args):
    """Training set, test set, label names."""
    if args.dataset == 'shapes':
        train = ShapesBboxDataset(2000, size=128, seed=0)
        return train, ShapesBboxDataset(200, size=128, seed=1), train.label_names
    if args.root is None:
        raise ValueError('--dataset voc needs --root')
    train = VOCBboxDataset(args.root, args.train_split)
    test = VOCBboxDataset(
        args.root, args.test_split, label_names=train.label_names, return_difficult=True)
    return train, test, train.label_names


def create_model(args, comm, n_fg_class):
    options = {}
    if comm is not None:
        from chainermn.links import MultiNodeBatchNormalization
        options['norm'] = functools.partial(MultiNodeBatchNormalization, comm=comm)
    np.random.seed(args.seed)  # the initial weights; whatever else is drawn has its own generator
    model = SSDMini(n_fg_class, args.insize or INSIZE[args.dataset], **options)
    model.use_preset('evaluate')
    return model


def create_trainer(args, comm, model, train):
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    train = RandomTransformDataset(train, FlipTransform(), args.seed, rank, size)
    next_epoch = train.next_epoch
    transforms = [ResizeTransform(model.insize)]
    if args.loss == 'multibox_loss':  # the other matches and encodes by itself
        transforms += [MatchTransform(model.coder.default_bbox),
                       EncodeTransform(model.coder.default_bbox)]
    for transform in transforms:
        train = chainer.datasets.TransformDataset(train, transform)
    # Its threads read ahead while NumPy computes.
    iterator = chainer.iterators.MultithreadIterator(
        train, args.batchsize, n_threads=2, order_sampler=next_epoch)

    gpu = comm.intra_rank if comm is not None and args.gpu >= 0 else args.gpu
    device = chainer.get_device(gpu)
    device.use()
    if args.loss == 'multibox_loss':
        chain, converter = MultiboxTrainChain(model, comm=comm), chainer.dataset.concat_examples
    else:
        chain, converter = SSDLossChain(model, comm), ground_truth_batch
    chain.to_device(device)
    optimizer = chainer.optimizers.Adam(alpha=0.016, weight_decay_rate=1e-4)
    if comm is not None:
        import chainermn
        optimizer = chainermn.create_multi_node_optimizer(optimizer, comm)
    optimizer.setup(chain)
    optimizer.add_hook(NaNPolicy())
    if comm is not None:
        optimizer.update()  # ChainerMN's first update sends rank 0's weights round, and no more

    epoch = args.epoch or EPOCH[args.dataset]
    iteration = args.iteration or math.ceil(epoch * len(train) / args.batchsize)
    updater = chainer.training.StandardUpdater(iterator, optimizer, converter, device=device)
    trainer = chainer.training.Trainer(updater, (iteration, 'iteration'), args.out)
    trainer.extend(CosineShift('eta', 1, iteration, warmup=iteration // 10))
    return trainer


def extend(trainer, evaluator, args, comm, watchdog):
    iteration = trainer.stop_trigger.period
    interval = max(1, iteration // 20), 'iteration'
    trainer.extend(evaluator, trigger=triggers.ManualScheduleTrigger(
        [iteration * quarter // 4 for quarter in (1, 2, 3)], 'iteration'))
    trainer.extend(Snapshot(args.out, comm), trigger=(args.snapshot_interval, 'iteration'))
    if comm is not None:
        trainer.extend(watchdog)
        trainer.extend(MeanOverRanks(comm, interval))
    if comm is None or comm.rank == 0:
        trainer.extend(extensions.LogReport(trigger=interval))
        trainer.extend(extensions.PrintReport(
            ['epoch', 'iteration', 'main/loss', 'main/loss/loc', 'main/loss/conf',
             'validation/main/map', 'elapsed_time']), trigger=interval)
        trainer.extend(extensions.ProgressBar(update_interval=10))


def resume(trainer, args, comm):
    folder = args.out if args.resume == 'auto' else args.resume
    if Snapshot(folder, comm).resume(trainer) is None and args.resume != 'auto':
        raise ValueError(f'--resume {folder}: no snapshot of such a training')


def save_result(args, trainer, model, label_names, observation):
    ap = {name: observation[f'validation/main/ap/{name}'] for name in label_names}
    result = {
        'map': none_if_nan(observation['validation/main/map']),
        'ap': {name: none_if_nan(value) for name, value in ap.items()},
        'seconds': trainer.elapsed_time,
        'iteration': trainer.updater.iteration,
        'insize': model.insize,
        'command': shlex.join([os.path.basename(sys.executable), *sys.argv]),
        'versions': {
            'python': platform.python_version(),
            **{name: importlib.metadata.version(name)
               for name in ('numpy', 'chainer', 'chainer_ssd')},
        },
    }
    chainer.serializers.save_npz(os.path.join(args.out, 'model.npz'), model)
    for name, content in (('label_names', list(label_names)), ('result', result)):
        with open(os.path.join(args.out, f'{name}.json'), 'w', encoding='utf-8') as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
    for name, value in ap.items():
        print(f'AP  {value:.4f}  {name}')
    print(f'mAP {observation["validation/main/map"]:.4f} after {trainer.elapsed_time:.0f} s; '
          f'see {args.out}')


def none_if_nan(value):
    return None if math.isnan(value) else float(value)


if __name__ == '__main__':
    main()
