"""Opening of one or several data sets for a training or a test."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from chainer_ssd._options import check_integer, check_part
from chainer_ssd.datasets._messages import quote
from chainer_ssd.datasets._split_opener import SplitOpener, names_for
from chainer_ssd.datasets.choose_splits import (
    ChosenSplit,
    choose_splits,
    describe_missing_split,
    has_split,
)
from chainer_ssd.datasets.data_splits import DataSplits
from chainer_ssd.datasets.find_dataset import find_dataset
from chainer_ssd.datasets.formats.file_tree import ALL
from chainer_ssd.datasets.joined_bbox_dataset import JoinedBboxDataset
from chainer_ssd.datasets.split_by_content import split_by_content

#: Fraction of the images to test on, of data without a test split.
TEST_FRACTION = 0.2


def open_datasets(
    paths: Sequence[str | os.PathLike[str]],
    format: str = 'auto',
    label_names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    test_split: str | None = None,
    val: float | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
    dtype: Any = 'uint8',
    exif: str = 'auto',
) -> DataSplits:
    """Return the images to train on, to choose a model by, and to test on.

    The test images are those of a split test. Without one, they are those of a split val. Without
    either, some images are held out by :func:`split_by_content`. The training images are those of
    trainval or train. The images of a split val choose the model if that split and trainval have no
    other use. The images themselves are not compared: if the split val repeats some of another
    split, call ``without_val`` of the result, as ``chainer-ssd train`` does.

    Parameters
    ----------
    paths : sequence of str or path
        Data sets for :func:`find_dataset`. Their images are taken together.
    format : {'auto', 'voc', 'coco', 'yolo'}
        The format of all of them.
    label_names : sequence of str, optional
        The classes of the data, in the order of their labels. An object of another class is an
        error. Default: those of all images that are used.
    classes : sequence of str, optional
        The classes to use, in the order of their labels. Objects of the others are left out on
        purpose. Default: all.
    train_split, val_split, test_split : str, optional
        Names of splits to use instead, for example of VOC's lists.
    val : float, optional
        Fraction of the training images to hold out. If there are other images to test on, the
        images held out choose the model. If not, they are the test images.
    test_fraction : float, optional
        Fraction of the images to test on, where the data has no split for it. Then ``val`` holds
        out further ones. Default: ``val`` or 0.2.
    seed : int
        Another seed holds out other images. Default: 0.
    dtype : dtype
        Of the images: uint8 (default) or float32.
    exif : {'auto', 'apply', 'ignore'}
        Whether images are turned as their EXIF orientation says.

    Returns
    -------
    DataSplits
        The images and the classes. Items are ``(img, bbox, label, difficult)``.

    Raises
    ------
    OSError, ValueError, TypeError, ImportError
        As :func:`find_dataset` and the constructors of the data sets. ``ValueError`` if no path
        has a split of the given name, or there is no training image.

    Examples
    --------
    >>> data = open_datasets(['VOC2007', 'VOC2012'])    # doctest: +SKIP
    >>> print(data.describe())                          # doctest: +SKIP
    """
    check_integer('seed', seed)
    for name, fraction in (('val', val), ('test_fraction', test_fraction)):
        if fraction is not None:
            check_part(name, fraction)
    if not paths or isinstance(paths, (str, os.PathLike)):
        raise ValueError(f'paths = {quote(paths)}: expected a sequence of at least one path')
    found = tuple(find_dataset(path, format) for path in paths)
    choices = choose_splits(found, train_split, val_split, test_split)
    has_test = any('test' in choice for choice in choices)
    if has_test and test_fraction is not None:
        raise ValueError(
            f'test_fraction = {test_fraction}: the data has images to test on, the split '
            + ', '.join(dict.fromkeys(each['test'].split for each in choices if 'test' in each))
        )
    opened = SplitOpener(found, label_names, classes, dtype, exif)
    opened.read_names(choices)
    held_out = []
    if not has_test:
        held_out.append(('test', test_fraction or val or TEST_FRACTION))
    if val is not None and (has_test or test_fraction is not None):
        if any('val' in choice for choice in choices):
            choices = [{part: each for part, each in c.items() if part != 'val'} for c in choices]
        held_out.append(('val', val))
    for part, fraction in held_out:
        choices = _hold_out(opened, choices, part, fraction, seed)
    options = {
        'val': val,
        'test_fraction': test_fraction,
        'seed': seed,
        'classes': None if classes is None else list(classes),
    }
    return opened.collect(choices, options)


def open_split(
    paths: Sequence[str | os.PathLike[str]],
    format: str,
    split: str | None,
    label_names: Sequence[str],
    leaves_out_others: bool = False,
    dtype: Any = 'uint8',
) -> JoinedBboxDataset:
    """Return the images of one split of all data sets.

    Parameters
    ----------
    paths : sequence of str or path
        Data sets for :func:`find_dataset`.
    format : {'auto', 'voc', 'coco', 'yolo'}
        The format of all of them.
    split : str or None
        Name of the split. None: test, or else val, or else all images of data without splits.
    label_names : sequence of str
        The classes, in the order of their labels.
    leaves_out_others : bool
        True: objects of other classes are left out on purpose. False (default): a ``ValueError``.
    dtype : dtype
        Of the images: uint8 (default) or float32.

    Returns
    -------
    JoinedBboxDataset
        Items are ``(img, bbox, label, difficult)``.

    Raises
    ------
    ValueError
        If no data set has the split.
    """
    found = tuple(find_dataset(path, format) for path in paths)
    wanted = ('test', 'val', ALL) if split is None else (split,)
    name = next((each for each in wanted if any(has_split(f, each) for f in found)), None)
    if name is None:
        raise describe_missing_split(found, split or 'test, val or all')
    opened = [
        each.open(name, names_for(each, label_names), return_difficult=True, dtype=dtype)
        for each in found
        if has_split(each, name)
    ]
    return JoinedBboxDataset(opened, label_names, leaves_out_others)


def _hold_out(
    opened: SplitOpener,
    choices: Sequence[Mapping[str, ChosenSplit]],
    part: str,
    fraction: float,
    seed: int,
) -> list[dict[str, ChosenSplit]]:
    """Return the choices with some of the training images in another part."""
    kept, held_out = split_by_content(opened.join(choices, 'train'), fraction, seed)
    is_held_out = set(held_out.tolist())
    result = []
    offset = 0
    for number, choice in enumerate(choices):
        choice = dict(choice)
        if 'train' in choice:
            split, images = choice['train']
            names = images or opened.names_of(number, opened.open(number, split))
            rows = range(offset, offset + len(names))
            offset += len(names)
            for each, chosen in (
                ('train', [name for i, name in zip(rows, names) if i not in is_held_out]),
                (part, [name for i, name in zip(rows, names) if i in is_held_out]),
            ):
                choice.pop(each, None)
                if chosen:
                    choice[each] = ChosenSplit(split, tuple(chosen))
        result.append(choice)
    return result
