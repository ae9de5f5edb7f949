"""The files below a folder, by suffix, and the splits that the names of folders state."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from chainer_ssd.images import IMAGE_SUFFIXES

_MAX_DEPTH = 8
_DETECTOR_FILE = 'model.json'  # in a folder that chainer-ssd train writes, which holds pictures
#: Names of splits in folders, files and lists, in lower case and without a year.
_SPLIT_OF_NAME = {
    **dict.fromkeys(('train', 'training'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation', 'dev'), 'val'),
    **dict.fromkeys(('test', 'testing'), 'test'),
    'trainval': 'trainval',
}
#: The split of data that has none.
ALL = 'all'


def find_split(name: str) -> str | None:
    """Return 'train', 'val', 'test' or 'trainval' for a name such as Train or valid2017."""
    return _SPLIT_OF_NAME.get(re.sub(r'\d+$', '', name.casefold()))


def find_split_of_path(path: str) -> str | None:
    """Return the split that the last folder with the name of one states, None without one."""
    splits = [find_split(part) for part in path.split('/')[:-1]]
    return next((split for split in reversed(splits) if split), None)


def find_split_of_stem(stem: str) -> str | None:
    """Return the split in a file name such as instances_val2017, None without one."""
    parts = re.split(r'[^A-Za-z0-9]+', stem)
    return next((split for split in map(find_split, reversed(parts)) if split), None)


class FileTree:
    """The files below a folder.

    Hidden folders are left out, and so are results of trainings.

    Parameters
    ----------
    root : str
        The folder.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._by_suffix: dict[str, list[str]] = {}
        self.folders: list[str] = []
        seen = set()
        for folder, folders, files in os.walk(root, followlinks=True):
            inner = os.path.relpath(folder, root).replace(os.sep, '/')
            inner = '' if inner == '.' else inner
            place = os.stat(folder)
            is_result = inner and _DETECTOR_FILE in files
            if (place.st_dev, place.st_ino) in seen or is_result:
                folders.clear()
                continue
            seen.add((place.st_dev, place.st_ino))
            folders[:] = sorted(
                each for each in folders if not each.startswith('.') and each != '__MACOSX'
            )
            if inner.count('/') >= _MAX_DEPTH:
                folders.clear()
            self.folders.append(inner)
            for file in sorted(files):
                if not file.startswith('.'):
                    suffix = os.path.splitext(file)[1].lower()
                    self._by_suffix.setdefault(suffix, []).append(join(inner, file))

    def with_suffix(self, suffixes: Iterable[str]) -> list[str]:
        """Return the files with these suffixes, relative to the root, with slashes."""
        return [file for suffix in suffixes for file in self._by_suffix.get(suffix, ())]

    @property
    def images(self) -> list[str]:
        """The image files."""
        return self.with_suffix(IMAGE_SUFFIXES)

    def path(self, file: str) -> str:
        """Return the path of a file."""
        return os.path.join(self.root, *file.split('/'))

    def walk_named(self, names: Iterable[str], suffix: str) -> Iterator[str]:
        """Yield the files with one of these names, in lower case, in any case."""
        wanted = set(names)
        for file in self.with_suffix([suffix]):
            if file.rpartition('/')[2].casefold() in wanted:
                yield file


def join(folder: str, name: str) -> str:
    """Return a path with slashes below a root."""
    return f'{folder}/{name}' if folder else name


def stem_of(file: str) -> str:
    """Return the name of a file without folder and suffix."""
    return os.path.splitext(file.rpartition('/')[2])[0]
