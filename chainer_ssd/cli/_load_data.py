"""The images that ``chainer-ssd`` trains on, chooses a model by, and evaluates on."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_ssd.datasets import (
    BboxSubset,
    DataSplits,
    ShapesBboxDataset,
    VOCBboxDataset,
    open_datasets,
    open_stored_splits,
    read_label_names,
    save_splits,
    split_by_content,
)
from chainer_ssd.images import printable_name
from chainer_ssd.runtime import snapshot_files

SHAPES_INSIZE = 128
N_SHAPES_TRAIN, N_SHAPES_TEST = 2000, 200
TRAIN_SPLIT, TEST_SPLIT = 'trainval', 'test'
MAX_PRINTED_CLASSES = 40
SPLITS_FILE = 'data.json'
#: Options that describe --data, and what they are without it.
DATA_OPTIONS = ('format', 'classes', 'val_split', 'test_fraction')


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
    splits : DataSplits or None
        How the images were chosen. None without ``--data``.
    """

    train: Any
    val: Any
    test: Any
    label_names: Sequence[str]
    splits: DataSplits | None = None


def load_data(args: argparse.Namespace) -> TrainingData:
    """Return the images that the options of ``chainer-ssd train`` name.

    Raises
    ------
    ValueError
        If the options do not fit together, or no training image holds an object.
    """
    if args.data:
        return _load_found(args)
    for name in DATA_OPTIONS:
        if getattr(args, name) not in (None, 'auto'):
            option = name.replace('_', '-')
            raise ValueError(f'--{option} {getattr(args, name)} goes with --data')
    if args.dataset == 'shapes':
        for name in ('root', 'train_split', 'test_split', 'label_names'):
            if getattr(args, name) is not None:
                option = name.replace('_', '-')
                raise ValueError(
                    f'--{option} {getattr(args, name)} goes with --dataset voc or with --data'
                )
        data = load_shapes()
    else:
        data = _load_voc(args)
    if args.val is None:
        return data
    kept, held_out = split_by_content(data.train, args.val, args.split_seed)
    return data._replace(train=BboxSubset(data.train, kept), val=BboxSubset(data.train, held_out))


def record_splits(out: str, data: TrainingData) -> None:
    """Print what was found, and write which images are in which part."""
    path = os.path.join(out, SPLITS_FILE)
    if data.splits is None:
        with contextlib.suppress(FileNotFoundError):  # of another training, with --overwrite
            os.remove(path)
        return
    print(data.splits.describe())
    save_splits(data.splits, path)


def _load_found(args: argparse.Namespace) -> TrainingData:
    """Return the images of ``--data``: those of the training that is resumed, or new ones."""
    if args.root is not None:
        raise ValueError(f'--root {args.root} goes with --dataset voc, not with --data')
    label_names = None if args.label_names is None else read_label_names(args.label_names)
    classes = split_names(args.classes)
    folder = args.out if args.resume == 'auto' else args.resume
    file = None if folder is None else os.path.join(folder, SPLITS_FILE)
    if file is not None and snapshot_files(folder) and os.path.isfile(file):
        splits = open_stored_splits(file, args.data)
        _check_stored(args, file, splits, classes)
    else:
        splits = open_datasets(
            args.data,
            args.format,
            label_names,
            classes,
            args.train_split,
            args.val_split,
            args.test_split,
            args.val,
            args.test_fraction,
            args.split_seed,
        )
    check_objects(splits.train, f'{", ".join(args.data)}: ', 'in the training images')
    return TrainingData(splits.train, splits.val, splits.test, splits.label_names, splits)


def _check_stored(
    args: argparse.Namespace, file: str, splits: DataSplits, classes: Sequence[str] | None
) -> None:
    """Raise ``ValueError`` if the options ask for other images than those of the training."""
    given = {'val': args.val, 'test_fraction': args.test_fraction, 'seed': args.split_seed}
    given['classes'] = None if classes is None else list(classes)
    for key, value in given.items():
        if splits.options[key] != value:
            raise ValueError(
                f'{file}: the training that is resumed has {key} {splits.options[key]}, and '
                f'{value} is given. A resumed training keeps its images'
            )


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names of ``--classes bolt,nut``."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(',') if name.strip())
    if not names:
        raise ValueError(f'--classes {text!r}: expected names with a comma between them')
    return names


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
