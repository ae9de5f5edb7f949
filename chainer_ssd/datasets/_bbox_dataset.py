"""Base class of the data sets that read annotation files and image files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd.images import read_image


class BboxDataset(chainer.dataset.DatasetMixin):
    """Images that are opened on access, with annotations that are held in memory.

    Item i is ``(img, bbox, label)``, or ``(img, bbox, label, flag)``. The subclass defines the
    flag. Its constructor calls :meth:`_set_annotations`.
    """

    def _set_annotations(
        self,
        image_files: Sequence[str],
        image_sizes: Sequence[tuple[float, float] | None],
        image_index: np.ndarray,
        columns: tuple[np.ndarray, ...],
        dtype: Any,
    ) -> None:
        """Store the annotations of all images.

        Parameters
        ----------
        image_files : sequence of str
            File of each image.
        image_sizes : sequence of tuple or None
            (H, W) of each image as annotated. None if it is not known.
        image_index : int array of shape (N,)
            Image of each object, in ascending order.
        columns : tuple of arrays of length N
            ``(bbox, label)`` or ``(bbox, label, flag)`` of the objects.
        dtype : dtype
            Of the images: float32 or uint8.
        """
        if np.dtype(dtype) not in (np.float32, np.uint8):
            raise ValueError(f'dtype = {dtype!r}: expected float32 or uint8')
        self._dtype = np.dtype(dtype)
        self._image_files, self._image_sizes, self._columns = image_files, image_sizes, columns
        self._start = np.searchsorted(image_index, np.arange(len(image_files) + 1))
        self._has_warned_about_size = False

    def __len__(self) -> int:
        return len(self._image_files)

    def get_annotation(self, i: int) -> tuple[np.ndarray, ...]:
        """Return item ``i`` without its image. The image file is not opened.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        tuple
            ``(bbox, label)``, or ``(bbox, label, flag)``. The arrays are copies, so they may be
            changed.
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
            ``(img, bbox, label)``, or ``(img, bbox, label, flag)``.

        Raises
        ------
        ValueError
            If the image cannot be read completely.
        """
        size = self._image_sizes[i]
        img = read_image(self._image_files[i], size, self._dtype)
        if size not in (None, img.shape[1:]) and not self._has_warned_about_size:
            self._has_warned_about_size = True
            warnings.warn(
                f'{self._image_files[i]}: (H, W) is {img.shape[1:]}, {size} in its annotation; '
                'the boxes may belong to another picture',
                stacklevel=3,
            )
        return (img, *self.get_annotation(i))


def is_known_size(size: tuple[float, float]) -> bool:
    """Return whether both sides of an annotated image size are finite and above 0."""
    return all(0 < side < float('inf') for side in size)
