"""Trains an SSD on drawn shapes, or on one's own data in Pascal VOC's layout.

    chainer-ssd train --dataset shapes
    chainer-ssd train --dataset voc --root path/to/BCCD
    mpiexec -n 2 python -m mpi4py -m chainer_ssd train --communicator naive --batchsize 4

Over MPI --batchsize and --workers are those of one process, and the learning rate is the same for
any number of processes: raise it by hand (with Adam by about the root of their number) where they
are many.

The folder --out then holds model.npz (the weights) and model.json (what they are of), with which
chainer-ssd predict and chainer-ssd evaluate go on, result.json (the average precision on
the test split, and the diagnostics), the log, its curves loss.png and map.png; the snapshots, and options.json (what they
were made with). Interrupted by Ctrl-C, it says how to go on.
"""

import contextlib
import functools
import math
import os
import sys
import warnings

import chainer
import numpy as np

from chainer_ssd import DetectionEvaluator, EncodeTransform, MatchTransform, Watchdog
from chainer_ssd.cli._arguments import (
    natural,
    positive,
    ratio,
    scale,
    told_in_one_line,
    use_device,
)
from chainer_ssd.cli._recipe import create_chain, create_optimizer, recipe_of, schedule
from chainer_ssd.cli._reports import extend, save_result
from chainer_ssd.cli._resume import interruptible, options_of, resume, save_options
from chainer_ssd.cli._training_data import (
    AUGMENTATIONS,
    augment,
    create_iterator,
    default_workers,
    load_data,
)
from chainer_ssd.links import create_detector as create_model
from chainer_ssd.links.detector import MODELS

THREADS = 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'
INSIZE = {'shapes': 128, 'voc': 192}  # of ssd_mini


def run(args, parser):
    args = with_defaults(args)
    with told_in_one_line(parser):
        comm = create_communicator(args.communicator, args.gpu)
    rank = 0 if comm is None else comm.rank
    # Data workers may die anywhere; over MPI the watchdog tells all ranks whatever one meets.
    with told_in_one_line(parser, ()), Watchdog(comm, args.watchdog_timeout) as watchdog:
        with told_in_one_line(parser) if comm is None else contextlib.nullcontext():
            device = use_device(comm.intra_rank if comm is not None and args.gpu >= 0 else args.gpu)
            if os.path.exists(args.out) and not os.path.isdir(args.out):
                raise ValueError(f'--out {args.out}: not a folder')
            train, test, label_names = load_data(
                args.dataset, args.root, args.train_split, args.test_split
            )
            model = create_detector(args, comm, len(label_names))
            augmented = augment(
                train, args.augmentation, args.vertical_flip, model.insize, args.seed, comm
            )
            matched = chainer.datasets.TransformDataset(
                augmented,
                MatchTransform(
                    model.coder.default_bbox, args.iou_thresh, match_type=args.match_type
                ),
            )
            evaluator = DetectionEvaluator(
                chainer.iterators.SerialIterator(test, 1, repeat=False, shuffle=False),
                model,
                label_names,
                comm=comm,
            )
            trainer = create_trainer(args, comm, model, device, augmented, matched)
            trainer.extend(watchdog)
            extend(trainer, matched, test, evaluator, args, comm)
            options = options_of(args, model, label_names)
            resume(trainer, args, options, comm)
            if not rank:
                save_options(args.out, options)
        with interruptible(trainer, rank):
            trainer.run()
            figures = trainer.observation
            if 'validation/main/map' not in figures:  # it had come to its end before
                figures = {**evaluator(), **trainer.get_extension('MatchReport')()}
            if not rank:
                save_result(args.out, trainer, model, label_names, figures)


