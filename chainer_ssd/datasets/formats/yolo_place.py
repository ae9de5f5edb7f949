"""The images that an entry of data.yaml names, with their label files."""

from __future__ import annotations

import os

from chainer_ssd.datasets._messages import quote, shorten
from chainer_ssd.datasets.formats.file_tree import FileTree
from chainer_ssd.datasets.found_dataset import FilePair
from chainer_ssd.datasets.voc_list import read_list_lines


def list_place(place: str) -> list[FilePair]:
    """Return the images of a folder or of a list, with their label files."""
    if os.path.isdir(place):
        tree = FileTree(place)
        images = sorted(tree.path(file) for file in tree.images)
    else:
        folder = os.path.dirname(place)
        images = [_find_listed(folder, line, place) for line in read_list_lines(place) if line]
    return [FilePair(image, image, _find_label_file(image)) for image in images]


def _find_listed(folder: str, line: str, place: str) -> str:
    """Return the image that a line of a list names, in the folder of the list or below it."""
    parts = [part for part in line.replace('\\', '/').split('/') if part not in ('', '.')]
    if '..' in parts:
        raise ValueError(
            f'{shorten(place, 300)}: {quote(line)} leads out of its folder, expected a name in it'
        )
    for n in range(len(parts)):
        path = os.path.join(folder, *parts[n:])
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(f'{shorten(place, 300)}: no such image: {quote(line)}')


def _find_label_file(image: str) -> str | None:
    """Return the label file of an image, by the rule of YOLO's own loaders, then near it."""
    folder, name = os.path.split(os.path.splitext(image)[0] + '.txt')
    parts = folder.split(os.sep)
    folders = [folder]
    for n in reversed(range(len(parts))):
        if parts[n].casefold() == 'images':
            for labels in ('labels', 'Labels', 'LABELS'):
                folders.insert(0, os.sep.join([*parts[:n], labels, *parts[n + 1 :]]))
            break
    folders += [os.path.join(folder, 'labels'), os.path.join(folder, '..', 'labels')]
    paths = (os.path.join(each, name) for each in folders)
    return next((os.path.normpath(path) for path in paths if os.path.isfile(path)), None)
