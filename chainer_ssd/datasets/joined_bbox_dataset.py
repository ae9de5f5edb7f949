"""Several data sets as one, and data sets with some of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._options import check_flag, check_label_names
from chainer_ssd.datasets.bbox_subset import hash_annotations
from chainer_ssd.datasets.class_names import choose_label_names, describe_unknown_name


class JoinedBboxDataset(chainer.dataset.DatasetMixin):
    """The images of several data sets, with one list of classes.

    The paper trains on VOC 2007 and VOC 2012 together. With ``leaves_out_others=True`` and one data
    set, it is that data set with some of its classes.

    Parameters
    ----------
    datasets : sequence of data sets
        Of this room, with ``image_files``. Their items have the same number of columns.
    label_names : sequence of str, optional
        The classes, in the order of their labels. Default: the classes of the data sets. If these
        differ, all of them, sorted.
    leaves_out_others : bool
        What happens to an object of a class that is not among ``label_names``. False (default): a
        ``ValueError``. True: it is left out on purpose, and counted in ``n_left_out``. Its image
        stays, so the object becomes background.

    Attributes
    ----------
    datasets : tuple
        As given.
    label_names : tuple of str
        The classes.
    n_left_out : dict
        Number of objects that were left out, by the name of their class.
    problems : tuple of AnnotationProblem
        Objects that the data sets leave out.
    image_files, image_sizes, applies_orientation : tuple
        Those of all data sets.

    Raises
    ------
    TypeError
        If an argument has another type than stated.
    ValueError
        If there is no data set, or the numbers of columns differ. If a class is unknown.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        label_names: Sequence[str] | None = None,
        leaves_out_others: bool = False,
    ) -> None:
        self.datasets = tuple(datasets)
        if not self.datasets:
            raise ValueError('datasets = (): expected at least one data set')
        check_flag('leaves_out_others', leaves_out_others)
        self.label_names = _join_names(self.datasets, label_names)
        self.n_left_out: dict[str, int] = {}
        self.problems = tuple(problem for each in self.datasets for problem in each.problems)
        self.image_files = tuple(file for each in self.datasets for file in each.image_files)
        self.image_sizes = tuple(size for each in self.datasets for size in each.image_sizes)
        self.applies_orientation = tuple(
            applies for each in self.datasets for applies in each.applies_orientation
        )
        self._names = tuple(
            name if len(self.datasets) == 1 else f'{number}/{name}'
            for number, each in enumerate(self.datasets)
            for name in each._names
        )
        self._places = [(each, i) for each in self.datasets for i in range(len(each))]
        self._columns: list[tuple[np.ndarray, ...]] = []
        for dataset in self.datasets:
            self._add_annotations(dataset, leaves_out_others)

    def _add_annotations(self, dataset: Any, leaves_out_others: bool) -> None:
        """Append the annotations of one data set with the labels of all."""
        label_of = {name: label for label, name in enumerate(self.label_names)}
        new_label = np.array([label_of.get(name, -1) for name in dataset.label_names], np.int32)
        for i in range(len(dataset)):
            bbox, label, *others = dataset.get_annotation(i)
            if self._columns and len(self._columns[0]) != 2 + len(others):
                raise ValueError(
                    f'datasets: items of {len(self._columns[0]) + 1} and of {3 + len(others)} '
                    'columns, expected the same number in all'
                )
            mapped = new_label[label] if len(label) else label
            is_kept = mapped >= 0
            for unknown in label[~is_kept]:
                name = dataset.label_names[unknown]
                if not leaves_out_others:
                    text = describe_unknown_name(name, self.label_names)
                    raise ValueError(f'{dataset.image_files[i]}: {text}')
                self.n_left_out[name] = self.n_left_out.get(name, 0) + 1
            columns = (bbox[is_kept], mapped[is_kept], *(each[is_kept] for each in others))
            self._columns.append(columns)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of image names, class names, and annotations, in hexadecimal digits."""
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
            ``(bbox, label)`` and further columns. The arrays are copies, so they may be changed.
        """
        return tuple(column.copy() for column in self._columns[i])

    def get_example(self, i: int) -> tuple[np.ndarray, ...]:
        """Return item ``i``.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        tuple
            ``(img, bbox, label)`` and further columns.
        """
        dataset, inner = self._places[i]
        return (dataset[inner][0], *self.get_annotation(i))


def _join_names(datasets: Sequence[Any], label_names: Sequence[str] | None) -> tuple[str, ...]:
    if label_names is not None:
        return check_label_names(label_names)
    first = datasets[0].label_names
    if all(each.label_names == first for each in datasets):
        return first
    return choose_label_names(None, {name for each in datasets for name in each.label_names})
