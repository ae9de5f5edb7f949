"""Data sets in YOLO's format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd import images
from chainer_ssd._options import check_choice, check_flag, check_label_names
from chainer_ssd.datasets._bbox_dataset import BboxDataset, check_dtype, check_path
from chainer_ssd.datasets._box_problems import (
    classify_boxes,
    report_problems,
    warn_about_implausible_boxes,
    warn_about_missing_labels,
)
from chainer_ssd.datasets._messages import join_first, quote, shorten
from chainer_ssd.datasets.annotation_problem import AnnotationProblem
from chainer_ssd.datasets.class_names import warn_about_label_names
from chainer_ssd.datasets.yolo_labels import read_yolo_labels

_TURNED = 5  # EXIF orientations from this one on exchange height and width


class YOLOBboxDataset(BboxDataset):
    """Images and label files in YOLO's format.

    Item i is ``(img, bbox, label)``, or ``(img, bbox, label, difficult)``:

    ``img``: float32 or uint8 (3, H, W), RGB, 0..255.
    ``bbox``: float32 (R, 4), (y_min, x_min, y_max, x_max), pixels: the corners of the line's
    fractions ``x_center y_center width height``.
    ``label``: int32 (R,), the number in the line.
    ``difficult``: bool (R,), all False, because YOLO has no such flag.

    :func:`find_dataset` finds the files of a folder with ``data.yaml`` or ``classes.txt``. The
    constructor reads and checks all label files, and the header of each image for its size. An
    image is opened on access.

    Parameters
    ----------
    image_files : sequence of str or path
        The images.
    label_files : sequence of str, path or None
        The label file of each image. None for an image without one, which has no object.
    label_names : sequence of str
        The classes, in the order of their numbers.
    root : str or path
        Folder that the names of the images are relative to, in ``fingerprint`` and in messages.
    return_difficult : bool
        True: with the flags, so that items have the form of Pascal VOC's. Default: False.
    on_invalid : {'drop', 'raise'}
        What happens if a box is inverted, has no area or is not finite, or cannot be read (a
        polygon, a rotated box, pixels, a decimal comma). 'drop' (default): the object is left out
        and listed in ``problems``. One warning for invalid boxes and one for unreadable boxes state
        their number and the files. 'raise': a ``ValueError``.
    dtype : dtype
        Of the images: float32 (default) or uint8.
    exif : {'auto', 'apply', 'ignore'}
        Whether images are turned as their EXIF orientation says. 'auto' (default) and 'apply': they
        are, as YOLO's own loaders turn them. Fractions fit both pictures, so they prove nothing.

    Attributes
    ----------
    label_files : tuple of str or None
        As given.
    label_names : tuple of str
        The classes.
    return_difficult : bool
        As given.
    n_difficult : int
        0.
    n_without_labels : int
        Number of images without a label file.
    problems : tuple of AnnotationProblem
        Objects that were left out, with file and reason.
    image_files : tuple of str
        File of each image.
    image_sizes : tuple
        (H, W) of each image as its boxes need it, None if the image cannot be read.
    applies_orientation : tuple of bool
        Whether each image is turned as EXIF says.
    fingerprint : str
        SHA-256 of names, classes, boxes and labels.

    Raises
    ------
    FileNotFoundError
        If an image or a label file is missing.
    ValueError
        If a label file is not text, or the number of a class is no integer or not that of a class.
        If no image has a label file, or the numbers of files differ. If a box is invalid and
        ``on_invalid`` is 'raise'. If the header of an image with labels cannot be read. On access:
        if an image is broken. The message names the file and the line.
    TypeError
        If an option has another type than stated.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        At most once for each reason and data set, with the first file. Objects are left out. Boxes
        reach outside their image. Images have no label file. Class names differ only by case or by
        space.

    Notes
    -----
    The format is described at https://docs.ultralytics.com/datasets/detect/.
    """

    def __init__(
        self,
        image_files: Sequence[str | os.PathLike[str]],
        label_files: Sequence[str | os.PathLike[str] | None],
        label_names: Sequence[str],
        root: str | os.PathLike[str],
        return_difficult: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
        exif: str = 'auto',
    ) -> None:
        check_choice('on_invalid', on_invalid, ('drop', 'raise'))
        check_choice('exif', exif, ('auto', 'apply', 'ignore'))
        self.return_difficult = check_flag('return_difficult', return_difficult)
        dtype = check_dtype(dtype)
        root = check_path('root', root)
        self.label_names = check_label_names(label_names)
        files = [check_path('image_files', file) for file in image_files]
        self.label_files = tuple(
            None if file is None else check_path('label_files', file) for file in label_files
        )
        if len(files) != len(self.label_files) or not files:
            raise ValueError(
                f'{len(files)} image_files and {len(self.label_files)} label_files: expected one '
                'label file or None for each image, and at least one image'
            )
        self.n_without_labels = sum(file is None for file in self.label_files)
        if self.n_without_labels == len(files):
            raise ValueError(
                f'{shorten(root, 300)}: none of {len(files)} images has a label file, expected '
                f'for example {quote(os.path.splitext(os.path.basename(files[0]))[0] + ".txt")}'
            )
        self.applies_orientation = (exif != 'ignore',) * len(files)
        sizes = [read_yolo_image_size(file, exif) for file in files]
        names = [os.path.relpath(file, root) for file in files]
        self._set_images(names, files, sizes, dtype)

        # Below, each array has one entry per object of all images, in the order of the images.
        found: list[tuple[int, int, int, tuple[float, ...]]] = []
        problems: list[AnnotationProblem] = []
        for i, file in enumerate(self.label_files):
            if file is not None:
                problems += self._read_labels(i, file, found)
        with np.errstate(over='ignore'):  # a number beyond float32 becomes inf, and so invalid
            bbox = np.array([box for _, _, _, box in found], np.float64).reshape(-1, 4)
            bbox = bbox.astype(np.float32)
        kinds = classify_boxes(bbox)
        for kind, (i, row, label, box) in zip(kinds, found):
            if kind is not None:
                reason = describe_invalid(self.label_names[label], box)
                problems.append(
                    AnnotationProblem(self.label_files[i] or '', files[i], row, kind, reason)
                )
        order = {file: i for i, file in enumerate(files)}
        problems.sort(key=lambda each: (order[each.image], each.row or 0))
        self.problems = tuple(problems)
        report_problems(self.problems, on_invalid)
        warn_about_missing_labels(files, self.label_files)
        warn_about_label_names(self.label_names, root)
        kept = np.array([kind is None for kind in kinds], bool)
        bbox = bbox[kept]
        image_index = np.array([i for i, _, _, _ in found], int)[kept]
        columns = [bbox, np.array([label for _, _, label, _ in found], np.int32)[kept]]
        size = np.array([size or (np.nan, np.nan) for size in sizes])[image_index]
        warn_about_implausible_boxes(bbox, size, image_index, self.label_files)
        self.n_difficult = 0
        if self.return_difficult:
            columns.append(np.zeros(len(bbox), bool))
        self._set_annotations(image_index, tuple(columns))

    def _read_labels(
        self, i: int, file: str, found: list[tuple[int, int, int, tuple[float, ...]]]
    ) -> Sequence[AnnotationProblem]:
        """Append the objects of image i, and return what is left out of it."""
        image, size = self.image_files[i], self.image_sizes[i]
        labels = read_yolo_labels(file, size or (np.nan, np.nan), image)
        for problem in labels.problems:
            if problem.kind == 'no_name':
                raise ValueError(problem.describe())
        if size is None and labels.objects:
            images.read_header(image)  # raises
        for each in labels.objects:
            if not 0 <= each.label < len(self.label_names):
                raise ValueError(
                    f'{shorten(file, 300)}, object {each.row}: '
                    + describe_unknown_number(each.label, self.label_names)
                )
            if each.bbox is not None:
                found.append((i, each.row, each.label, each.bbox))
        return labels.problems


def read_yolo_image_size(file: str, exif: str = 'auto') -> tuple[float, float] | None:
    """Return the (H, W) that the fractions of an image belong to, None if it cannot be read.

    Parameters
    ----------
    file : str
        Image file.
    exif : {'auto', 'apply', 'ignore'}
        As for :class:`YOLOBboxDataset`.

    Returns
    -------
    tuple of float or None
        (H, W).

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    """
    try:
        header = images.read_header(file)
    except FileNotFoundError:
        raise FileNotFoundError(f'{shorten(file, 300)}: no such image') from None
    except (OSError, ValueError):  # the error is raised when the image is read
        return None
    is_turned = exif != 'ignore' and header.orientation >= _TURNED
    return header.size[::-1] if is_turned else header.size


def describe_unknown_number(label: int, label_names: Sequence[str]) -> str:
    """Return the message for a class number that is out of range."""
    names = join_first(map(quote, label_names))
    return f'class {label}, expected 0 to {len(label_names) - 1}, the positions in [{names}]'


def describe_invalid(name: str, bbox: Sequence[float]) -> str:
    """Return the message for a box in pixels that is invalid."""
    numbers = ', '.join(f'{value:.12g}' for value in bbox)
    return (
        f'{quote(name)}, (y_min, x_min, y_max, x_max) = ({numbers}), expected finite fractions '
        'with width > 0 and height > 0'
    )
