"""Random transforms and a random order that nothing has to remember."""

from functools import lru_cache

import chainer
import numpy as np


class RandomTransformDataset(chainer.dataset.DatasetMixin):
    """A data set that is shuffled and transformed anew each epoch, by (seed, epoch) alone.

    In one process item i belongs to epoch e = i // len(self). It is ``transform(dataset[j],
    random)``, where j is element i % len(self) of the permutation drawn from (seed, e), and
    ``random`` a generator made from (seed, e, j). No state is left behind: whatever iterator,
    worker process or resumed run asks for item i gets the same arrays, bit for bit.

    An iterator counts on from epoch to epoch with :meth:`next_epoch`::

        train = RandomTransformDataset(dataset, FlipTransform())
        iterator = SerialIterator(train, 8, order_sampler=train.next_epoch)

    Its snapshot then holds all that a resumed run needs.

    Over MPI the permutations of all epochs form one stream, and rank r of n takes every n-th
    element from the r-th on: n ranks with batches of b see in each iteration what one process with
    batches of n · b sees, every image once an epoch, and all ranks the same number of images and
    iterations. Where n does not divide the number of images, ``len`` (and so an iterator's epoch)
    is rounded down: the stream goes on where it stopped.

    Parameters
    ----------
    dataset : sequence
        What is transformed; at least ``size`` items.
    transform : callable
        ``transform(example, random)`` with a :class:`numpy.random.Generator` returns an example.
    seed : int
        0 or more.
    rank : int
        This process, 0 <= rank < size.
    size : int
        How many processes share each epoch.

    Raises
    ------
    ValueError
        If there are fewer items than processes, or ``seed`` or ``rank`` is out of its range.
    """

    def __init__(self, dataset, transform, seed=0, rank=0, size=1):
        if len(dataset) < size:
            raise ValueError(
                f'dataset holds {len(dataset)} items: expected {size} or more, one for each process'
            )
        if seed < 0 or not 0 <= rank < size:
            raise ValueError(
                f'seed = {seed}, rank = {rank}, size = {size}: '
                'expected 0 <= seed and 0 <= rank < size'
            )
        self.dataset, self.transform = dataset, transform
        self.seed, self.rank, self.size = seed, rank, size

    def __len__(self):
        """Items of one process in one epoch."""
        return len(self.dataset) // self.size

    def get_example(self, i):
        """Item ``i``, of any epoch.

        Parameters
        ----------
        i : int
            0 or more, without end: see the class.

        Returns
        -------
        object
            What ``transform`` returns.
        """
        # Counted from epoch 1 on, where iterators begin: see next_epoch.
        place = (int(i) - len(self)) * self.size + self.rank
        epoch, position = divmod(place, len(self.dataset))
        epoch += 1
        j = int(_permutation(len(self.dataset), self.seed, epoch)[position])
        return self.transform(self.dataset[j], np.random.default_rng((self.seed, epoch, j)))

    @staticmethod
    def next_epoch(order, position):
        """The items that follow: an ``order_sampler`` for Chainer's iterators.

        Parameters
        ----------
        order : numpy.ndarray of int
            The items of the epoch that ends. Epoch 0 is only counted on from: an iterator that
            starts hands in ``arange(len(self))`` and so begins with epoch 1.
        position : int
            Unused.

        Returns
        -------
        numpy.ndarray of int
            The items of the next epoch.
        """
        return order + len(order)


@lru_cache(maxsize=2)  # an iterator that prefetches stands in two epochs at once
def _permutation(length, seed, epoch):
    return np.random.default_rng((seed, epoch)).permutation(length)
