"""The objective of ``chainer-ssd train``, made of the parts that its options choose."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import chainer

from chainer_ssd.cli._objective_arguments import IOU_KINDS, as_typed
from chainer_ssd.functions import (
    L2,
    AllNegatives,
    Boxes,
    FocalLoss,
    HardExample,
    HardNegative,
    Images,
    IoULoss,
    MatchesAfterMining,
    MultiboxObjective,
    Positives,
    PositivesOfImages,
    RandomNegative,
    SigmoidCrossEntropy,
    SmoothL1,
    SoftmaxCrossEntropy,
)


def create_objective(args: argparse.Namespace, model: chainer.Chain) -> MultiboxObjective:
    """Return the objective that the options choose for a model.

    Raises
    ------
    ValueError
        If ``--class-weight`` does not fit the classes.
    """
    class_weight, n_class = args.class_weight, model.n_fg_class + 1
    if class_weight is not None and len(class_weight) == 2:
        class_weight = [class_weight[0], *[class_weight[1]] * model.n_fg_class]
    if class_weight is not None and len(class_weight) != n_class:
        raise ValueError(
            f'{as_typed("class_weight", args)}: expected {n_class} numbers, of the background and '
            f'of each of the {model.n_fg_class} classes, or 2, of the background and of every class'
        )
    coder = model.coder
    normalizers: dict[str, Callable[[], Any]] = {
        'positives': Positives,
        'matches_after_mining': MatchesAfterMining,
        'positives_of_images': PositivesOfImages,
        'images': Images,
        'boxes': Boxes,
    }
    localizations: dict[str, Callable[[], Any]] = {
        'smooth_l1': lambda: SmoothL1(args.smooth_l1_beta),
        'l2': L2,
        **{
            kind: functools.partial(IoULoss, kind, coder.default_bbox, coder.variance)
            for kind in IOU_KINDS
        },
    }
    confidences: dict[str, Callable[[], Any]] = {
        'softmax': lambda: SoftmaxCrossEntropy(class_weight, args.label_smoothing),
        'sigmoid': SigmoidCrossEntropy,
        'focal': lambda: FocalLoss(args.focal_gamma, args.focal_alpha),
    }
    # As Caffe, whose rank of negatives is the confidence loss.
    by = 'own class' if args.confidence == 'sigmoid' else 'background'
    minings: dict[str, Callable[[], Any]] = {
        'hard_negative': lambda: HardNegative(args.k, minimum=args.min_negatives, by=by),
        'hard_example': lambda: HardExample(args.sample_size, with_localization=True),
        'random': lambda: RandomNegative(args.k),
        'none': AllNegatives,
    }
    return MultiboxObjective(
        localizations[args.localization](),
        confidences[args.confidence](),
        minings[args.mining](),
        normalizers[args.normalizer](),
    )
