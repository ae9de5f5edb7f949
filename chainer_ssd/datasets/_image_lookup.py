"""Image files of a folder by their names without suffix."""

from __future__ import annotations

import os

from chainer_ssd.datasets._messages import join_first, shorten
from chainer_ssd.images import IMAGE_SUFFIXES


class ImageFolder:
    """Lookup of image files by name, which reads each folder once.

    Parameters
    ----------
    root : str
        Folder that the names are relative to.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str) -> str:
        """Return the path of an image.

        Parameters
        ----------
        name : str
            Name without suffix. It may have sub-folders.

        Returns
        -------
        str
            Path with suffix.

        Raises
        ------
        FileNotFoundError
            If there is no image of this name.
        ValueError
            If there are several.
        """
        inner, stem = os.path.split(name)
        folder = os.path.join(self._root, inner) if inner else self._root
        if folder not in self._files:
            self._files[folder] = _list_files(folder)
        candidates = self._files[folder].get(stem, [])
        files = [file for file in candidates if _suffix(file) in IMAGE_SUFFIXES]
        path = os.path.join(folder, stem)
        if not files:
            raise FileNotFoundError(
                f'{shorten(path, 300)}: no image with one of the suffixes {IMAGE_SUFFIXES}'
                + _describe_others(folder, candidates)
            )
        if len(files) > 1:
            raise ValueError(
                f'{shorten(path, 300)}: several images have this name, expected one: '
                + join_first(sorted(files))
            )
        path = os.path.join(folder, files[0])
        if not os.path.isfile(path):
            raise ValueError(f'{shorten(path, 300)}: expected a regular file')
        return path


def _list_files(folder: str) -> dict[str, list[str]]:
    """Return the file names of a folder by their stem."""
    files: dict[str, list[str]] = {}
    try:
        for name in os.listdir(folder):
            files.setdefault(os.path.splitext(name)[0], []).append(name)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return files


def _suffix(file: str) -> str:
    return os.path.splitext(file)[1].lower()


def _describe_others(folder: str, candidates: list[str]) -> str:
    if candidates:
        return f', only {join_first(candidates)}'
    return '' if os.path.isdir(folder) else f'. {shorten(folder, 300)} is not a folder'
