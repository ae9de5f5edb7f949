"""Reading of Pascal VOC's lists of images, with messages that name what exists instead."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

_LIST_FOLDER = os.path.join('ImageSets', 'Main')
_MAX_NAMES_IN_MESSAGE = 10


def read_list(root: str, split: str) -> list[str]:
    """Return the names of the images that ``ImageSets/Main/<split>.txt`` lists.

    Raises
    ------
    FileNotFoundError
        If the list does not exist. The message names the lists or the data sets that do.
    ValueError
        If the list is empty.
    """
    path = os.path.join(root, _LIST_FOLDER, f'{split}.txt')
    try:
        with open(path, encoding='utf-8-sig') as lines:
            names = [line.strip() for line in lines if line.strip()]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f'{path}: no such list: {_describe_root(root)}') from error
    if not names:
        raise ValueError(f'{path}: lists no image')
    return names


def _describe_root(root: str) -> str:
    """Return which lists a folder holds, or which folders near it are in VOC's layout."""
    if not os.path.isdir(root):
        return f'{root} is not a folder'
    files = glob.glob(os.path.join(glob.escape(root), _LIST_FOLDER, '*.txt'))
    if files:
        splits = [os.path.splitext(os.path.basename(file))[0] for file in files]
        # The shortest names first: VOC also has one list per class and split.
        splits.sort(key=lambda split: (len(split), split))
        return f'there are {_join_first(splits)}'
    patterns = [
        glob.escape(os.path.dirname(os.path.abspath(root))),
        os.path.join(glob.escape(root), '*'),
        os.path.join(glob.escape(root), '*', '*'),
    ]
    roots = [
        folder[: -len(_LIST_FOLDER) - 1]
        for pattern in patterns
        for folder in sorted(glob.glob(os.path.join(pattern, _LIST_FOLDER)))
    ]
    text = f"{root} is not in Pascal VOC's layout (Annotations, {_LIST_FOLDER}, JPEGImages)"
    return text + (f'. These folders are: {_join_first(roots)}' if roots else '')


def _join_first(names: Sequence[str]) -> str:
    n_more = len(names) - _MAX_NAMES_IN_MESSAGE
    text = ', '.join(names[:_MAX_NAMES_IN_MESSAGE])
    return text + (f' and {n_more} more' if n_more > 0 else '')
