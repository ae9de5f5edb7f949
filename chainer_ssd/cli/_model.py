"""The model that ``chainer-ssd train`` starts from."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd.cli._arguments import limit_detections
from chainer_ssd.cli._start import choose_default_boxes, describe_loaded
from chainer_ssd.links import MultiNodeBatchNormalization, create_detector, load_pretrained

N_GENERATION, N_MOMENT = 3, 2  # of snapshots that are kept, of Adam
SSD_MINI_INSIZE = {'shapes': 128, 'voc': 192}


def create_model(
    args: argparse.Namespace,
    comm: Any,
    label_names: Sequence[str],
    train: Any,
    notes: list[str],
) -> chainer.Chain:
    """Return the untrained model, with normalization over all ranks if there are several.

    What it starts from is added to ``notes``.
    """
    norm = None
    if comm is not None:
        norm = functools.partial(MultiNodeBatchNormalization, comm=comm)
    insize = args.insize or (SSD_MINI_INSIZE[args.dataset] if args.model == 'ssd_mini' else None)
    boxes = choose_default_boxes(args, train, insize, notes)
    # For the initial weights. Everything else that is random has its own generator.
    np.random.seed(args.seed)
    model = create_detector(
        args.model, len(label_names), insize, norm, box_scale=args.box_scale, **boxes
    )
    if args.pretrained is not None:
        kept = load_pretrained(args.pretrained, model, label_names)
        notes.append(describe_loaded(args.pretrained, model, kept))
    if args.freeze > len(model.stages):
        raise ValueError(
            f'--freeze {args.freeze}: {args.model} has {len(model.stages)} stages. '
            'Give one of them at most'
        )
    model.use_preset('evaluate')
    limit_detections(model, args)
    return model


def snapshot_bytes(model: chainer.Chain) -> int:
    """Return about how many bytes the snapshots of a training need on rank 0's disk."""
    n_byte = sum(
        param.size * param.dtype.itemsize for param in model.params() if param.is_initialized
    )
    return (N_GENERATION + 1) * (1 + N_MOMENT) * n_byte
