"""The options of the matching and the objective of ``chainer-ssd train``, and their defaults."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

from chainer_ssd._options import check_fraction, check_positive_number, check_ratio
from chainer_ssd.cli._arguments import integer, number, numbers

IOU_KINDS = ('iou', 'giou', 'diou', 'ciou')
NORMALIZERS = 'positives', 'matches_after_mining', 'positives_of_images', 'images', 'boxes'
#: The parts, and their default values.
PARTS = {
    'localization': 'smooth_l1',
    'confidence': 'softmax',
    'mining': 'hard_negative',
    'normalizer': 'positives',
    'alpha': 1.0,
}


class Number(NamedTuple):
    """An option that belongs to some choices of a part."""

    part: str
    choices: tuple[str, ...]
    default: Any


NUMBERS = {
    'smooth_l1_beta': Number('localization', ('smooth_l1',), 1.0),
    'class_weight': Number('confidence', ('softmax',), None),
    'label_smoothing': Number('confidence', ('softmax',), 0.0),
    'focal_gamma': Number('confidence', ('focal',), 2.0),
    'focal_alpha': Number('confidence', ('focal',), 0.25),
    'k': Number('mining', ('hard_negative', 'random'), 3.0),
    'min_negatives': Number('mining', ('hard_negative',), 0),
    'sample_size': Number('mining', ('hard_example',), 64),
}
#: Snapshots of a training with another objective are refused.
OBJECTIVE_OPTIONS = ('loss', *PARTS, *NUMBERS)


def add_objective_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the matching and the objective."""
    add = parser.add_argument_group('matching and objective').add_argument
    add(
        '--iou-thresh',
        type=number(check_fraction),
        default=0.5,
        metavar='X',
        help='IoU with a ground truth from which on a default box is positive. Lower it if many '
        'objects stay unmatched. (default: %(default)g)',
    )
    add(
        '--match-type',
        choices=('per_prediction', 'bipartite', 'argmax'),
        default='per_prediction',
        help='how default boxes are matched, see chainer_ssd.match. Change it to study the '
        'matching. (default: %(default)s)',
    )
    add(
        '--loss',
        choices=('multibox_loss', 'ssd_loss'),
        default='multibox_loss',
        help="multibox_loss: ChainerCV's objective, whose parts the options below replace. "
        "ssd_loss: PaddlePaddle's, to compare with it. (default: %(default)s)",
    )
    add(
        '--localization',
        choices=('smooth_l1', 'l2', *IOU_KINDS),
        help='loss of the offsets (smooth_l1, l2) or of the decoded boxes. Change it if the boxes '
        'are not exact enough. (default: smooth_l1)',
    )
    add(
        '--smooth-l1-beta',
        type=number(check_positive_number),
        metavar='X',
        help='difference at which smooth_l1 becomes linear. Lower it to weigh small differences '
        'more. (default: 1)',
    )
    add(
        '--confidence',
        choices=('softmax', 'sigmoid', 'focal'),
        help='loss of the classes. sigmoid: one binary decision per class. The detector still '
        'predicts with softmax. focal: less weight for boxes that are classified well. Try it in '
        'place of mining. (default: softmax)',
    )
    add(
        '--class-weight',
        type=numbers(check_ratio),
        metavar='X,X',
        help='for softmax: weights of the background and of each class, or of the background and '
        'of every class, with commas between them. Use it if a class is rare. (default: all 1)',
    )
    add(
        '--label-smoothing',
        type=number(check_fraction),
        metavar='X',
        help='for softmax: part of the target that is moved to all classes, such as 0.1. Use it '
        'if labels are not reliable. (default: 0)',
    )
    add(
        '--focal-gamma',
        type=number(check_ratio),
        metavar='X',
        help='for focal: exponent. Raise it to weigh easy boxes less. (default: 2)',
    )
    add(
        '--focal-alpha',
        type=number(check_fraction),
        metavar='X',
        help='for focal: weight of objects. That of the background is 1 - X. (default: 0.25)',
    )
    add(
        '--mining',
        choices=('hard_negative', 'hard_example', 'random', 'none'),
        help='boxes that contribute. hard_negative: positives, and the negatives of the largest '
        'loss. hard_example: the boxes of the largest loss. random: positives, and random '
        'negatives. none: all boxes. Change it to study the mining. '
        '(default: hard_negative, none for focal)',
    )
    add(
        '--k',
        type=number(check_ratio),
        metavar='X',
        help='for hard_negative and random: negatives per positive. Change it to study hard '
        'negative mining. (default: 3)',
    )
    add(
        '--min-negatives',
        type=integer(0),
        metavar='N',
        help='for hard_negative: smallest number of negatives of an image. Raise it if many images '
        'show no object. (default: 0)',
    )
    add(
        '--sample-size',
        type=integer(1),
        metavar='N',
        help='for hard_example: number of boxes of an image. Raise it for images with many '
        'objects. (default: 64)',
    )
    add(
        '--normalizer',
        choices=NORMALIZERS,
        help='what the losses are divided by, see chainer_ssd.functions. Change it to compare with '
        'another library. (default: positives, matches_after_mining for hard_example)',
    )
    add(
        '--alpha',
        type=number(check_ratio),
        metavar='X',
        help='weight of the localization loss. Change it with --localization, because the losses '
        'differ in size. (default: 1)',
    )


def fill_in_objective(args: argparse.Namespace) -> None:
    """Set the options of the objective that were not given. Those without effect become None.

    Raises
    ------
    ValueError
        If an option has no effect on the others, or does not go with them.
    """
    if args.loss == 'ssd_loss':
        for name in OBJECTIVE_OPTIONS[1:]:
            if name != 'k' and getattr(args, name) is not None:
                raise ValueError(f'{as_typed(name, args)} goes with --loss multibox_loss')
        args.k = NUMBERS['k'].default if args.k is None else args.k
        return
    if args.confidence == 'focal':
        args.mining = args.mining or 'none'
        if args.mining != 'none':
            raise ValueError(
                f'--mining {args.mining} does not go with --confidence focal, which weights all '
                'boxes by itself: expected --mining none'
            )
    if args.mining == 'hard_example':
        args.normalizer = args.normalizer or 'matches_after_mining'
    for name, default in PARTS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    for name, option in NUMBERS.items():
        has_effect = getattr(args, option.part) in option.choices
        if getattr(args, name) is None:
            setattr(args, name, option.default if has_effect else None)
        elif not has_effect:
            choices = ' or '.join(option.choices)
            raise ValueError(f'{as_typed(name, args)} goes with --{option.part} {choices}')


def read_objective(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objective of a training by its options. Earlier versions stored fewer of them."""
    stored = dict.fromkeys(OBJECTIVE_OPTIONS)
    stored.update((name, options[name]) for name in OBJECTIVE_OPTIONS if name in options)
    args = argparse.Namespace(**stored)
    fill_in_objective(args)
    return vars(args)


def as_typed(name: str, args: argparse.Namespace) -> str:
    """Return an option and its value as one types them."""
    value = getattr(args, name)
    values = value if isinstance(value, list) else [value]
    text = ','.join(f'{each:g}' if isinstance(each, float) else str(each) for each in values)
    return f'--{name.replace("_", "-")} {text}'
