"""The options of ``chainer-ssd train`` and their defaults."""

from __future__ import annotations

import argparse

import chainer
import numpy as np

from chainer_ssd._options import check_fraction, check_positive_number
from chainer_ssd.cli._arguments import add_gpu_argument, add_limit_arguments, integer, number
from chainer_ssd.cli._data_arguments import add_data_arguments, add_split_arguments
from chainer_ssd.cli._load_data import TEST_SPLIT, TRAIN_SPLIT
from chainer_ssd.cli._objective_arguments import add_objective_arguments, fill_in_objective
from chainer_ssd.cli._recipe import get_recipe
from chainer_ssd.cli._training_data import AUGMENTATIONS
from chainer_ssd.links.detector import MODELS

N_SNAPSHOT, MAX_SNAPSHOT_INTERVAL = 10, 500
N_VALIDATION = 20  # per training, whatever its length
MAX_SEED = 2**32 - 1  # of NumPy's global generator


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``chainer-ssd train``."""
    _add_data_arguments(parser)
    _add_model_arguments(parser)
    add_objective_arguments(parser)
    _add_training_arguments(parser)


def fill_in_defaults(args: argparse.Namespace) -> argparse.Namespace:
    """Set the options that were not given to the values of the model's recipe."""
    if args.data:
        if args.dataset is not None:
            raise ValueError(f'--dataset {args.dataset} does not go with --data')
        args.dataset = 'voc'  # own data in any format has the same recipe
    args.dataset = args.dataset or 'shapes'
    recipe = get_recipe(args.model, args.dataset)
    args.augmentation = args.augmentation or recipe.augmentation
    args.batchsize = args.batchsize or recipe.batchsize
    args.schedule = args.schedule or recipe.schedule
    args.dtype = choose_dtype(args.dtype, args.gpu)
    fill_in_objective(args)
    if args.iteration is None:
        args.epoch = args.epoch or recipe.epoch
    return args