def add_arguments(parser):
    group = parser.add_argument_group('data')
    add = group.add_argument
    add(
        '--dataset',
        choices=('shapes', 'voc'),
        default='shapes',
        help='shapes: drawn on the fly; voc: the folder --root (%(default)s)',
    )
    add('--root', help='voc: the folder of Annotations/, ImageSets/ and JPEGImages/')
    add(
        '--train-split',
        default='trainval',
        help='voc: the list in ImageSets/Main/ to train on (%(default)s)',
    )
    add(
        '--test-split',
        default='test',
        help='voc: the list in ImageSets/Main/ to test on (%(default)s)',
    )
    add(
        '--augmentation',
        choices=AUGMENTATIONS,
        help="ssd: all of the paper's (when not given: of ssd300 and ssd512); mild: flips and a "
        'little zoom, for short trainings (ssd_mini on voc); flip: left to right (on shapes)',
    )
    add('--vertical-flip', action='store_true', help='where pictures have no up: cells, the sky')
    add(
        '--workers',
        type=natural,
        default=None,
        help='processes that make the examples, 0: this one; '
        'when not given: one for every two processors',
    )

    group = parser.add_argument_group('model and objective')
    add = group.add_argument
    add(
        '--model',
        choices=tuple(MODELS),
        default='ssd_mini',
        help="%(default)s, or one of the paper's",
    )
    add('--insize', type=int, help="ssd_mini: side of the network's input (shapes: 128, voc: 192)")
    add(
        '--box-scale',
        type=scale,
        default=1,
        help="factor of the default boxes' sides (%(default)s)",
    )
    add('--pretrained', help='ssd300, ssd512: an npz file of weights to begin with')
    add(
        '--loss',
        choices=('multibox_loss', 'ssd_loss'),
        default='multibox_loss',
        help="ChainerCV's objective, or PaddlePaddle's (%(default)s)",
    )
    add('--k', type=ratio, default=3, help='hard negatives for each positive (%(default)s)')
    add(
        '--iou-thresh',
        type=float,
        default=0.5,
        help='IoU from which a default box is a positive (%(default)s)',
    )
    add(
        '--match-type',
        choices=('per_prediction', 'bipartite', 'argmax'),
        default='per_prediction',
        help='see chainer_ssd.match (%(default)s)',
    )

    group = parser.add_argument_group('training')
    add = group.add_argument
    add(
        '--batchsize',
        type=positive,
        help='images of one process in an iteration (ssd_mini: 8, ssd300 and ssd512: 32)',
    )
    length = group.add_mutually_exclusive_group()
    length.add_argument('--iteration', type=positive, help='instead of --epoch')
    length.add_argument(
        '--epoch', type=positive, help='ssd_mini: 3 of shapes, 45 of voc; ssd300 and ssd512: 232'
    )
    add(
        '--seed',
        type=int,
        default=0,
        help='of the weights, the order of the images and their augmentation (%(default)s)',
    )
    add('--gpu', type=int, default=-1, help='CUDA device; -1: CPU; over MPI any other: one a rank')
    add('--communicator', help="under mpiexec: ChainerMN's naive, flat, pure_nccl, ...")
    add('--out', default='result', help='folder for whatever is written (%(default)s)')
    add('--resume', help='folder to go on from; auto: --out, or anew if it holds no snapshot')
    add('--snapshot-interval', type=positive, default=500, help='iterations (%(default)s)')
    add(
        '--watchdog-timeout',
        type=float,
        default=600,
        help='seconds without an iteration, or from a rank without a word, that end the job '
        '(%(default)s)',
    )


def with_defaults(args):
    """What was not given is as the recipe of the model has it."""
    recipe = recipe_of(args.model, args.dataset)
    args.augmentation = args.augmentation or recipe.augmentation
    args.batchsize = args.batchsize or recipe.batchsize
    if args.iteration is None:
        args.epoch = args.epoch or recipe.epoch
    return args


def create_communicator(name, gpu):
    if name is None:
        return None
    import chainermn  # needs mpi4py

    comm = chainermn.create_communicator(name)
    if not comm.rank and comm.intra_size > 1 and gpu < 0 and not any(map(os.environ.get, THREADS)):
        print(
            f'chainer-ssd train: {comm.intra_size} ranks on one host, and the NumPy of each '
            'wants all its cores: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 is faster',
            file=sys.stderr,
        )
    return comm


def create_detector(args, comm, n_fg_class):
    norm = None
    if comm is not None:
        from chainermn.links import MultiNodeBatchNormalization

        warnings.filterwarnings('ignore', '.*is experimental', FutureWarning)  # since 2018
        norm = functools.partial(MultiNodeBatchNormalization, comm=comm)
    insize = args.insize or (INSIZE[args.dataset] if args.model == 'ssd_mini' else None)
    np.random.seed(args.seed)  # the initial weights; whatever else is drawn has its own generator
    model = create_model(args.model, n_fg_class, insize, norm, args.pretrained, args.box_scale)
    model.use_preset('evaluate')
    return model


def create_trainer(args, comm, model, device, augmented, matched):
    examples = augmented  # ssd_loss matches and encodes by itself
    if args.loss == 'multibox_loss':
        examples = chainer.datasets.TransformDataset(
            matched, EncodeTransform(model.coder.default_bbox, model.coder.variance)
        )
    workers = default_workers(comm) if args.workers is None else args.workers
    iterator = create_iterator(examples, args.batchsize, workers)

    chain, converter = create_chain(model, args, comm)
    chain.to_device(device)
    optimizer = create_optimizer(args.model, chain, comm)
    iteration = args.iteration or math.ceil(args.epoch * len(augmented) / args.batchsize)
    updater = chainer.training.StandardUpdater(iterator, optimizer, converter, device=device)
    trainer = chainer.training.Trainer(updater, (iteration, 'iteration'), args.out)
    trainer.extend(schedule(recipe_of(args.model, args.dataset), iteration))
    return trainer
