"""How train.py trains each model: optimizer, batch, length."""

from typing import NamedTuple

import chainer

from chainer_ssd import CosineShift, MultiboxTrainChain, NaNPolicy
from chainer_ssd.links import SSDLossChain, ground_truth_batch


class Recipe(NamedTuple):
    """The defaults of a model on a data set."""

    augmentation: str
    epoch: int
    batchsize: int
    rate: str  # the optimizer's attribute that rises and falls
    peak: float


def recipe_of(model, dataset):
    """The recipe of ``--model`` on ``--dataset``."""
    if model != 'ssd_mini':
        return Recipe('ssd', 232, 32, 'lr', 1e-3)  # of VOC07+12: the paper's 120,000 iterations
    if dataset == 'shapes':  # what is drawn anew needs little
        return Recipe('flip', 3, 8, 'eta', 1)
    return Recipe('mild', 45, 8, 'eta', 1)


def create_chain(model, args, comm=None):
    """The model with its objective, and what makes a batch for it."""
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
    return chain, ground_truth_batch


def create_optimizer(name, chain, comm=None):
    """The optimizer of a model's chain, ready for its first step."""
    if name == 'ssd_mini':
        optimizer = chainer.optimizers.Adam(alpha=0.016, weight_decay_rate=2e-3)
    else:
        optimizer = chainer.optimizers.MomentumSGD(lr=1e-3)
    if comm is not None:
        import chainermn

        optimizer = chainermn.create_multi_node_optimizer(optimizer, comm)
    optimizer.setup(chain)
    if name != 'ssd_mini':  # as in the paper's Caffe code
        for param in chain.params():
            param.update_rule.add_hook(
                double if param.name == 'b' else chainer.optimizer_hooks.WeightDecay(5e-4)
            )
    optimizer.add_hook(NaNPolicy())
    if comm is not None:
        optimizer.update()  # ChainerMN's first update sends rank 0's weights round, and no more
    return optimizer


def double(rule, param):
    """Biases learn twice as fast."""
    if param.grad is not None:
        param.grad *= 2


def schedule(recipe, iteration):
    """The learning rate: up in a tenth of the training, then down along a cosine."""
    return CosineShift(recipe.rate, recipe.peak, iteration, warmup=iteration // 10)
