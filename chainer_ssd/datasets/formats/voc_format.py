"""Pascal VOC's XML: the exact layout, LabelImg's folders, and exports of CVAT and Roboflow."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd.datasets._image_lookup import ImageFolder
from chainer_ssd.datasets._messages import join_first, shorten
from chainer_ssd.datasets.formats.file_tree import (
    ALL,
    FileTree,
    find_split,
    find_split_of_path,
    stem_of,
)
from chainer_ssd.datasets.formats.pairing import StemIndex
from chainer_ssd.datasets.found_dataset import FilePair, FoundDataset
from chainer_ssd.datasets.voc_bbox_dataset import VOCBboxDataset
from chainer_ssd.datasets.voc_list import (
    read_list_lines,
    read_voc_list,
    strip_list_line,
    voc_annotation_file,
)
from chainer_ssd.datasets.xml_bbox_dataset import XMLBboxDataset

_ROOT_TAG = re.compile(rb'<annotation[\s>]')
_HEAD_BYTES, _MAX_HEADS = 2048, 50


class VOCLists(FoundDataset):
    """A folder in VOC's exact layout. The parts are the names of its lists."""

    format = 'voc'

    def open(
        self,
        split: str,
        label_names: Sequence[str] | None = None,
        return_difficult: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
        exif: str = 'auto',
    ) -> VOCBboxDataset:
        """Return one split, or the images of any other list."""
        name = self._parts.get(split, split)
        return VOCBboxDataset(
            self.path, name, label_names, return_difficult, on_invalid, dtype, exif
        )

    def list_files(self, split: str) -> tuple[FilePair, ...]:
        """Return the files of one split. An image that is missing has no file."""
        folder = ImageFolder(os.path.join(self.path, 'JPEGImages'))
        pairs = []
        for name in read_voc_list(self.path, self._parts.get(split, split)).names:
            try:
                image = folder.find(name)
            except (FileNotFoundError, ValueError):
                image = ''
            pairs.append(FilePair(name, image, voc_annotation_file(self.path, name)))
        return tuple(pairs)

    def find_list(self, split: str) -> str | None:
        """Return the name of the list that a split is, None if there is none."""
        name = self._parts.get(split, split)
        path = os.path.join(self.path, 'ImageSets', 'Main', f'{name}.txt')
        return name if os.path.basename(name) == name and os.path.isfile(path) else None


class XMLFolders(FoundDataset):
    """XML files in any folders. The parts are lists of :class:`FilePair`."""

    format = 'voc'

    def open(
        self,
        split: str,
        label_names: Sequence[str] | None = None,
        return_difficult: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
        exif: str = 'auto',
    ) -> XMLBboxDataset:
        """Return one split."""
        pairs = self._get_part(split)
        missing = [pair.annotation_file for pair in pairs if not pair.image_file]
        if missing:
            raise FileNotFoundError(
                f'{shorten(self.path, 300)}: annotations without an image of their name: '
                f'{len(missing)}, {join_first(missing, max_items=5)}'
            )
        return XMLBboxDataset(
            [pair.image_file for pair in pairs],
            [pair.annotation_file for pair in pairs],
            self.path,
            label_names,
            return_difficult,
            on_invalid,
            dtype,
            exif,
        )

    def list_files(self, split: str) -> tuple[FilePair, ...]:
        """Return the files of one split. An image that is missing has no file."""
        return tuple(self._get_part(split))


def find_voc(path: str, tree: FileTree) -> FoundDataset | None:
    """Return the data set in VOC's XML below a folder, None if there is none.

    Raises
    ------
    ValueError
        If there are several folders in VOC's exact layout.
    """
    roots = sorted(
        os.path.dirname(os.path.dirname(folder))
        for folder in tree.folders
        if folder == 'ImageSets/Main' or folder.endswith('/ImageSets/Main')
    )
    roots = [root for root in roots if os.path.isdir(os.path.join(path, root, 'Annotations'))]
    if len(roots) > 1:
        options = ' '.join(f'--data {shorten(os.path.join(path, root), 200)}' for root in roots)
        raise ValueError(
            f'{shorten(path, 300)}: {len(roots)} data sets are in it, give them as {options}'
        )
    if roots:
        return _find_lists(os.path.join(path, roots[0]) if roots[0] else path)
    return _find_folders(path, tree)