def choose_dtype(name: str | None, gpu: int) -> str:
    """Return the dtype of a training, given by ``--dtype`` or by Chainer's configuration.

    Raises
    ------
    ValueError
        If it is float16, or mixed16 on a CPU.
    """
    source = f'--dtype {name}'
    if name is None:
        dtype = chainer.global_config.dtype
        name = 'mixed16' if dtype is chainer.mixed16 else np.dtype(dtype).name
        source = f'CHAINER_DTYPE={name}'
    if name == 'float16':
        raise ValueError(f'{source}: small gradients would become 0. Give --dtype mixed16')
    if name == 'mixed16' and gpu < 0:
        raise ValueError(
            f'{source}: NumPy computes float16 many times slower than float32 on a CPU. '
            'Give --gpu 0, or --dtype float32'
        )
    return name


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group('data').add_argument
    add_data_arguments(add)
    add(
        '--dataset',
        choices=('shapes', 'voc'),
        help='shapes: images that the command draws. voc: your own data in the folder --root, in '
        "Pascal VOC's own layout. (default: shapes, without --data)",
    )
    add(
        '--root',
        metavar='FOLDER',
        help='for voc: the folder that holds Annotations/, ImageSets/ and JPEGImages/',
    )
    add(
        '--train-split',
        metavar='NAME',
        help='the list in ImageSets/Main/, or the split of --data, to train on. Change it if yours '
        f'has another name. (default: {TRAIN_SPLIT}, for --data also train)',
    )
    add(
        '--test-split',
        metavar='NAME',
        help='the list in ImageSets/Main/, or the split of --data, to test on. Change it if yours '
        f'has another name. (default: {TEST_SPLIT}, for --data also val)',
    )
    add(
        '--label-names',
        metavar='FILE',
        help='for voc and --data: text file with one class name per line, in the order of the '
        'labels. Give it if a class is missing in the training list, or to fix the order. '
        '(default: the names in the data)',
    )
    add_split_arguments(add)
    add(
        '--on-bad-image',
        choices=('error', 'skip'),
        default='error',
        help='what happens if an image cannot be read. skip: another image takes its place, and '
        'the end of the training names it. (default: %(default)s)',
    )
    add(
        '--augmentation',
        choices=AUGMENTATIONS,
        help='ssd: the complete augmentation of the paper, for long runs. mild: flips and a small '
        'zoom, for short runs. flip: horizontal flips. none: no augmentation. '
        '(default: flip for shapes, mild for ssd_mini on voc, ssd for ssd300 and ssd512)',
    )
    add(
        '--vertical-flip',
        action='store_true',
        help='also flip vertically. Use it if the images have no up and down, such as cells or '
        'the sky. (default: off)',
    )
    add(
        '--workers',
        type=integer(0),
        metavar='N',
        help='number of processes that prepare the examples, 0 for none. Raise it if data takes a '
        'large part of an iteration. The weights do not depend on it. '
        '(default: one per two processors)',
    )


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group('model').add_argument
    add(
        '--model',
        choices=tuple(MODELS),
        default='ssd_mini',
        help='ssd_mini: a small model that learns on a CPU. ssd300, ssd512: the models of the '
        'paper, for a GPU and pretrained weights. (default: %(default)s)',
    )
    add(
        '--insize',
        type=integer(1),
        metavar='N',
        help='for ssd_mini: side of the input in pixels, a multiple of 32. Raise it if the objects '
        'are small. (default: 128 for shapes, 192 for voc)',
    )
    add(
        '--box-scale',
        type=number(check_positive_number),
        default=1.0,
        metavar='X',
        help='factor of the sides of all default boxes. Change it if the default boxes do not fit '
        'the objects. (default: %(default)g)',
    )
    add(
        '--init',
        '--pretrained',
        dest='pretrained',
        metavar='PATH',
        help='weights to start from: the folder of a detector, an npz file of weights, or for '
        'ssd300 and ssd512 VGG-16 alone. Of other classes, the class part of each head starts '
        'anew. (default: random weights)',
    )
    add(
        '--freeze',
        type=integer(0),
        default=0,
        metavar='N',
        help='number of stages, from the input on, whose weights stay as they are. Give it with '
        '--init for few images: ssd_mini has 4 stages, ssd300 and ssd512 5. '
        '(default: %(default)s)',
    )
    add(
        '--fit-boxes',
        action='store_true',
        help='for ssd_mini: choose sizes and aspect ratios of the default boxes by the objects of '
        'the training images. Use it if less than 90 %% of the objects have a default box that '
        'fits. (default: off)',
    )


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('training')
    add = group.add_argument
    add(
        '--batchsize',
        type=integer(1),
        metavar='N',
        help='images per iteration of one process. Lower it if the memory is not enough, or for '
        'many ranks. (default: 8 for ssd_mini, 32 for ssd300 and ssd512)',
    )
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        '--iteration',
        type=integer(1),
        metavar='N',
        help='length of the training in iterations, instead of --epoch. Use it for short trials. '
        '(default: --epoch decides)',
    )
    length.add_argument(
        '--epoch',
        type=integer(1),
        metavar='N',
        help='length of the training in epochs. Raise it if the mAP still rises at the end. '
        '(default: 3 for shapes and 45 for voc with ssd_mini, 232 for ssd300 and ssd512)',
    )
    add(
        '--lr',
        type=number(check_positive_number),
        metavar='X',
        help='largest learning rate: of Adam for ssd_mini, of SGD with momentum for ssd300 and '
        'ssd512. Lower it for --init. (default: 0.016 for ssd_mini, 0.001 for ssd300 and ssd512)',
    )
    add(
        '--schedule',
        choices=('step', 'cosine'),
        help='step: the learning rate is divided by 10 at --lr-steps. cosine: it rises for a tenth '
        'of the training and then falls to 0. '
        '(default: cosine for ssd_mini, step for ssd300 and ssd512)',
    )
    add(
        '--lr-steps',
        metavar='N,N',
        help='for step: the iterations at which the learning rate is divided by 10, with commas '
        'between them. (default: 2/3 and 5/6 of the training)',
    )
    add(
        '--ema',
        type=number(check_fraction),
        metavar='X',
        help='evaluate and keep an exponential moving average of the weights, which forgets by '
        'this factor in an iteration, such as 0.99. Use it if the mAP varies between evaluations. '
        '(default: off)',
    )
    add(
        '--early-stopping',
        type=integer(1),
        metavar='N',
        help='end the training if the mAP on the validation images has not risen in this many of '
        f'its {N_VALIDATION} evaluations in a row. (default: off)',
    )
    add(
        '--dtype',
        choices=('float32', 'mixed16'),
        help='mixed16: float16 with float32 copies of the weights and a scaled loss, on a GPU. Use '
        'it to save time and memory. (default: float32, or what CHAINER_DTYPE states)',
    )
    add(
        '--tensorboard',
        action='store_true',
        help='also write the log for TensorBoard, into tensorboard/ of --out. Needs tensorboardX. '
        '(default: off)',
    )
    add(
        '--seed',
        type=integer(0, MAX_SEED),
        default=0,
        metavar='N',
        help='seed of the weights, the order of the images and their augmentation. Change it to '
        'measure the spread of the result. (default: %(default)s)',
    )
    add_gpu_argument(add, 'With --communicator, any number from 0 on gives each rank its own GPU. ')
    add(
        '--communicator',
        metavar='NAME',
        help="name of ChainerMN's communicator, such as naive or pure_nccl. Give it under mpiexec "
        'only. (default: none, one process)',
    )
    add(
        '--out',
        default='result',
        metavar='FOLDER',
        help='folder for the output. Give each training its own. (default: %(default)s)',
    )
    add(
        '--overwrite',
        action='store_true',
        help='start over in a folder --out that holds another training, and replace it. '
        '(default: such a folder is refused)',
    )
    add(
        '--resume',
        metavar='FOLDER',
        help='folder whose newest snapshot the training continues from. auto: the folder --out, or '
        'a new training if it holds no snapshot. (default: a new training)',
    )
    add(
        '--accept-changed-data',
        action='store_true',
        help='resume although boxes or names of the training data have changed since the snapshot. '
        '(default: that is refused)',
    )
    add(
        '--snapshot-interval',
        type=integer(1),
        metavar='N',
        help='iterations between two snapshots. Lower it if iterations are slow. '
        f'(default: a {N_SNAPSHOT}th of the training, at most {MAX_SNAPSHOT_INTERVAL})',
    )
    add(
        '--watchdog-timeout',
        type=number(check_positive_number),
        default=600.0,
        metavar='SECONDS',
        help='the job ends if it makes no progress, or if a rank sends nothing, for this long. '
        'Raise it if one evaluation takes longer. (default: %(default)g)',
    )
    add(
        '--watchdog-port',
        type=integer(0, 65535),
        default=0,
        metavar='N',
        help='TCP port on the host of rank 0 that the ranks connect to. Give it if a firewall '
        'opens certain ports only. (default: any free port)',
    )
    add(
        '--watchdog-interface',
        metavar='NAME',
        help='network interface or address of the host of rank 0 that the ranks connect to. Give '
        'it if the host has several networks. (default: all)',
    )
    add(
        '--no-watchdog',
        action='store_true',
        help='train without the watchdog, for example if the ranks cannot connect by TCP. A rank '
        'that fails may then block the others. (default: with the watchdog)',
    )
    add(
        '--use-07-metric',
        action='store_true',
        help='compute the AP as VOC 2007: the mean precision at recalls of 0, 0.1, ..., 1. '
        '(default: the area under the curve)',
    )
    add_limit_arguments(add)
