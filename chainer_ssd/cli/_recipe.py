"""How ``chainer-ssd train`` trains each model: objective, optimizer, batch size and length."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import chainer

from chainer_ssd.cli._objective import create_objective
from chainer_ssd.links import GroundTruthConverter, MultiboxTrainChain, SSDLossChain
from chainer_ssd.runtime import CosineShift, NaNPolicy, StepShift

#: SSDMini's largest weight decay of an iteration, and the sum that longer trainings do not exceed.
MAX_WEIGHT_DECAY, TOTAL_WEIGHT_DECAY = 2e-3, 3.3


class Recipe(NamedTuple):
    """The defaults for a model on a data set."""

    augmentation: str
    epoch: int
    batchsize: int
    rate_name: str  # the optimizer's attribute that the schedule sets
    peak_rate: float
    schedule: str
    learning_rate: float  # of the optimizer


def get_recipe(model: str, dataset: str) -> Recipe:
    """Return the recipe for ``--model`` on ``--dataset``."""
    if model != 'ssd_mini':
        # On VOC07+12 these are the paper's 120,000 iterations.
        return Recipe('ssd', 232, 32, 'lr', 1e-3, 'step', 1e-3)
    if dataset == 'shapes':
        return Recipe('flip', 3, 8, 'eta', 1, 'cosine', 0.016)
    return Recipe('mild', 45, 8, 'eta', 1, 'cosine', 0.016)


def create_chain(
    model: chainer.Chain, args: argparse.Namespace, comm: Any = None
) -> tuple[chainer.Chain, Callable[..., Any]]:
    """Return the model with its objective, and the converter that makes a batch for it.

    Raises
    ------
    ValueError
        If the objective does not support the matching, or does not fit the classes.
    """
    if args.loss == 'multibox_loss':
        objective = create_objective(args, model)
        chain = MultiboxTrainChain(model, args.alpha, comm=comm, objective=objective)
        return chain, chainer.dataset.concat_examples
    if args.match_type not in ('per_prediction', 'bipartite'):
        raise ValueError(f'--match-type {args.match_type}: ssd_loss has no such matching')
    chain = SSDLossChain(
        model,
        comm,
        neg_pos_ratio=args.k,
        overlap_threshold=args.iou_thresh,
        match_type=args.match_type,
    )
    return chain, GroundTruthConverter()


def create_optimizer(
    model_name: str,
    chain: chainer.Chain,
    iteration: int,
    comm: Any = None,
    lr: float | None = None,
) -> chainer.GradientMethod:
    """Return the optimizer for a model's chain, and for a training of some iterations.

    Over MPI all ranks then hold rank 0's weights.
    """
    lr = get_recipe(model_name, 'voc').learning_rate if lr is None else lr
    if model_name == 'ssd_mini':
        # lambda = min(0.002, 3.3 / T) for T iterations. A weight is about the moving average of its
        # last 1 / lambda updates (Wang and Aitchison, "How to set AdamW's weight decay as you scale
        # model and dataset size" (2024)). With a constant, a longer training learns no more.
        decay = min(MAX_WEIGHT_DECAY, TOTAL_WEIGHT_DECAY / iteration)
        optimizer = chainer.optimizers.Adam(alpha=lr, weight_decay_rate=decay)
    else:
        optimizer = chainer.optimizers.MomentumSGD(lr=lr)
    if comm is not None:
        import chainermn

        optimizer = chainermn.create_multi_node_optimizer(optimizer, comm)
    optimizer.setup(chain)
    if model_name != 'ssd_mini':  # as in the paper's Caffe code
        for param in chain.params():
            param.update_rule.add_hook(
                double_gradient if param.name == 'b' else chainer.optimizer_hooks.WeightDecay(5e-4)
            )
    optimizer.add_hook(NaNPolicy())
    if comm is not None:
        optimizer.update()  # ChainerMN's first update sends rank 0's weights and does no step
    return optimizer


def double_gradient(rule: chainer.UpdateRule, param: chainer.Parameter) -> None:
    """Double the gradient of a bias."""
    if param.grad is not None:
        param.grad *= 2


def create_schedule(args: argparse.Namespace, iteration: int) -> CosineShift | StepShift:
    """Return the learning rate schedule for a training of some iterations.

    Raises
    ------
    ValueError
        If ``--lr-steps`` do not fit.
    """
    recipe = get_recipe(args.model, args.dataset)
    peak_rate = recipe.peak_rate
    if recipe.rate_name == 'lr' and args.lr is not None:
        peak_rate = args.lr
    if args.schedule == 'cosine':
        if args.lr_steps is not None:
            raise ValueError(f'--lr-steps {args.lr_steps} goes with --schedule step')
        return CosineShift(recipe.rate_name, peak_rate, iteration, warmup=iteration // 10)
    if args.lr_steps is None:  # the paper's 80,000 and 100,000 of 120,000
        steps = sorted({max(1, iteration * 2 // 3), max(1, iteration * 5 // 6)})
        return StepShift(recipe.rate_name, peak_rate, steps)
    try:
        return StepShift(recipe.rate_name, peak_rate, [int(n) for n in args.lr_steps.split(',')])
    except ValueError:
        raise ValueError(
            f'--lr-steps {args.lr_steps}: expected iterations in ascending order with commas '
            'between them, such as 80000,100000'
        ) from None
