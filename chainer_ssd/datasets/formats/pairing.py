"""Which image belongs to which annotation file, by their names, wherever they are."""

from __future__ import annotations

import os
from collections.abc import Sequence

from chainer_ssd.datasets._messages import join_first, shorten
from chainer_ssd.datasets.formats.file_tree import find_split_of_path, stem_of


class StemIndex:
    """Files by their name without folder and suffix.

    Parameters
    ----------
    files : sequence of str
        Paths below one root, with slashes.
    root : str
        The root, for messages.
    """

    def __init__(self, files: Sequence[str], root: str) -> None:
        self._root = root
        self._files: dict[str, list[str]] = {}
        self._folded: dict[str, list[str]] = {}
        for file in files:
            self._files.setdefault(stem_of(file), []).append(file)
            self._folded.setdefault(stem_of(file).casefold(), []).append(file)

    def find(self, file: str) -> str | None:
        """Return the file that belongs to another one, None if there is none.

        It has the same name without suffix, and is of the same split. Of several, the one in the
        same folder is chosen, then the one whose path has the most folders in common.

        Raises
        ------
        ValueError
            If several fit equally.
        """
        stem, split = stem_of(file), find_split_of_path(file)
        candidates = self._files.get(stem) or self._folded.get(stem.casefold(), [])
        candidates = [each for each in candidates if _agree(split, find_split_of_path(each))]
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        scores = [_count_common_folders(file, each) for each in candidates]
        best = [each for each, score in zip(candidates, scores) if score == max(scores)]
        if len(best) > 1:
            raise ValueError(
                f'{shorten(os.path.join(self._root, file), 300)}: several files belong to it by '
                f'their names, expected one: {join_first(best)}'
            )
        return best[0]


def _agree(split: str | None, other: str | None) -> bool:
    return split is None or other is None or split == other


def _count_common_folders(file: str, other: str) -> tuple[bool, int]:
    """Return whether two files are in one folder, and how many folders their paths share."""
    a, b = file.split('/')[:-1], other.split('/')[:-1]
    n_first = _count_equal(a, b)
    n_last = _count_equal(a[n_first:][::-1], b[n_first:][::-1])
    return a == b, n_first + n_last


def _count_equal(a: Sequence[str], b: Sequence[str]) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[n].casefold() == b[n].casefold():
        n += 1
    return n
