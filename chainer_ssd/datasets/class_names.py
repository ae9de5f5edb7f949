"""The classes of a data set, in the order of their labels."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Iterable, Sequence

from chainer_ssd._files import read_bytes
from chainer_ssd._options import check_label_names
from chainer_ssd.datasets._messages import join_first, quote

#: Names of Pascal VOC's 20 classes, in the order of their labels.
VOC_LABEL_NAMES = (
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
)

_MAX_BYTES = 2**20

#: ChainerCV's name of ``VOC_LABEL_NAMES``.
voc_bbox_label_names = VOC_LABEL_NAMES


def read_label_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the class names in a text file with one name per line.

    Parameters
    ----------
    path : str or path
        The file, UTF-8. Empty lines do not count. At most 1 MiB.

    Returns
    -------
    tuple of str
        The names, in the order of the lines.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not UTF-8, holds no name, or holds a name twice. The message names the file.
    """
    path = os.fspath(path)
    try:
        text = read_bytes(path, _MAX_BYTES).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: expected UTF-8 text: {error.reason}') from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise ValueError(f'{path}: expected one class name per line')
    return check_label_names(names, name=path)


def choose_label_names(label_names: Sequence[str] | None, found: set[str]) -> tuple[str, ...]:
    """Return the given names. Default: VOC's order for exactly VOC's names, else sorted names."""
    if label_names is not None:
        return check_label_names(label_names)
    return VOC_LABEL_NAMES if found == set(VOC_LABEL_NAMES) else tuple(sorted(found))


def describe_unknown_name(name: str, label_names: Sequence[str]) -> str:
    """Return the message for a name that is not a class, with the class of similar spelling."""
    similar = [each for each in label_names if _fold(each) == _fold(name)]
    hint = f'. It has {quote(similar[0])}' if similar else ''
    names = join_first(map(quote, label_names), 'more')
    return f'the name {quote(name)} is not among label_names = [{names}]{hint}'


def warn_about_label_names(label_names: Iterable[str], source: str, stacklevel: int = 2) -> None:
    """Warn about names that differ only by case or by space, and about a class background.

    Parameters
    ----------
    label_names : iterable of str
        The classes.
    source : str
        File or folder for the message.
    stacklevel : int
        As for :func:`warnings.warn`.
    """
    label_names = list(label_names)
    pairs = [' and '.join(map(quote, names)) for names in find_similar_names(label_names)]
    if _fold('background') in map(_fold, label_names):
        warnings.warn(
            f'{source}: background is not a class, because the model has its own background',
            stacklevel=stacklevel + 1,
        )
    if pairs:
        warnings.warn(
            f'{source}: class names that differ only by case or by space are different classes: '
            + join_first(pairs, 'more pairs'),
            stacklevel=stacklevel + 1,
        )


def find_similar_names(label_names: Iterable[str]) -> list[list[str]]:
    """Return groups of class names that differ only by case or by space.

    Parameters
    ----------
    label_names : iterable of str
        The classes.

    Returns
    -------
    list of lists of str
        Groups of two names or more.
    """
    groups: dict[str, list[str]] = {}
    for name in label_names:
        groups.setdefault(_fold(name), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _fold(name: str) -> str:
    """Return a name without case, space and Unicode's several forms of one letter."""
    return ''.join(unicodedata.normalize('NFKC', name).casefold().split())
