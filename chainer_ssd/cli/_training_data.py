"""The examples of ``chainer-ssd train``: augmentation, and worker processes."""

from __future__ import annotations

import os
from typing import Any

import chainer
import numpy as np

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
N_PREFETCH = 2
# Other examples have more ground truths than the first one, which is measured.
SPARE_EXAMPLE_BYTES = 2**16


def select_readable(
    dataset: chainer.dataset.DatasetMixin, on_bad_image: str
) -> tuple[chainer.dataset.DatasetMixin, list[str]]:
    """Return the test or validation examples that can be read, and the files of the others.

    With ``'error'`` no image is read, and all examples are returned. None stays None.
    """
    if on_bad_image == 'error' or not hasattr(dataset, 'image_files'):
        return dataset, []
    readable, unreadable = set(), []
    for i, file in enumerate(dataset.image_files):
        try:
            dataset[i]
        except (MemoryError, OSError, ValueError):
            unreadable.append(file)
        else:
            readable.add(i)
    if not readable:
        raise ValueError(f'none of the {len(dataset)} images to evaluate on can be read')
    order = sorted(range(len(dataset)), key=lambda i: (i not in readable, i))
    return chainer.datasets.SubDataset(dataset, 0, len(readable), order), unreadable


def augment_dataset(
    dataset: chainer.dataset.DatasetMixin,
    augmentation: str,
    vertical_flip: bool,
    insize: int,
    seed: int,
    comm: Any = None,
) -> chainer.dataset.DatasetMixin:
    """Return examples of one size, shuffled and augmented in each epoch.

    An example is ``(img, bbox, label)`` or ``(img, bbox, label, difficult)``, as in ``dataset``.
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
    example_bytes = sum(np.asarray(array).nbytes for array in first) + SPARE_EXAMPLE_BYTES
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
