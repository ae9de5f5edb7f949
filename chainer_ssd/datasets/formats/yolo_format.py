"""YOLO's label files: with data.yaml, or with classes.txt and folders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chainer_ssd._options import check_label_names
from chainer_ssd.datasets._messages import join_first, quote, shorten
from chainer_ssd.datasets.annotation_problem import AnnotationProblem
from chainer_ssd.datasets.class_names import read_label_names
from chainer_ssd.datasets.formats.file_tree import (
    ALL,
    FileTree,
    find_split,
    find_split_of_path,
    stem_of,
)
from chainer_ssd.datasets.formats.pairing import StemIndex
from chainer_ssd.datasets.formats.voc_format import drop_unsplit
from chainer_ssd.datasets.formats.yolo_place import list_place
from chainer_ssd.datasets.formats.yolo_yaml import YOLOConfig, read_yolo_yaml
from chainer_ssd.datasets.found_dataset import FilePair, FoundDataset
from chainer_ssd.datasets.joined_bbox_dataset import JoinedBboxDataset
from chainer_ssd.datasets.voc_annotation import VOCAnnotation, VOCObject
from chainer_ssd.datasets.voc_list import read_list_lines
from chainer_ssd.datasets.yolo_bbox_dataset import (
    YOLOBboxDataset,
    describe_unknown_number,
    read_yolo_image_size,
)
from chainer_ssd.datasets.yolo_labels import read_yolo_labels
from chainer_ssd.images import IMAGE_SUFFIXES

_CLASS_FILES = ('classes.txt', 'obj.names', 'class.names')
_YAML_SUFFIXES = ('.yaml', '.yml')
_MAX_TRIED = 20


class YOLOFiles(FoundDataset):
    """Label files of YOLO. The parts are lists of :class:`FilePair`."""

    format = 'yolo'

    def open(
        self,
        split: str,
        label_names: Sequence[str] | None = None,
        return_difficult: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
        exif: str = 'auto',
    ) -> YOLOBboxDataset | JoinedBboxDataset:
        """Return one split. Its classes are renumbered if ``label_names`` has another order."""
        pairs = self._get_part(split)
        names = self.label_names
        if names is None:
            if label_names is None:
                raise ValueError(
                    f'{shorten(self.path, 300)}: no data.yaml and no classes.txt states the '
                    'class names. Give them, one a line, with --label-names'
                )
            names = check_label_names(label_names)
        found = YOLOBboxDataset(
            [pair.image_file for pair in pairs],
            [pair.annotation_file for pair in pairs],
            names,
            self.path if os.path.isdir(self.path) else os.path.dirname(self.path) or '.',
            return_difficult,
            on_invalid,
            dtype,
            exif,
        )
        if label_names is None or tuple(label_names) == names:
            return found
        return JoinedBboxDataset([found], label_names)

    def list_files(self, split: str) -> tuple[FilePair, ...]:
        """Return the files of one split."""
        return tuple(self._get_part(split))

    def read_annotations(self, split: str) -> Iterator[tuple[FilePair, VOCAnnotation]]:
        """Yield each image with its annotation. Unknown classes are among the problems."""
        for pair in self._get_part(split):
            yield pair, self._read_annotation(pair)

    def _read_annotation(self, pair: FilePair) -> VOCAnnotation:
        try:
            size = read_yolo_image_size(pair.image_file)
        except FileNotFoundError:
            size = None
        if pair.annotation_file is None:
            return VOCAnnotation((), size, ())
        found = read_yolo_labels(pair.annotation_file, size or (1, 1), pair.image_file)
        objects, problems = [], list(found.problems)
        for each in found.objects:
            name = None
            if self.label_names is None:
                name = str(each.label)
            elif 0 <= each.label < len(self.label_names):
                name = self.label_names[each.label]
            else:
                reason = describe_unknown_number(each.label, self.label_names)
                problems.append(
                    AnnotationProblem(
                        pair.annotation_file, pair.image_file, each.row, 'no_name', reason
                    )
                )
            objects.append(VOCObject(name, each.bbox, False))
        return VOCAnnotation(tuple(objects), size, tuple(problems))


def find_yolo(path: str, tree: FileTree) -> YOLOFiles | None:
    """Return the data set in YOLO's format below a folder, None if there is none.

    Raises
    ------
    ValueError
        If several files state class names, and these differ.
    """
    configs = [
        config
        for file in tree.with_suffix(_YAML_SUFFIXES)
        if file.count('/') <= 1
        for config in [read_yolo_yaml(tree.path(file))]
        if config is not None
    ]
    if len(configs) > 1:
        named = [each for each in configs if stem_of(each.file) in ('data', 'dataset')]
        if len(named) != 1:
            raise ValueError(
                f'{shorten(path, 300)}: several files have class names: '
                f'{join_first(each.file for each in configs)}. Give one of them as the path'
            )
        configs = named
    if configs:
        found = open_yolo_yaml(path, configs[0], tree)
        has_labels = any(pair.annotation_file for s in found.splits for pair in found.list_files(s))
        return found if has_labels else None
    label_names = _find_class_file(path, tree)
    splits = _find_splits(path, tree)
    if splits is None or (label_names is None and not _are_labels(splits)):
        return None
    layout = 'label files, ' + ('no class names' if label_names is None else 'classes.txt')
    return YOLOFiles(path, layout, splits, label_names)


def open_yolo_yaml(path: str, config: YOLOConfig, tree: FileTree) -> YOLOFiles:
    """Return the data set that a data.yaml describes."""
    if config.missing:
        entries = ', '.join(f'{split}: {quote(value)}' for split, value in config.missing.items())
        warnings.warn(
            f'{shorten(config.file, 300)}: these entries do not exist, and are left out: {entries}',
            stacklevel=4,
        )
    name = os.path.basename(config.file)
    splits = {
        split: list(dict.fromkeys(pair for place in places for pair in list_place(place)))
        for split, places in config.places.items()
    }
    if 'train' not in splits:  # the paths of another machine
        found = _find_splits(path, tree)
        if found is None:
            raise ValueError(
                f'{shorten(config.file, 300)}: no image with a label file below its folder, and '
                'its entry train names none'
            )
        splits = found
    _check_places(config, splits)
    return YOLOFiles(path, name, splits, config.label_names)


def _check_places(config: YOLOConfig, splits: Mapping[str, Sequence[FilePair]]) -> None:
    for split, pairs in splits.items():
        if not pairs:
            raise ValueError(f'{shorten(config.file, 300)}: no image in its entry {split}')


def _find_splits(path: str, tree: FileTree) -> dict[str, list[FilePair]] | None:
    """Return the images by split, from the names of folders, or None without a label file."""
    labels = StemIndex(tree.with_suffix(['.txt']), path)
    splits: dict[str, list[FilePair]] = {}
    n_found = 0
    for image in tree.images:
        file = labels.find(image)
        n_found += file is not None
        split = find_split_of_path(image) or (find_split_of_path(file) if file else None)
        label_file = None if file is None else tree.path(file)
        pair = FilePair(image, tree.path(image), label_file)
        splits.setdefault(split or ALL, []).append(pair)
    if not n_found:
        return None
    if set(splits) == {ALL}:
        listed = {}
        for file in tree.with_suffix(['.txt']):
            split = find_split(stem_of(file))
            if split and any(map(_names_image, read_list_lines(tree.path(file)))):
                listed[split] = list_place(tree.path(file))
        return listed or splits
    return drop_unsplit(path, splits)


def _names_image(line: str) -> bool:
    return line.casefold().endswith(IMAGE_SUFFIXES)


def _find_class_file(path: str, tree: FileTree) -> tuple[str, ...] | None:
    """Return the class names in classes.txt, None without such a file."""
    files = [
        file for name in _CLASS_FILES for file in tree.walk_named([name], os.path.splitext(name)[1])
    ]
    found = {file: read_label_names(tree.path(file)) for file in files}
    if len(set(found.values())) > 1:
        raise ValueError(
            f'{shorten(path, 300)}: several files have class names that differ: {join_first(found)}'
        )
    return next(iter(found.values()), None)


def _are_labels(splits: Mapping[str, Sequence[FilePair]]) -> bool:
    """Return whether the first text files beside images are YOLO's."""
    files = [pair.annotation_file for pairs in splits.values() for pair in pairs]
    tried = [file for file in files if file is not None][:_MAX_TRIED]
    try:
        found = [read_yolo_labels(file, (1, 1)) for file in tried]
    except (OSError, ValueError):
        return False
    return any(each.objects for each in found) and not any(
        problem.kind == 'no_name' for each in found for problem in each.problems
    )
