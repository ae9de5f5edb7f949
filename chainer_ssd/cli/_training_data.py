"""What train.py trains on: examples, their augmentation, and the workers that make them."""

import os

import chainer

from chainer_ssd import (
    Augmentation,
    CropTransform,
    ExpandTransform,
    FlipTransform,
    RandomResizeTransform,
    RandomTransformDataset,
    ResizeTransform,
    ShapesBboxDataset,
    SSDAugmentation,
    VOCBboxDataset,
)

AUGMENTATIONS = ('ssd', 'mild', 'flip', 'none')


def load_data(dataset, root=None, train_split='trainval', test_split='test'):
    """Training set, test set and label names of ``'shapes'``, which are drawn, or of ``'voc'``."""
    if dataset == 'shapes':
        if root is not None:
            raise ValueError(f'--root {root} goes with --dataset voc')
        train = ShapesBboxDataset(2000, size=128, seed=0)
        return train, ShapesBboxDataset(200, size=128, seed=1), train.label_names
    if root is None:
        raise ValueError('--dataset voc needs --root')
    train = VOCBboxDataset(root, train_split, dtype='uint8')
    if not any(len(train.get_annotation(i)[0]) for i in range(len(train))):
        raise ValueError(f'{root}: no object in any image of {train_split}.txt')
    test = VOCBboxDataset(root, test_split, label_names=train.label_names, return_difficult=True)
    return train, test, train.label_names


def augment(dataset, name, vertical_flip, insize, seed, comm=None):
    """Examples ``(img, bbox, label)`` of one size, shuffled and augmented anew each epoch.

    Over MPI each rank has its share of them.
    """
    steps = {
        'ssd': [SSDAugmentation(insize)],
        'mild': [
            ExpandTransform(max_ratio=1.4),
            CropTransform(scale=(0.7, 1), max_aspect_ratio=4 / 3),
            RandomResizeTransform(insize),
            FlipTransform(),
        ],
        'flip': [FlipTransform()],
        'none': [],
    }[name]
    if vertical_flip:
        steps.append(FlipTransform(horizontal=0, vertical=0.5))
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    dataset = RandomTransformDataset(dataset, Augmentation(*steps), seed, rank, size)
    return chainer.datasets.TransformDataset(dataset, ResizeTransform(insize))


def create_iterator(dataset, batchsize, workers):
    """Batches made by so many worker processes, by this one if 0: the same, bit for bit."""
    order = RandomTransformDataset.next_epoch
    first = dataset[len(dataset)]  # fails here if ever
    if not workers:
        return chainer.iterators.SerialIterator(dataset, batchsize, order_sampler=order)
    import cv2

    cv2.setNumThreads(0)  # workers are forked, and threads do not survive that
    room = sum(array.nbytes for array in first) + 2**16  # for images with more boxes
    return chainer.iterators.MultiprocessIterator(
        dataset, batchsize, n_processes=workers, n_prefetch=2, shared_mem=room, order_sampler=order
    )


def default_workers(comm=None):
    """One for every two processors of this process's share."""
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else (os.cpu_count() or 1)
    )
    return max(1, processors // (2 * (1 if comm is None else comm.intra_size)))
