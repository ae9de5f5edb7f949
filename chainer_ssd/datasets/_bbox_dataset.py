"""Base class of the data sets that read annotation files and image files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd.datasets._fingerprint import hash_contents
from chainer_ssd.datasets._messages import quote, shorten
from chainer_ssd.datasets.annotation_problem import AnnotationProblem
from chainer_ssd.datasets.orientation import (
    decide_orientation,
    fits_image,
    warn_about_orientation,
)
from chainer_ssd.images import read_image


class BboxDataset(chainer.dataset.DatasetMixin):
    """Images that are opened on access, with annotations that are held in memory.

    Item i is ``(img, bbox, label)``, followed by further columns that the subclass defines. Its
    constructor calls :meth:`_set_images` and :meth:`_set_annotations`.
    """

    label_names: tuple[str, ...]
    #: Objects that were left out.
    problems: tuple[AnnotationProblem, ...]
    #: File of each image.
    image_files: tuple[str, ...]
    #: (H, W) of each image as annotated, None if it is not known.
    image_sizes: tuple[tuple[float, float] | None, ...]
    #: Whether each image is turned as its EXIF orientation says.
    applies_orientation: tuple[bool, ...]

    def _set_images(
        self,
        names: Sequence[str],
        image_files: Sequence[str],
        image_sizes: Sequence[tuple[float, float] | None],
        dtype: np.dtype,
    ) -> None:
        """Store the names relative to the root, the files and the annotated sizes of all images."""
        self._names, self._dtype = tuple(names), dtype
        self.image_files, self.image_sizes = tuple(image_files), tuple(image_sizes)
        self._has_warned_about_size = False

    def _set_annotations(self, image_index: np.ndarray, columns: tuple[np.ndarray, ...]) -> None:
        """Store the objects of all images.

        Parameters
        ----------
        image_index : int array of shape (N,)
            Image of each object, in ascending order.
        columns : tuple of arrays of length N
            ``(bbox, label)`` of the objects, and further columns.
        """
        self._columns = columns
        self._start = np.searchsorted(image_index, np.arange(len(self.image_files) + 1))

    def _decide_orientation(
        self, image_index: np.ndarray, bbox: np.ndarray, exif: str, stacklevel: int = 2
    ) -> None:
        """Store which images are turned, from all valid boxes of the data set."""
        start = np.searchsorted(image_index, np.arange(len(self.image_files) + 1))
        bboxes = [bbox[a:b] for a, b in zip(start, start[1:])]
        decision = decide_orientation(self.image_files, self.image_sizes, bboxes, exif)
        warn_about_orientation(decision, stacklevel=stacklevel + 1)
        self.applies_orientation = decision.applies

    @property
    def fingerprint(self) -> str:
        """SHA-256 of image names, class names, boxes, labels and flags, in hexadecimal digits.

        It does not depend on the root folder or the pixels.
        """
        return hash_contents((self._names, self.label_names), (self._start, *self._columns))

    def __len__(self) -> int:
        return len(self.image_files)

    def get_annotation(self, i: int) -> tuple[np.ndarray, ...]:
        """Return item ``i`` without its image. The image file is not opened.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        tuple
            ``(bbox, label)`` and further columns. The arrays are copies, so they may be changed.
        """
        i = range(len(self))[i]
        rows = slice(self._start[i], self._start[i + 1])
        return tuple(column[rows].copy() for column in self._columns)

    def get_example(self, i: int) -> tuple[np.ndarray, ...]:
        """Return item ``i``.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        tuple
            ``(img, bbox, label)`` and further columns.

        Raises
        ------
        ValueError
            If the image cannot be read completely.
        """
        annotation = self.get_annotation(i)
        img = read_image(
            self.image_files[i],
            dtype=self._dtype,
            apply_orientation=self.applies_orientation[i],
        )
        if not self._has_warned_about_size:
            self._warn_about_size(i, img.shape[1:], annotation[0])
        return (img, *annotation)

    def _warn_about_size(self, i: int, found: tuple[int, ...], bbox: np.ndarray) -> None:
        """Warn once for the data set if an image does not have the size that its boxes need."""
        size = self.image_sizes[i]
        if size == found:
            return
        if size is not None:
            reason = f'{size} in its annotation'
        elif len(bbox) and not fits_image(bbox, found).all():
            reason = 'and its boxes reach outside'
        else:
            return
        self._has_warned_about_size = True
        warnings.warn(
            f'{shorten(self.image_files[i], 300)}: (H, W) is {found}, {reason}; '
            'the boxes may belong to another picture',
            stacklevel=4,
        )


def to_size(height: float | None, width: float | None) -> tuple[float, float] | None:
    """Return an annotated (H, W), or None unless both sides are finite and above 0."""
    if height is None or width is None:
        return None
    return (height, width) if all(0 < side < float('inf') for side in (height, width)) else None


def check_dtype(dtype: Any) -> np.dtype:
    """Return the dtype of images, or raise unless it is float32 or uint8."""
    try:
        if np.dtype(dtype) in (np.float32, np.uint8):
            return np.dtype(dtype)
    except TypeError:
        pass
    raise ValueError(f'dtype = {quote(dtype)}: expected float32 or uint8')


def check_path(name: str, path: str | os.PathLike[str]) -> str:
    """Return a path as a str, or raise ``TypeError``."""
    if isinstance(path, (str, os.PathLike)):
        text = os.fspath(path)
        if isinstance(text, str):
            return text
    raise TypeError(f'{name} = {quote(path)}: expected a path, a str or a pathlib.Path')
