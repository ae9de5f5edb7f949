"""The images that ``chainer-ssd`` trains on, chooses a model by, and evaluates on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_ssd.datasets import (
    BboxSubset,
    ShapesBboxDataset,
    VOCBboxDataset,
    read_label_names,
    split_by_content,
)
from chainer_ssd.images import printable_name

SHAPES_INSIZE = 128
N_SHAPES_TRAIN, N_SHAPES_TEST = 2000, 200
TRAIN_SPLIT, TEST_SPLIT = 'trainval', 'test'
MAX_PRINTED_CLASSES = 40


class TrainingData(NamedTuple):
    """The images of a training.

    Attributes
    ----------
    train : data set
        To train on. Without the images of ``val``.
    val : data set or None
        To choose a model by. Its images are in neither of the others. None if there are none.
    test : data set
        To evaluate on.
    label_names : tuple of str
        The classes.
    """

    train: Any
    val: Any
    test: Any
    label_names: Sequence[str]


def load_data(args: argparse.Namespace) -> TrainingData:
    """Return the images that the options of ``chainer-ssd train`` name.

    Raises
    ------
    ValueError
        If the options do not fit together, or no training image holds an object.
    """
    if args.dataset == 'shapes':
        for name in ('root', 'train_split', 'test_split', 'label_names'):
            if getattr(args, name) is not None:
                option = name.replace('_', '-')
                raise ValueError(f'--{option} {getattr(args, name)} goes with --dataset voc')
        data = load_shapes()
    else:
        data = _load_voc(args)
    if args.val is None:
        return data
    kept, held_out = split_by_content(data.train, args.val, args.split_seed)
    return data._replace(train=BboxSubset(data.train, kept), val=BboxSubset(data.train, held_out))


def load_shapes() -> TrainingData:
    """Return the images that the command draws."""
    train = ShapesBboxDataset(N_SHAPES_TRAIN, size=SHAPES_INSIZE, seed=0)
    test = ShapesBboxDataset(N_SHAPES_TEST, size=SHAPES_INSIZE, seed=1)
    return TrainingData(train, None, test, train.label_names)


def _load_voc(args: argparse.Namespace) -> TrainingData:
    if args.root is None:
        raise ValueError('--dataset voc needs --root')
    train_split, test_split = args.train_split or TRAIN_SPLIT, args.test_split or TEST_SPLIT
    label_names = None if args.label_names is None else read_label_names(args.label_names)
    train = VOCBboxDataset(
        args.root, train_split, label_names, return_difficult=True, dtype='uint8'
    )
    check_objects(train, f'{args.root}: ', f'in the images of {train_split}.txt')
    test = VOCBboxDataset(
        args.root, test_split, label_names=train.label_names, return_difficult=True
    )
    return TrainingData(train, None, test, train.label_names)


def check_objects(train: chainer.dataset.DatasetMixin, source: str, where: str) -> None:
    """Raise ``ValueError`` unless a training image holds an object that is not difficult."""
    n_object = n_difficult = 0
    for i in range(len(train)):
        bbox, _, difficult = train.get_annotation(i)
        n_object, n_difficult = n_object + len(bbox), n_difficult + int(difficult.sum())
    if n_object == n_difficult:
        reason = f'all {n_object} objects are difficult' if n_object else 'no object'
        raise ValueError(f'{source}{reason} {where}, expected some to train on')


def print_classes(dataset: chainer.dataset.DatasetMixin, label_names: Sequence[str]) -> None:
    """Print the classes of a training set with their numbers of objects and images."""
    n_image, n_object, n_difficult = (np.zeros(len(label_names), int) for _ in range(3))
    for i in range(len(dataset)):
        _, label, *difficult = dataset.get_annotation(i)
        n_object += np.bincount(label, minlength=len(label_names))
        n_image[np.unique(label)] += 1
        if difficult:
            n_difficult += np.bincount(label[difficult[0]], minlength=len(label_names))
    print(f'training on {len(dataset)} images with {n_object.sum()} objects of these classes:')
    for label, name in enumerate(label_names[:MAX_PRINTED_CLASSES]):
        text = f'  {printable_name(name)}: {n_object[label]} objects in {n_image[label]} images'
        print(text + (f', {n_difficult[label]} difficult' if n_difficult[label] else ''))
    if len(label_names) > MAX_PRINTED_CLASSES:
        print(f'  and {len(label_names) - MAX_PRINTED_CLASSES} more classes')


def describe_data(dataset: chainer.dataset.DatasetMixin) -> dict[str, Any]:
    """Return what a resumed training compares: the numbers of images and objects, and a hash."""
    n_object = sum(len(dataset.get_annotation(i)[0]) for i in range(len(dataset)))
    return {'images': len(dataset), 'objects': n_object, 'fingerprint': dataset.fingerprint}