def _find_lists(root: str) -> VOCLists | None:
    files = glob.glob(os.path.join(glob.escape(root), 'ImageSets', 'Main', '*.txt'))
    names = sorted(map(stem_of, files))
    if not names:
        return None
    # VOC also has a list for each class and split, such as cat_train.
    lists = [name for name in names if not any(name.endswith(f'_{other}') for other in names)]
    if len(lists) == 1 and find_split(lists[0]) is None:  # such as CVAT's default
        splits = {ALL: lists[0]}
    else:
        splits = {find_split(name) or name: name for name in lists}
        splits.update({name: name for name in lists if name in splits})
    return VOCLists(root, 'lists in ImageSets/Main', splits)


def _find_folders(path: str, tree: FileTree) -> XMLFolders | None:
    files = tree.with_suffix(['.xml'])
    if not any(_is_annotation(tree.path(file)) for file in files[:_MAX_HEADS]):
        return None
    images = StemIndex(tree.images, path)
    splits: dict[str, list[FilePair]] = {}
    used = set()
    for file in files:
        image = images.find(file)
        if image is None and not _is_annotation(tree.path(file)):
            continue  # a project file
        used.add(image)
        split = find_split_of_path(file) or (find_split_of_path(image) if image else None)
        pair = FilePair(stem_of(file), tree.path(image) if image else '', tree.path(file))
        splits.setdefault(split or ALL, []).append(pair)
    unused = [image for image in tree.images if image not in used]
    if unused:
        warnings.warn(
            f'{shorten(path, 300)}: images without an annotation, left out: {len(unused)}, '
            + join_first(unused, max_items=5),
            stacklevel=4,
        )
    layout = 'XML files beside their images or in other folders'
    if set(splits) == {ALL}:
        listed = _split_by_lists(path, tree, splits[ALL])
        return XMLFolders(path, f'{layout}{", with lists" if listed else ""}', listed or splits)
    return XMLFolders(path, layout, drop_unsplit(path, splits))


def drop_unsplit(path: str, splits: dict[str, list[FilePair]]) -> dict[str, list[FilePair]]:
    """Return the splits, and warn about files that are in none of them."""
    rest = splits.pop(ALL, None) if len(splits) > 1 else None
    if rest:
        warnings.warn(
            f'{shorten(path, 300)}: images outside of the folders of the splits, left out: '
            f'{len(rest)}, {join_first((pair.image_file for pair in rest), max_items=5)}',
            stacklevel=5,
        )
    return splits


def _split_by_lists(
    path: str, tree: FileTree, pairs: Sequence[FilePair]
) -> dict[str, list[FilePair]] | None:
    """Return the splits that lists such as train.txt state, None without such lists."""
    lists: dict[str, str] = {}
    for file in tree.with_suffix(['.txt']):
        split = find_split(stem_of(file))
        if split:
            lists.setdefault(split, file)
    by_name = {pair.name: pair for pair in pairs}
    splits: dict[str, list[FilePair]] = {}
    for split, file in lists.items():
        for number, line in enumerate(read_list_lines(tree.path(file)), 1):
            if line:
                name = strip_list_line(line, by_name)
                if name is None:
                    raise ValueError(
                        f'{shorten(tree.path(file), 300)}, line {number}: '
                        f'{shorten(line, 80)!r} has no annotation'
                    )
                splits.setdefault(split, []).append(by_name[name])
    return {split: list(dict.fromkeys(pairs)) for split, pairs in splits.items()} or None


def _is_annotation(path: str) -> bool:
    try:
        with open(path, 'rb') as file:
            return bool(_ROOT_TAG.search(file.read(_HEAD_BYTES).replace(b'\0', b'')))
    except OSError:
        return False
