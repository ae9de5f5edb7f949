"""Faults of class names, and the balance of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chainer_ssd.datasets import find_similar_names
from chainer_ssd.inspection.finding import Finding, make_finding
from chainer_ssd.inspection.records import ImageRecord


class ClassCount(NamedTuple):
    """Numbers of one class.

    Attributes
    ----------
    name : str
        The class.
    n_train, n_test : int
        Objects of the training and of the test split.
    n_image : int
        Training images with an object of the class.
    n_difficult : int
        Training objects that are difficult.
    """

    name: str
    n_train: int
    n_test: int
    n_image: int
    n_difficult: int


def count_classes(
    train: Sequence[ImageRecord], test: Sequence[ImageRecord], label_names: Sequence[str]
) -> list[ClassCount]:
    """Return the numbers of each class, in the order of ``label_names``."""
    return [
        ClassCount(
            name,
            sum(each.name == name for record in train for each in record.objects),
            sum(each.name == name for record in test for each in record.objects),
            sum(any(each.name == name for each in record.objects) for record in train),
            sum(
                each.name == name and each.is_difficult
                for record in train
                for each in record.objects
            ),
        )
        for name in label_names
    ]


def check_classes(
    counts: Sequence[ClassCount],
    train: Sequence[ImageRecord],
    test: Sequence[ImageRecord],
    source: str,
    val: Sequence[ImageRecord] = (),
) -> Iterator[Finding]:
    """Yield the faults of class names.

    Parameters
    ----------
    counts : sequence of ClassCount
        All classes of the model.
    train, test : sequences of ImageRecord
        The splits.
    source : str
        File for findings that belong to no other file.
    val : sequence of ImageRecord
        Images that a model is chosen by.
    """
    names = [count.name for count in counts]
    for record in {each.name: each for each in (*train, *test, *val)}.values():
        for unknown in sorted({each.name for each in record.objects} - set(names)):
            text = f'{unknown} is not among the classes {", ".join(names)}'
            yield make_finding('unknown class', record.annotation_file, text, record.image_file)
    for group in find_similar_names(names):
        yield make_finding('similar names', source, ' and '.join(map(repr, group)))
    if not any(count.n_train > count.n_difficult for count in counts):
        yield make_finding('no object', source, 'no object that is not difficult')
        return
    for count in counts:
        if not count.n_train:
            yield make_finding('class without objects', source, f'{count.name}: none in training')
        elif test and not count.n_test:
            yield make_finding('class without test', source, f'{count.name}: none in test')
