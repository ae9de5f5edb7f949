"""Data sets of annotation files in Pascal VOC's XML, wherever the files are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._options import check_choice, check_flag
from chainer_ssd.datasets._bbox_dataset import BboxDataset, check_dtype, check_path
from chainer_ssd.datasets._box_problems import report_problems, warn_about_implausible_boxes
from chainer_ssd.datasets._messages import shorten
from chainer_ssd.datasets._voc_objects import VOCObjects, join_objects
from chainer_ssd.datasets.class_names import (
    choose_label_names,
    describe_unknown_name,
    warn_about_label_names,
)
from chainer_ssd.datasets.voc_annotation import read_voc_annotation


class XMLBboxDataset(BboxDataset):
    """Images and annotation files in Pascal VOC's XML, given file by file.

    :func:`find_dataset` finds the files of LabelImg's folders and of exports of labelling tools.
    An item is that of :class:`VOCBboxDataset`: ``(img, bbox, label)``, or ``(img, bbox, label,
    difficult)``. So are the checks of the annotations and the warnings.

    Parameters
    ----------
    image_files : sequence of str or path
        The images.
    annotation_files : sequence of str or path
        The annotation of each image.
    root : str or path
        Folder that the names of the images are relative to, in ``fingerprint`` and in messages.
    label_names : sequence of str, optional
        The classes, in the order of their labels. Default: the names in these files, sorted. If
        these are exactly the 20 of VOC, they get VOC's order.
    return_difficult : bool
        True: all objects, with the flag. False (default): without the difficult ones.
    on_invalid : {'drop', 'raise'}
        What happens to an object without a valid box, as for :class:`VOCBboxDataset`.
    dtype : dtype
        Of the images: float32 (default) or uint8.
    exif : {'auto', 'apply', 'ignore'}
        Whether images are turned as their EXIF orientation says. 'auto' (default): as their boxes
        need it, see :func:`decide_orientation`.

    Attributes
    ----------
    annotation_files : tuple of str
        The annotation of each image.
    label_names : tuple of str
        The classes.
    return_difficult : bool
        As given.
    n_difficult : int
        Number of difficult objects, returned or not.
    problems : tuple of AnnotationProblem
        Objects that were left out, with file and reason.
    image_files : tuple of str
        File of each image.
    image_sizes : tuple
        (H, W) of each image as annotated, None if it is not known.
    applies_orientation : tuple of bool
        Whether each image is turned as EXIF says.
    fingerprint : str
        SHA-256 of names, classes, boxes, labels and flags.

    Raises
    ------
    FileNotFoundError
        If an annotation or an image is missing.
    ValueError
        If an annotation is malformed, hostile or not VOC's, or an object has no name. If a name is
        not in ``label_names``. If the numbers of files differ, or there is none. If a box is
        invalid and ``on_invalid`` is 'raise'. The message names the file.
    TypeError
        If an option has another type than stated.
    ImportError
        If defusedxml or Pillow is missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        As :class:`VOCBboxDataset`.
    """

    def __init__(
        self,
        image_files: Sequence[str | os.PathLike[str]],
        annotation_files: Sequence[str | os.PathLike[str]],
        root: str | os.PathLike[str],
        label_names: Sequence[str] | None = None,
        return_difficult: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
        exif: str = 'auto',
    ) -> None:
        self.return_difficult = check_flag('return_difficult', return_difficult)
        root = check_path('root', root)
        images = [check_path('image_files', file) for file in image_files]
        files = [check_path('annotation_files', file) for file in annotation_files]
        if len(images) != len(files) or not images:
            raise ValueError(
                f'{len(images)} image_files and {len(files)} annotation_files: expected one '
                'annotation for each image, and at least one image'
            )
        for image in images:
            if not os.path.isfile(image):
                raise FileNotFoundError(f'{shorten(image, 300)}: no such image')
        names = [os.path.relpath(image, root) for image in images]
        self._read_annotations(names, images, files, root, label_names, on_invalid, dtype, exif)

    def _read_annotations(
        self,
        names: Sequence[str],
        image_files: Sequence[str],
        files: Sequence[str],
        root: str,
        label_names: Sequence[str] | None,
        on_invalid: str,
        dtype: Any,
        exif: str,
    ) -> None:
        """Read all annotations, and store images and objects. The constructor calls it."""
        check_choice('on_invalid', on_invalid, ('drop', 'raise'))
        check_choice('exif', exif, ('auto', 'apply', 'ignore'))
        dtype = check_dtype(dtype)
        self.annotation_files = tuple(files)
        annotations = [read_voc_annotation(*each) for each in zip(files, image_files)]
        self._set_images(
            names, image_files, [annotation.image_size for annotation in annotations], dtype
        )

        objects = join_objects(annotations, files, image_files)
        self.label_names = choose_label_names(label_names, set(objects.file_of_name))
        label = _to_label(objects, self.label_names)
        self.problems = objects.problems
        report_problems(self.problems, on_invalid, stacklevel=3)
        warn_about_label_names(self.label_names, root, stacklevel=3)
        bbox, image_index = objects.bbox, objects.image_index
        size = np.array([size or (np.nan, np.nan) for size in self.image_sizes])[image_index]
        warn_about_implausible_boxes(bbox, size, image_index, files, offset=1, stacklevel=3)
        self._decide_orientation(image_index, bbox, exif, stacklevel=3)

        self.n_difficult = int(objects.is_difficult.sum())
        kept = slice(None) if self.return_difficult else ~objects.is_difficult
        columns = bbox[kept], label[kept], objects.is_difficult[kept]
        self._set_annotations(image_index[kept], columns if self.return_difficult else columns[:2])


def _to_label(objects: VOCObjects, label_names: tuple[str, ...]) -> np.ndarray:
    label_of = {name: label for label, name in enumerate(label_names)}
    for name, file in objects.file_of_name.items():
        if name not in label_of:
            raise ValueError(f'{shorten(file, 300)}: {describe_unknown_name(name, label_names)}')
    return np.array([label_of[name] for name in objects.names], dtype=np.int32)
