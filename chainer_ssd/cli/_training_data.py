"""What ``chainer-ssd train`` trains on: data sets, their augmentation, and worker processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._files import read_bytes
from chainer_ssd._options import check_label_names
from chainer_ssd.datasets import ShapesBboxDataset, VOCBboxDataset
from chainer_ssd.images import printable_name, set_opencv_threads
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
TRAIN_SPLIT, TEST_SPLIT = 'trainval', 'test'
MAX_NAMES_BYTES, MAX_PRINTED_CLASSES = 2**20, 40


def load_data(
    dataset: str,
    root: str | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    names_file: str | None = None,
) -> tuple[chainer.dataset.DatasetMixin, chainer.dataset.DatasetMixin, Sequence[str]]:
    """Return the training set, the test set and the class names.

    Parameters
    ----------
    dataset : {'shapes', 'voc'}
        Which data set.
    root : str, optional
        Folder of a data set in Pascal VOC's layout. Only ``'voc'`` has one.
    train_split, test_split : str, optional
        Lists in ``ImageSets/Main/``. Only ``'voc'`` has them. Default: trainval and test.
    names_file : str, optional
        Text file with the class names, see :func:`read_label_names`. Only ``'voc'`` has one.
        Default: the names in the training set.

    Raises
    ------
    ValueError
        If an option does not fit ``dataset``, or no training image holds an object.
    """
    if dataset == 'shapes':
        for name, value in (
            ('root', root),
            ('train-split', train_split),
            ('test-split', test_split),
            ('label-names', names_file),
        ):
            if value is not None:
                raise ValueError(f'--{name} {value} goes with --dataset voc')
        train = ShapesBboxDataset(N_SHAPES_TRAIN, size=SHAPES_INSIZE, seed=0)
        test = ShapesBboxDataset(N_SHAPES_TEST, size=SHAPES_INSIZE, seed=1)
        return train, test, train.label_names
    if root is None:
        raise ValueError('--dataset voc needs --root')
    train_split, test_split = train_split or TRAIN_SPLIT, test_split or TEST_SPLIT
    label_names = None if names_file is None else read_label_names(names_file)
    train = VOCBboxDataset(root, train_split, label_names, return_difficult=True, dtype='uint8')
    n_object = sum(len(train.get_annotation(i)[0]) for i in range(len(train)))
    if n_object == train.n_difficult:
        reason = f'all {n_object} objects are difficult' if n_object else 'no object'
        raise ValueError(
            f'{root}: {reason} in the images of {train_split}.txt, expected some to train on'
        )
    test = VOCBboxDataset(root, test_split, label_names=train.label_names, return_difficult=True)
    return train, test, train.label_names


def read_label_names(path: str) -> tuple[str, ...]:
    """Return the class names in a text file with one name per line.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not UTF-8, holds no name, or holds a name twice. The message names the file.
    """
    try:
        text = read_bytes(path, MAX_NAMES_BYTES).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: expected UTF-8 text: {error.reason}') from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise ValueError(f'{path}: expected one class name per line')
    return check_label_names(names, name=path)


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


def select_readable(
    dataset: chainer.dataset.DatasetMixin, on_bad_image: str
) -> tuple[chainer.dataset.DatasetMixin, list[str]]:
    """Return the test examples that can be read, and the files of the others.

    With ``'error'`` no image is read, and all examples are returned.
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
        raise ValueError(f'none of the {len(dataset)} test images can be read')
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
