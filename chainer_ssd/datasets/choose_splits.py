"""Which split of each data set is trained on, chooses the model, and is tested on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chainer_ssd.datasets._messages import join_first
from chainer_ssd.datasets.formats.file_tree import ALL
from chainer_ssd.datasets.found_dataset import FoundDataset

#: The parts of the images of a training.
PARTS = ('train', 'val', 'test')


class ChosenSplit(NamedTuple):
    """The images of one part that come from one data set.

    Attributes
    ----------
    split : str
        The split of the data set.
    images : tuple of str or None
        The images, relative to the data set's path. None: all images of the split.
    """

    split: str
    images: tuple[str, ...] | None


def choose_splits(
    found: Sequence[FoundDataset],
    train_split: str | None = None,
    val_split: str | None = None,
    test_split: str | None = None,
) -> list[dict[str, ChosenSplit]]:
    """Return which split of each data set is which part, by the rule of :func:`open_datasets`.

    Parameters
    ----------
    found : sequence of FoundDataset
        The data sets.
    train_split, val_split, test_split : str, optional
        Names of splits to use instead.

    Returns
    -------
    list of dict
        For each data set, the :class:`ChosenSplit` of ``'train'``, ``'val'`` and ``'test'``, as far
        as it has them. Nothing is held out yet.

    Raises
    ------
    ValueError
        If no data set has a split of a given name, or none has training images.
    """
    for name in (train_split, val_split, test_split):
        if name is not None and not any(has_split(each, name) for each in found):
            raise describe_missing_split(found, name)
    candidates = ('test', 'val') if val_split is None else ('test',)
    test = test_split or next((n for n in candidates if any(has_split(f, n) for f in found)), None)
    choices = []
    for each in found:
        # trainval holds the images of val.
        wanted = ['train', ALL]
        if test != 'val' and val_split is None:
            wanted.insert(0, 'trainval')
        if train_split is not None:
            wanted = [train_split]
        train = next((name for name in wanted if has_split(each, name)), None)
        names = {'train': train, 'test': test}
        if val_split is not None:
            names['val'] = val_split
        elif test != 'val' and train == 'train' and 'val' in each.splits:
            names['val'] = 'val'
        choices.append(
            {
                part: ChosenSplit(name, None)
                for part, name in names.items()
                if name is not None and has_split(each, name)
            }
        )
    if not any('train' in choice for choice in choices):
        raise describe_missing_split(found, 'train')
    return choices


def has_split(found: FoundDataset, split: str) -> bool:
    return split in found.splits or found.find_list(split) is not None


def describe_missing_split(found: Sequence[FoundDataset], name: str) -> ValueError:
    splits = list(dict.fromkeys(split for each in found for split in each.splits))
    paths = join_first(each.path for each in found)
    return ValueError(f'{paths}: no split {name}, there are {join_first(splits)}')
