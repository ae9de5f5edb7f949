"""The folder that the images of a JSON file of COCO are in, which the file does not state."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

from chainer_ssd._files import read_bytes
from chainer_ssd.datasets._messages import quote, shorten
from chainer_ssd.datasets.formats.file_tree import find_split

_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')
_N_SAMPLE = 20
#: Annotations of the largest data sets have 6 GB.
MAX_BYTES = 8 * 2**30
_MAX_FOLDERS = 1000


def find_image_root(file: str, split: str | None = None) -> str:
    """Return the folder that the names of a file's images are relative to.

    It is the folder of the file or one near it that holds most of the first images. Of several, it
    is one with the name of the split, such as val2017.

    Raises
    ------
    FileNotFoundError
        If no folder holds one of them.
    """
    content = read_bytes(file, MAX_BYTES)
    names = [
        _to_text(match[1])
        for match, _ in zip(_FILE_NAME.finditer(content.replace(b'\0', b'')), range(_N_SAMPLE))
    ]
    best, best_count = os.path.dirname(file) or '.', 0
    for folders in _list_near_folders(os.path.dirname(file) or '.'):
        for folder in sorted(folders, key=lambda f: find_split(os.path.basename(f)) != split):
            count = sum(_exists(folder, name) for name in names)
            if count > best_count:
                best, best_count = folder, count
        if best_count == len(names):
            break
    if names and not best_count:
        raise FileNotFoundError(
            f'{shorten(file, 300)}: its image {quote(names[0])} is in no folder near it'
        )
    return best


def _exists(folder: str, name: str) -> bool:
    if os.path.isabs(name):
        return name.startswith(os.path.join(os.path.abspath(folder), '')) and os.path.isfile(name)
    return any(
        os.path.isfile(os.path.join(folder, each)) for each in {name, name.replace('\\', '/')}
    )


def _list_near_folders(folder: str) -> Iterator[list[str]]:
    """Yield a folder, then the ones in it, then its parent with the ones in that."""
    yield [folder]
    yield list(_walk_folders(folder))
    parent = os.path.dirname(os.path.abspath(folder))
    yield [parent, *_walk_folders(parent)]


def _walk_folders(folder: str) -> Iterator[str]:
    level = [folder]
    n_folder = 0
    for _ in range(3):
        level = [inner.path for each in level for inner in _scan_folders(each)]
        for each in level:
            n_folder += 1
            if n_folder > _MAX_FOLDERS:
                return
            yield each


def _scan_folders(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            found = [each for each in entries if each.is_dir() and not each.name.startswith('.')]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)


def _to_text(content: bytes) -> str:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode('utf-8', 'replace')
