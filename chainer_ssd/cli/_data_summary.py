"""What ``chainer-ssd train`` prints of its data before the first iteration."""

from __future__ import annotations

import argparse

import chainer

from chainer_ssd.cli._load_data import TEST_SPLIT, TRAIN_SPLIT, TrainingData, print_classes
from chainer_ssd.inspection import inspect_datasets, inspect_voc


def print_data(args: argparse.Namespace, data: TrainingData, model: chainer.Chain) -> None:
    """Print the classes, and how many faults the data has."""
    print_classes(data.train, data.label_names)
    if data.splits is not None:
        report = inspect_datasets(
            data.splits.found,
            model,
            data.splits.choices,
            data.splits.all_names,
            data.splits.options['classes'],
            args.iou_thresh,
            reads_pixels=False,
        )
    elif args.dataset == 'voc':
        report = inspect_voc(
            args.root,
            model,
            args.train_split or TRAIN_SPLIT,
            args.test_split or TEST_SPLIT,
            data.label_names,
            args.iou_thresh,
            reads_pixels=False,
        )
    else:
        return
    print(f'{report.to_short_text()}. chainer-ssd check lists them')
