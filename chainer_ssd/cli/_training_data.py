"""What ``chainer-ssd train`` trains on: data sets, their augmentation, and worker processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import chainer

from chainer_ssd.datasets import ShapesBboxDataset, VOCBboxDataset
from chainer_ssd.images import set_opencv_threads
from chainer_ssd.transforms import (
    Augmentation,
    FlipTransform,
    MildAugmentation,
    RandomTransformDataset,
    ResizeTransform,
    SSDAugmentation,
)

AUGMENTATIONS = ('ssd', 'mild', 'flip', 'none')
SHAPES_INSIZE = 128
N_SHAPES_TRAIN, N_SHAPES_TEST = 2000, 200
N_PREFETCH = 2
# Other examples have more ground truths than the first one, which is measured.
SPARE_EXAMPLE_BYTES = 2**16


def load_data(
    dataset: str, root: str | None = None, train_split: str = 'trainval', test_split: str = 'test'
) -> tuple[chainer.dataset.DatasetMixin, chainer.dataset.DatasetMixin, Sequence[str]]:
    """Return the training set, the test set and the class names.

    Parameters
    ----------
    dataset : {'shapes', 'voc'}
        Which data set.
    root : str, optional
        Folder of a data set in Pascal VOC's layout. Only ``'voc'`` has one.
    train_split, test_split : str
        Lists in ``ImageSets/Main/``.

    Raises
    ------
    ValueError
        If ``root`` does not fit ``dataset``, or no training image holds an object.
    """
    if dataset == 'shapes':
        if root is not None:
            raise ValueError(f'--root {root} goes with --dataset voc')
        train = ShapesBboxDataset(N_SHAPES_TRAIN, size=SHAPES_INSIZE, seed=0)
        test = ShapesBboxDataset(N_SHAPES_TEST, size=SHAPES_INSIZE, seed=1)
        return train, test, train.label_names
    if root is None:
        raise ValueError('--dataset voc needs --root')
    train = VOCBboxDataset(root, train_split, dtype='uint8')
    if not any(len(train.get_annotation(i)[0]) for i in range(len(train))):
        raise ValueError(f'{root}: no object in any image of {train_split}.txt')
    test = VOCBboxDataset(root, test_split, label_names=train.label_names, return_difficult=True)
    return train, test, train.label_names


def augment_dataset(
    dataset: chainer.dataset.DatasetMixin,
    augmentation: str,
    vertical_flip: bool,
    insize: int,
    seed: int,
    comm: Any = None,
) -> chainer.dataset.DatasetMixin:
    """Return examples ``(img, bbox, label)`` of one size, shuffled and augmented in each epoch.

    Over MPI each rank gets its part of every epoch.
    """
    recipes: dict[str, list[Any]] = {
        'ssd': [SSDAugmentation(insize)],
        'mild': [MildAugmentation(insize)],
        'flip': [FlipTransform()],
        'none': [],
    }
    transforms = recipes[augmentation]
    if vertical_flip:
        transforms.append(FlipTransform(horizontal=0, vertical=0.5))
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    dataset = RandomTransformDataset(dataset, Augmentation(*transforms), seed, rank, size)
    return chainer.datasets.TransformDataset(dataset, ResizeTransform(insize))


def create_iterator(
    dataset: chainer.dataset.DatasetMixin, batchsize: int, workers: int
) -> chainer.dataset.Iterator:
    """Return an iterator whose batches do not depend on the number of worker processes."""
    order = RandomTransformDataset.next_epoch
    first = dataset[len(dataset)]  # raises here, in the main process, what a worker would raise
    if not workers:
        return chainer.iterators.SerialIterator(dataset, batchsize, order_sampler=order)
    set_opencv_threads(0)  # workers are forked, and threads do not survive that
    example_bytes = sum(array.nbytes for array in first) + SPARE_EXAMPLE_BYTES
    return chainer.iterators.MultiprocessIterator(
        dataset,
        batchsize,
        n_processes=workers,
        n_prefetch=N_PREFETCH,
        shared_mem=example_bytes,
        order_sampler=order,
    )


def count_default_workers(comm: Any = None) -> int:
    """Return the default of ``--workers``: one per two processors that this rank may use."""
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else (os.cpu_count() or 1)
    )
    return max(1, processors // (2 * (1 if comm is None else comm.intra_size)))
