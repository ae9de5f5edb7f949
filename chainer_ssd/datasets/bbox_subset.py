"""Some images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._options import check_integer
from chainer_ssd.datasets._fingerprint import hash_contents


class BboxSubset(chainer.dataset.DatasetMixin):
    """Some images of a data set with boxes, with all that this room's data sets offer.

    It has ``label_names``, ``problems``, ``get_annotation`` and ``fingerprint``. It has
    ``image_files``, ``image_sizes`` and ``applies_orientation`` if the data set has them.

    Parameters
    ----------
    dataset : BboxSubset or any data set of this room
        The images.
    indices : sequence of int
        Which of them, in the order of the subset. Each stands at most once.

    Attributes
    ----------
    dataset, indices
        As given. ``indices`` is a tuple.
    label_names : tuple of str
        The classes of the data set, also those without an object in the subset.
    problems : tuple of AnnotationProblem
        Objects that were left out in these images.

    Raises
    ------
    TypeError
        If an index is not an integer.
    ValueError
        If an index is out of range, or stands twice.

    Examples
    --------
    >>> from chainer_ssd import ShapesBboxDataset
    >>> shapes = ShapesBboxDataset(5)
    >>> len(BboxSubset(shapes, [0, 3]))
    2
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = tuple(
            check_integer('an index', i, 0, max(len(dataset) - 1, 0)) for i in indices
        )
        if len(set(self.indices)) < len(self.indices):
            raise ValueError('indices: expected each image once')
        self.label_names: tuple[str, ...] = dataset.label_names
        self.problems = dataset.problems
        for name in ('image_files', 'image_sizes', 'applies_orientation', '_names'):
            if hasattr(dataset, name):
                values = getattr(dataset, name)
                setattr(self, name, tuple(values[i] for i in self.indices))
        if hasattr(self, 'image_files'):
            files = set(self.image_files)
            self.problems = tuple(each for each in dataset.problems if each.image in files)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of image names, class names, and annotations, in hexadecimal digits."""
        if not hasattr(self, '_names'):
            indices = np.array(self.indices, np.int64)
            return hash_contents(((self.dataset.fingerprint,), self.label_names), (indices,))
        return hash_annotations(self, self._names)

    def get_annotation(self, i: int) -> tuple[np.ndarray, ...]:
        """Return item ``i`` without its image.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        tuple
            ``(bbox, label)`` and the further columns of the data set.
        """
        return self.dataset.get_annotation(self.indices[i])

    def get_example(self, i: int) -> tuple[np.ndarray, ...]:
        """Return item ``i``.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        tuple
            ``(img, bbox, label)`` and the further columns of the data set.
        """
        return self.dataset[self.indices[i]]


def hash_annotations(dataset: Any, names: Sequence[str]) -> str:
    """Return the SHA-256 of the names of images, the classes, and the annotations."""
    columns = [dataset.get_annotation(i) for i in range(len(dataset))]
    start = np.cumsum([0, *(len(each[0]) for each in columns)], dtype=np.int64)
    joined = (np.concatenate(arrays) for arrays in zip(*columns))
    return hash_contents((names, dataset.label_names), (start, *joined))
