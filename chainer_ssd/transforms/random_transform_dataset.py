"""A data set with random transforms that need no stored state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Callable

import chainer
import numpy as np

from chainer_ssd._options import check_integer, short_repr


class RandomTransformDataset(chainer.dataset.DatasetMixin):
    """A data set with random transforms: new ones at each access, or a seeded stream.

    Chainer's ``TransformDataset`` gives a transform no random generator. This class does, in two
    ways. The iterator chooses between them.

    **New random choices.** Items 0 to ``len - 1`` draw new random choices at each access. A plain
    iterator asks for them, also through other data sets such as ``SubDataset``::

        train = RandomTransformDataset(dataset, FlipTransform())
        iterator = SerialIterator(train, 8)

    The random numbers come from the operating system, so worker processes draw different ones. A
    run cannot be repeated, and ``seed`` has no effect. If ``size`` is above 1, item i is an image
    that is drawn from the whole data set, with replacement.

    **A seeded stream.** Items from ``len`` on follow from (seed, epoch) alone. Any iterator, any
    worker process and any resumed run gets the same arrays for item i, bit for bit. The
    ``order_sampler`` :meth:`next_epoch` asks for them::

        iterator = SerialIterator(train, 8, order_sampler=train.next_epoch)

    The snapshot of this iterator is all that a resumed run needs. In one process, item i belongs to
    epoch e = i // len(self). It is ``transform(dataset[j], random)``. Here j is element
    i % len(self) of the permutation drawn from (seed, e), and ``random`` is a generator made from
    (seed, e, j). Chainer's other data sets limit their items to their length. So wrap ``dataset``
    in them and not this one, except for ``TransformDataset``.

    Over MPI, the permutations of all epochs form one stream. Rank r of n takes every n-th element
    of the stream, from element r on. In each iteration, n ranks with batches of b images see the
    same images as one process with batches of n · b. Each image is seen once per epoch, and all
    ranks have the same number of iterations. If n does not divide the number of images, ``len`` is
    rounded down, and so is an iterator's epoch. The stream continues where the epoch stopped.

    Parameters
    ----------
    dataset : sequence
        The examples, at least ``size`` of them.
    transform : callable
        ``transform(example, random)`` returns an example. ``random`` is a
        :class:`numpy.random.Generator`.
    seed : int
        0 or more, for the seeded stream. Change it to repeat an experiment with other random
        choices.
    rank : int
        Number of this process, 0 <= rank < size.
    size : int
        Number of processes that share each epoch.

    Raises
    ------
    TypeError
        If ``seed``, ``rank`` or ``size`` is not an integer, ``dataset`` is no sequence, or
        ``transform`` is not callable.
    ValueError
        If there are fewer items than processes, or an integer is out of its range.
    """

    def __init__(
        self,
        dataset: Sequence[Any],
        transform: Callable[[Any, np.random.Generator], Any],
        seed: int = 0,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        if not hasattr(dataset, '__len__') or not hasattr(dataset, '__getitem__'):
            raise TypeError(f'dataset = {short_repr(dataset)}: expected a sequence of examples')
        if not callable(transform):
            raise TypeError(
                f'transform = {short_repr(transform)}: expected a callable, '
                'transform(example, random)'
            )
        self.seed = check_integer('seed', seed)
        self.size = check_integer('size', size, 1)
        self.rank = check_integer('rank', rank, 0, self.size - 1)
        if len(dataset) < self.size:
            raise ValueError(
                f'dataset holds {len(dataset)} items: expected {short_repr(self.size)} or more, '
                'one for each process'
            )
        self.dataset, self.transform = dataset, transform

    def __len__(self) -> int:
        """Return the number of items of one process in one epoch."""
        return len(self.dataset) // self.size

    def get_example(self, i: int) -> Any:
        """Return item ``i``: with new random choices below ``len``, else of the seeded stream.

        Parameters
        ----------
        i : int
            Any integer, without an upper bound. See the description of the class.

        Returns
        -------
        object
            Result of ``transform``.
        """
        if i < len(self):
            random = np.random.default_rng()
            j = int(i) if self.size == 1 else int(random.integers(len(self.dataset)))
            return self.transform(self.dataset[j], random)
        # An iterator starts with epoch 1 (see next_epoch), so the stream starts there.
        position = (int(i) - len(self)) * self.size + self.rank
        n_epoch, position_in_epoch = divmod(position, len(self.dataset))
        epoch = n_epoch + 1
        j = int(_permutation(len(self.dataset), self.seed, epoch)[position_in_epoch])
        return self.transform(self.dataset[j], np.random.default_rng((self.seed, epoch, j)))

    @staticmethod
    def next_epoch(order: np.ndarray, position: int) -> np.ndarray:
        """Return the items of the next epoch: an ``order_sampler`` for Chainer's iterators.

        Parameters
        ----------
        order : numpy.ndarray of int
            Items of the epoch that ends. A new iterator passes ``arange(len(self))``, the items of
            epoch 0, and so starts with epoch 1.
        position : int
            Not used.

        Returns
        -------
        numpy.ndarray of int
            Items of the next epoch.
        """
        return order + len(order)


class FixedEpoch(chainer.dataset.DatasetMixin):
    """The first epoch of a seeded stream, as a data set that gives the same arrays every time.

    For reports that look at the same training examples again and again.

    Parameters
    ----------
    dataset : chainer.dataset.DatasetMixin
        A :class:`RandomTransformDataset`, also inside of ``chainer.datasets.TransformDataset``.
    """

    def __init__(self, dataset: chainer.dataset.DatasetMixin) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def get_example(self, i: int) -> Any:
        """Return item ``i`` of the epoch.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        object
            The example.
        """
        return self.dataset[len(self) + range(len(self))[i]]


@lru_cache(maxsize=2)  # an iterator that prefetches needs two epochs at a time
def _permutation(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(length)
