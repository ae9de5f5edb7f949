"""The trainer of ``chainer-ssd train``: examples, objective, optimizer and length."""

from __future__ import annotations

import argparse
import math
from typing import Any

import chainer

from chainer_ssd.cli._recipe import create_chain, create_optimizer, create_schedule
from chainer_ssd.cli._training_data import count_default_workers, create_iterator
from chainer_ssd.runtime import BestWeights, LossScaling, StopTrigger
from chainer_ssd.transforms import EncodeTransform


def create_trainer(
    args: argparse.Namespace,
    comm: Any,
    model: chainer.Chain,
    device: chainer.backend.Device,
    augmented: chainer.dataset.DatasetMixin,
    matched: chainer.dataset.DatasetMixin,
    n_image: int,
    best: BestWeights | None = None,
) -> chainer.training.Trainer:
    """Return the trainer, with its learning rate schedule and no other extension.

    ``n_image`` is the number of training images of all ranks. The training ends early if ``best``
    is stale.
    """
    examples = augmented  # ssd_loss matches and encodes inside
    if args.loss == 'multibox_loss':
        examples = chainer.datasets.TransformDataset(
            matched, EncodeTransform(model.coder.default_bbox, model.coder.variance)
        )
    workers = count_default_workers(comm) if args.workers is None else args.workers
    iterator = create_iterator(examples, args.batchsize, workers)

    chain, converter = create_chain(model, args, comm)
    chain.to_device(device)
    # The same length for any number of ranks with the same batch of all ranks.
    global_batch = args.batchsize * (1 if comm is None else comm.size)
    iteration = args.iteration or math.ceil(args.epoch * n_image / global_batch)
    optimizer = create_optimizer(args.model, chain, iteration, comm, args.lr)
    model.freeze(args.freeze)
    updater = chainer.training.StandardUpdater(iterator, optimizer, converter, device=device)
    trainer = chainer.training.Trainer(updater, StopTrigger(iteration, best), args.out)
    trainer.extend(create_schedule(args, iteration))
    if args.dtype == 'mixed16':
        trainer.extend(LossScaling(optimizer))
    return trainer
