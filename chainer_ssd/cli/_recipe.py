"""How ``chainer-ssd train`` trains each model: objective, optimizer, batch size and length."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import chainer

from chainer_ssd.links import GroundTruthConverter, MultiboxTrainChain, SSDLossChain
from chainer_ssd.runtime import CosineShift, NaNPolicy


class Recipe(NamedTuple):
    """The defaults for a model on a data set."""

    augmentation: str
    epoch: int
    batchsize: int
    rate_name: str  # the optimizer's attribute that the schedule sets
    peak_rate: float


def get_recipe(model: str, dataset: str) -> Recipe:
    """Return the recipe for ``--model`` on ``--dataset``."""
    if model != 'ssd_mini':
        return Recipe('ssd', 232, 32, 'lr', 1e-3)  # on VOC07+12: the paper's 120,000 iterations
    if dataset == 'shapes':
        return Recipe('flip', 3, 8, 'eta', 1)
    return Recipe('mild', 45, 8, 'eta', 1)


def create_chain(
    model: chainer.Chain, args: argparse.Namespace, comm: Any = None
) -> tuple[chainer.Chain, Callable[..., Any]]:
    """Return the model with its objective, and the converter that makes a batch for it.

    Raises
    ------
    ValueError
        If the objective does not support the matching.
    """
    if args.loss == 'multibox_loss':
        chain = MultiboxTrainChain(model, k=args.k, comm=comm)
        return chain, chainer.dataset.concat_examples
    if args.match_type == 'argmax':
        raise ValueError('--match-type argmax: ssd_loss has no such matching')
    chain = SSDLossChain(
        model,
        comm,
        neg_pos_ratio=args.k,
        overlap_threshold=args.iou_thresh,
        match_type=args.match_type,
    )
    return chain, GroundTruthConverter()


def create_optimizer(
    model_name: str, chain: chainer.Chain, comm: Any = None
) -> chainer.GradientMethod:
    """Return the optimizer for a model's chain. Over MPI all ranks then hold rank 0's weights."""
    if model_name == 'ssd_mini':
        optimizer = chainer.optimizers.Adam(alpha=0.016, weight_decay_rate=2e-3)
    else:
        optimizer = chainer.optimizers.MomentumSGD(lr=1e-3)
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


def create_schedule(recipe: Recipe, iteration: int) -> CosineShift:
    """Return the learning rate schedule: a rise over a tenth of the training, then a cosine."""
    return CosineShift(recipe.rate_name, recipe.peak_rate, iteration, warmup=iteration // 10)
