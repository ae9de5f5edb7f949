"""What :func:`find_dataset` finds: the base class of all formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from chainer_ssd._options import check_choice
from chainer_ssd.datasets.voc_annotation import VOCAnnotation


class FilePair(NamedTuple):
    """An image with its annotation file.

    Attributes
    ----------
    name : str
        Name of the image, for messages.
    image_file : str
        The image. Empty if there is none.
    annotation_file : str or None
        Its annotation. None if there is none.
    """

    name: str
    image_file: str
    annotation_file: str | None


class FoundDataset:
    """A data set on the disk, whose images are not opened yet. :func:`find_dataset` returns it.

    Parameters
    ----------
    path : str
        The folder or file.
    layout : str
        What was found, in words.
    splits : mapping
        The files of each split, in a form of the format's own.
    label_names : tuple of str, optional
        The classes that it declares. Default: the names stand in the annotations alone.

    Attributes
    ----------
    path, layout, label_names
        As given.
    format : str
        ``'voc'``, ``'coco'`` or ``'yolo'``.
    splits : tuple of str
        Names of its splits: ``'train'``, ``'val'``, ``'test'``, ``'trainval'``, and other names of
        lists. ``('all',)`` if it has none.
    """

    format: ClassVar[str]

    def __init__(
        self,
        path: str,
        layout: str,
        splits: Mapping[str, Any],
        label_names: tuple[str, ...] | None = None,
    ) -> None:
        self.path, self.layout, self.label_names = path, layout, label_names
        rank = {split: i for i, split in enumerate(('train', 'val', 'test', 'trainval'))}
        self._parts = {
            split: splits[split] for split in sorted(splits, key=lambda s: (rank.get(s, 4), s))
        }

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self._parts)

    def open(
        self,
        split: str,
        label_names: Sequence[str] | None = None,
        return_difficult: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
        exif: str = 'auto',
    ) -> Any:
        """Return one split as a data set.

        Parameters
        ----------
        split : str
            One of ``splits``, or for VOC any list in ImageSets/Main/.
        label_names : sequence of str, optional
            The classes, in the order of their labels. Default: those of the data set.
        return_difficult : bool
            True: items have a fourth element. It is True for VOC's difficult objects and COCO's
            crowds, and False for all of YOLO's. Default: False.
        on_invalid : {'drop', 'raise'}
            What happens to an object without a valid box.
        dtype : dtype
            Of the images: float32 (default) or uint8.
        exif : {'auto', 'apply', 'ignore'}
            Whether images are turned as their EXIF orientation says.

        Returns
        -------
        data set
            A :class:`VOCBboxDataset`, :class:`XMLBboxDataset`, :class:`COCOBboxDataset` or
            :class:`YOLOBboxDataset`.

        Raises
        ------
        OSError, ValueError, TypeError, ImportError
            As the data set's constructor. ``ValueError`` for an unknown split.
        """
        raise NotImplementedError

    def list_files(self, split: str) -> tuple[FilePair, ...]:
        """Return the files of one split.

        Parameters
        ----------
        split : str
            One of ``splits``.

        Returns
        -------
        tuple of FilePair
            One for each image. COCO's have the same annotation file.

        Raises
        ------
        OSError, ValueError
            If a list or an annotation file cannot be read.
        """
        raise NotImplementedError

    def read_annotations(self, split: str) -> Iterator[tuple[FilePair, VOCAnnotation]]:
        """Yield each image of a split with its annotation, and do not stop at a fault.

        VOC's files are read by :func:`read_voc_annotation` instead.

        Parameters
        ----------
        split : str
            One of ``splits``.

        Yields
        ------
        tuple
            The files of an image, and its objects in the form of VOC's. An object without a known
            class has no name, and is among the ``problems``.

        Raises
        ------
        OSError, ValueError
            If the file of a whole split cannot be read.
        """
        raise NotImplementedError

    def find_list(self, split: str) -> str | None:
        """Return the name of the list in ImageSets/Main/ that a split is.

        Parameters
        ----------
        split : str
            One of ``splits``, or the name of any list.

        Returns
        -------
        str or None
            None without such a list, and for all layouts but VOC's own.
        """
        return None

    def _get_part(self, split: str) -> Any:
        return self._parts[check_choice(f'{self.path}: split', split, self.splits)]
