"""A data set in which readable images take the place of unreadable ones."""

from __future__ import annotations

import multiprocessing.sharedctypes
from typing import Any

import chainer


class SkipUnreadable(chainer.dataset.DatasetMixin):
    """A data set that gives another example where one cannot be read.

    Put it around the data set that reads the files. The next readable example takes the place, so
    the length stays. Data workers that are forked share the record of unreadable examples with the
    main process.

    Parameters
    ----------
    dataset : sequence
        The examples.

    Examples
    --------
    >>> from chainer_ssd import ShapesBboxDataset
    >>> data = SkipUnreadable(ShapesBboxDataset(3))
    >>> len(data), data.unreadable
    (3, [])
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._is_unreadable = multiprocessing.sharedctypes.RawArray('b', max(len(dataset), 1))

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def unreadable(self) -> list[int]:
        """Indices of the examples that could not be read so far, in ascending order."""
        return [i for i in range(len(self)) if self._is_unreadable[i]]

    def get_example(self, i: int) -> Any:
        """Return item ``i``, or the next one that can be read.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        object
            The example.

        Raises
        ------
        ValueError, OSError, MemoryError
            If no example can be read. It is the error of the last one.
        """
        first = range(len(self))[i]
        for step in range(len(self)):
            j = (first + step) % len(self)
            if self._is_unreadable[j] and step < len(self) - 1:
                continue
            try:
                return self.dataset[j]
            except (ValueError, OSError, MemoryError):
                self._is_unreadable[j] = 1
                if step == len(self) - 1:
                    raise
        raise IndexError(f'i = {i}: the data set is empty')
