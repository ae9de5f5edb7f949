"""Further forms in which ``chainer-ssd predict`` saves detections: YOLO, COCO, and crops.

``Saver`` states what the forms have in common.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

from chainer_ssd._array import Array
from chainer_ssd._files import replace_file, write_json
from chainer_ssd.datasets import COCOIds, to_coco_results, write_yolo_labels
from chainer_ssd.images import write_image
from chainer_ssd.visualizations import crop_bbox

LABELS_FOLDER, CROPS_FOLDER = 'labels', 'crops'
COCO_FILE, COCO_IMAGES_FILE = 'coco_detections.json', 'coco_images.json'
MAX_FOLDER_LETTERS = 60  # of a class name, whose letters can have 4 bytes


#: Boxes, labels and scores of one image.
Found = tuple[Array, Array, Array]


class Place(NamedTuple):
    """Where the results of an image or a frame belong.

    Attributes
    ----------
    file : str
        Name of the input.
    stem : str
        Beginning of the names of its results. No other input has it.
    frame : int or None
        Number of the frame of a video, counted from 0. None for an image.
    suffix : str
        That of pictures.
    """

    file: str
    stem: str
    frame: int | None
    suffix: str

    def result_name(self, end: str) -> str:
        """Return the name of a result, for frames with a folder.

        No image is in such a folder, and no file has the name of one, because it has a suffix. So
        names that end with the same suffix differ as the stems do.
        """
        if self.frame is None:
            return self.stem + end
        return os.path.join(f'{self.stem}_frames', f'{self.frame:06d}{end}')


class Saver:
    """What saves detections in one form.

    Attributes
    ----------
    folder : str or None
        Name of its folder in ``--out``.
    taken_stem : str or None
        Beginning of the name of a file of its own, which no input may have.
    """

    folder: str | None = None
    taken_stem: str | None = None

    def add(self, out: str, place: Place, img: Array, found: Found) -> None:
        """Save the detections of an image or a frame, or keep them for the end."""
        raise NotImplementedError

    def finish(self, out: str) -> None:
        """Write what is kept for the end."""


class YOLOLabels(Saver):
    """``labels/<stem>.txt`` for each image, and ``labels/classes.txt``.

    Parameters
    ----------
    label_names : sequence of str
        The classes.
    has_scores : bool
        Whether each line ends with the score.
    """

    folder, taken_stem = LABELS_FOLDER, 'classes'

    def __init__(self, label_names: Sequence[str], has_scores: bool) -> None:
        self._label_names, self._has_scores = label_names, has_scores

    def add(self, out: str, place: Place, img: Array, found: Found) -> None:
        """Write the label file of an image or a frame."""
        path = os.path.join(out, LABELS_FOLDER, place.result_name('.txt'))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        bbox, label, score = found
        write_yolo_labels(path, bbox, label, img.shape[1:], score if self._has_scores else None)

    def finish(self, out: str) -> None:
        """Write the class names, one a line."""
        names = ''.join(' '.join(name.split()) + '\n' for name in self._label_names)
        with replace_file(os.path.join(out, LABELS_FOLDER, f'{self.taken_stem}.txt')) as file:
            file.write(names.encode('utf-8', 'surrogateescape'))


class COCOResults(Saver):
    """``coco_detections.json``, and ``coco_images.json`` with the numbers that it uses.

    Parameters
    ----------
    label_names : sequence of str
        The classes.
    ids : COCOIds, optional
        The numbers of images and classes. Default: images and classes are counted from 1, and
        ``coco_images.json`` holds their numbers.
    """

    def __init__(self, label_names: Sequence[str], ids: COCOIds | None = None) -> None:
        self._label_names, self._ids = label_names, ids
        self._categories = range(1, len(label_names) + 1) if ids is None else ids.categories
        self._images: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] = []

    def add(self, out: str, place: Place, img: Array, found: Found) -> None:
        """Keep the detections of an image or a frame.

        Raises
        ------
        ValueError
            If the given file has no number for the image.
        """
        number = len(self._images) + 1 if self._ids is None else self._ids.find_image(place.file)
        if number is None:
            raise ValueError('the file of --coco-ids has no such image. The results leave it out')
        height, width = img.shape[1:]
        image = {'id': number, 'file_name': place.file, 'height': height, 'width': width}
        if place.frame is not None:
            image['frame'] = place.frame
        self._images.append(image)
        self._results += to_coco_results(number, *found, self._categories)

    def finish(self, out: str) -> None:
        """Write both files, the second one only without given numbers."""
        write_json(os.path.join(out, COCO_FILE), self._results)
        if self._ids is None:
            categories = [
                {'id': number, 'name': name}
                for number, name in zip(self._categories, self._label_names)
            ]
            images = {'images': self._images, 'annotations': [], 'categories': categories}
            write_json(os.path.join(out, COCO_IMAGES_FILE), images)


class Crops(Saver):
    """``crops/<class>/<stem>_<number>.png`` for each detection, without drawn boxes.

    Parameters
    ----------
    label_names : sequence of str
        The classes.
    """

    folder = CROPS_FOLDER

    def __init__(self, label_names: Sequence[str]) -> None:
        self._folders = name_folders(label_names)

    def add(self, out: str, place: Place, img: Array, found: Found) -> None:
        """Write the part of the image inside each box."""
        bbox, labels, _ = found
        for i, (crop, label) in enumerate(zip(crop_bbox(img, bbox), labels.tolist())):
            name = place.result_name(f'_{i}{place.suffix}')
            path = os.path.join(out, CROPS_FOLDER, self._folders[label], name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_image(crop, path)


def name_folders(label_names: Sequence[str]) -> list[str]:
    """Return a folder name for each class. Names that differ give folders that differ.

    Letters that a folder name should not have become ``_``.
    """
    folders: list[str] = []
    taken: set[str] = set()
    for name in label_names:
        folder = re.sub(r'^\.|[^\w.+-]', '_', name)[:MAX_FOLDER_LETTERS] or '_'
        folders.append(choose_name(folder, taken))
        taken.add(folders[-1].casefold())  # a file system may take both cases as one
    return folders


def choose_name(name: str, taken: Set[str]) -> str:
    """Return the name, or the first of ``name_2``, ``name_3``, ... that is free in any case.

    ``taken`` holds case-folded names.
    """
    names = itertools.chain([name], (f'{name}_{i}' for i in itertools.count(2)))
    return next(each for each in names if each.casefold() not in taken)
