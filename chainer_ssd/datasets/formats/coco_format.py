"""COCO's JSON: one file, or one for each split, with the folder of its images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._files import read_bytes
from chainer_ssd.datasets._coco_annotation import (
    find_images,
    index_by_id,
    is_integer,
    read_coco,
    read_image_size,
)
from chainer_ssd.datasets._coco_box import read_boxes
from chainer_ssd.datasets._messages import join_first, quote, shorten
from chainer_ssd.datasets.annotation_problem import AnnotationProblem
from chainer_ssd.datasets.coco_bbox_dataset import COCOBboxDataset
from chainer_ssd.datasets.formats.coco_image_root import MAX_BYTES, find_image_root
from chainer_ssd.datasets.formats.file_tree import (
    ALL,
    FileTree,
    find_split_of_path,
    find_split_of_stem,
)
from chainer_ssd.datasets.found_dataset import FilePair, FoundDataset
from chainer_ssd.datasets.voc_annotation import VOCAnnotation, VOCObject

_ROBOFLOW_FILE = '_annotations.coco.json'
_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_MAX_FILES = 100


class COCOFiles(NamedTuple):
    """An annotation file and the folder of its images."""

    annotation_file: str
    image_root: str


class COCOSplits(FoundDataset):
    """Annotation files of COCO. The parts are :class:`COCOFiles`."""

    format = 'coco'

    def open(
        self,
        split: str,
        label_names: Sequence[str] | None = None,
        return_difficult: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
        exif: str = 'auto',
    ) -> COCOBboxDataset:
        """Return one split. Crowds take the place of difficult objects."""
        file, image_root = self._get_part(split)
        return COCOBboxDataset(
            file,
            image_root,
            label_names,
            return_crowd=return_difficult,
            on_invalid=on_invalid,
            dtype=dtype,
            exif=exif,
        )

    def list_files(self, split: str) -> tuple[FilePair, ...]:
        """Return the images of one split. An image that is missing has no file."""
        file, image_root = self._get_part(split)
        pairs = []
        for image in index_by_id(read_coco(file)['images'], file, 'images').values():
            name = str(image.get('file_name'))
            pairs.append(FilePair(name, _find_image(image, image_root, file), file))
        return tuple(pairs)

    def read_annotations(self, split: str) -> Iterator[tuple[FilePair, VOCAnnotation]]:
        """Yield each image with its annotation. Unknown categories are among the problems."""
        file, image_root = self._get_part(split)
        coco = read_coco(file)
        categories = index_by_id(coco['categories'], file, 'categories')
        by_image: dict[Any, dict[int, Any]] = {}
        for row, each in enumerate(coco['annotations']):
            key = each.get('image_id')
            by_image.setdefault(key if is_integer(key) else None, {})[row] = each
        for key, image in index_by_id(coco['images'], file, 'images').items():
            name = str(image.get('file_name'))
            pair = FilePair(name, _find_image(image, image_root, file), file)
            found = _read_objects(by_image.pop(key, {}), categories, key, name, file)
            yield pair, VOCAnnotation(found[0], read_image_size(image), found[1])
        for key, others in by_image.items():  # of no image
            reason = f'there is no image with its image_id {quote(key)}'
            problems = tuple(AnnotationProblem(file, '', row, 'no_image', reason) for row in others)
            yield FilePair('', '', None), VOCAnnotation((), None, problems)


def _find_image(image: Mapping[str, Any], image_root: str, file: str) -> str:
    """Return the file of an image, empty if it is missing or outside of the folder."""
    try:
        return find_images({image['id']: image}, image_root, file)[1][0]
    except (OSError, ValueError):
        return ''


def _read_objects(
    annotations: dict[int, Any], categories: Mapping[int, Any], key: int, name: str, file: str
) -> tuple[tuple[VOCObject, ...], tuple[AnnotationProblem, ...]]:
    """Return the objects of one image that have a class, and the problems of all."""
    boxes, found = read_boxes(annotations, {key: name}, file)
    problems = list(found)
    objects = []
    for row, each in annotations.items():
        category = each.get('category_id')
        class_name = None
        if is_integer(category) and category in categories:
            class_name = categories[category].get('name')
        if not isinstance(class_name, str) or not class_name.strip():
            reason = f'no category with its category_id {quote(category)} has a name'
            problems.append(AnnotationProblem(file, name, row, 'no_name', reason))
        elif row in boxes:
            bbox = tuple(boxes[row].tolist())
            objects.append(VOCObject(class_name, bbox, each.get('iscrowd') == 1))
    return tuple(objects), tuple(problems)


def find_coco(path: str, tree: FileTree) -> COCOSplits | None:
    """Return the data set in COCO's format below a folder, None if there is none.

    Raises
    ------
    ValueError
        If several files are of one split.
    FileNotFoundError
        If no folder holds the images of a file.
    """
    files = tree.with_suffix(['.json'])
    for names in (
        [file for file in files if file.rpartition('/')[2].casefold() == _ROBOFLOW_FILE],
        [file for file in files if file.rpartition('/')[2].startswith('instances_')],
        # Formats with a file for each image, such as LabelMe's, are not COCO's.
        files if len(files) <= _MAX_FILES else [],
    ):
        found = [file for file in names if is_coco(tree.path(file))]
        if found:
            break
    else:
        return None
    splits: dict[str, list[str]] = {}
    for file in found:
        stem = os.path.splitext(file.rpartition('/')[2])[0]
        split = find_split_of_stem(stem) or find_split_of_path(file) or ALL
        splits.setdefault(split, []).append(file)
    doubled = [files for files in splits.values() if len(files) > 1]
    if doubled or (ALL in splits and len(splits) > 1):
        raise ValueError(
            f'{shorten(path, 300)}: several annotation files of one split: '
            f'{join_first(doubled[0] if doubled else found)}. Give one of the files'
        )
    return COCOSplits(
        path,
        'one JSON file' if len(found) == 1 else 'a JSON file for each split',
        {
            split: COCOFiles(
                tree.path(splits[split][0]), find_image_root(tree.path(splits[split][0]), split)
            )
            for split in splits
        },
    )


def open_coco_file(path: str) -> COCOSplits:
    """Return the data set of one annotation file."""
    split = find_split_of_stem(os.path.splitext(os.path.basename(path))[0])
    files = COCOFiles(path, find_image_root(path, split))
    return COCOSplits(path, 'one JSON file', {ALL: files})


def is_coco(path: str) -> bool:
    """Return whether a file holds the words that COCO's format needs."""
    try:
        content = read_bytes(path, MAX_BYTES).replace(b'\0', b'')
    except (OSError, ValueError):
        return False
    return all(key in content for key in _KEYS)
