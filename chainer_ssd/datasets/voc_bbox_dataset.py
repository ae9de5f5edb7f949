"""Data sets in the layout of Pascal VOC."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._options import check_choice, check_label_names
from chainer_ssd.datasets._bbox_dataset import BboxDataset
from chainer_ssd.datasets._box_checks import find_valid_boxes, warn_about_implausible_boxes
from chainer_ssd.datasets._voc_annotation import CORNERS, parse_annotation, parse_number
from chainer_ssd.datasets._voc_list import read_list

#: Names of Pascal VOC's 20 classes, in the order of their labels.
VOC_LABEL_NAMES = (
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
)

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.JPG', '.JPEG', '.PNG')


class VOCBboxDataset(BboxDataset):
    """Images and boxes of a folder in Pascal VOC's layout.

    Item i is ``(img, bbox, label)``, or ``(img, bbox, label, difficult)``:

    ``img``: float32 or uint8 (3, H, W), RGB, 0..255.
    ``bbox``: float32 (R, 4), (y_min, x_min, y_max, x_max), pixels, 0-based: the file's minus 1.
    ``label``: int32 (R,), positions in ``label_names``.
    ``difficult``: bool (R,).

    An image without objects has R = 0. The constructor reads and checks all annotations, and checks
    that all images exist. An image is opened on access.

    Parameters
    ----------
    root : str or path
        Folder that holds Annotations/, ImageSets/Main/ and JPEGImages/ (.jpg, .jpeg, .png).
    split : str
        Name of the list to read: ImageSets/Main/<split>.txt, one image name per line.
    label_names : sequence of str, optional
        The classes, in the order of their labels. Default: the 20 of VOC if they include every name
        in this split, else the names in this split, sorted. Pass the ``label_names`` of the
        training set to the other splits.
    return_difficult : bool
        True: all objects, with the flag. False (default): without the difficult ones, because
        without the flag they look like any other object. ChainerCV does the same by default.
    on_invalid : {'drop', 'raise'}
        What happens if a box is inverted, has no area, is not finite or is not a number. 'drop'
        (default): the box is dropped, and one warning states the number of boxes and the files.
        'raise': a ``ValueError``.
    dtype : dtype
        Of the images: float32 (default) or uint8. uint8 images are read-only, take a quarter of the
        memory, and are augmented faster.

    Attributes
    ----------
    ids : list of str
        Names of the images, in the order of the list.
    label_names : tuple of str
        The classes.
    return_difficult : bool
        As given.

    Raises
    ------
    FileNotFoundError
        If a list, an annotation or an image is missing. If it is the list, the message names the
        lists that exist, or folders nearby that hold some.
    ValueError
        If an annotation is malformed, hostile (entities) or not VOC's, or the list is empty. If a
        name is not in ``label_names``. If a box is invalid and ``on_invalid`` is 'raise'. If an
        option has no valid value. On access: if an image is broken, truncated, or has more than 8
        bits per channel. The message names the file.
    TypeError
        If ``label_names`` is not a sequence of str.
    ImportError
        If defusedxml or Pillow is missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        At most once for each reason and data set, with the first file. Boxes reach outside their
        image, look like fractions in [0, 1], or have x and y swapped. The size of an image differs
        from the one in its annotation.

    Notes
    -----
    Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge" (2010).
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str,
        label_names: Sequence[str] | None = None,
        return_difficult: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
    ) -> None:
        check_choice('on_invalid', on_invalid, ('drop', 'raise'))
        root = os.fspath(root)
        self.return_difficult = return_difficult
        self.ids = read_list(root, split)
        files = [os.path.join(root, 'Annotations', f'{name}.xml') for name in self.ids]
        annotations = [parse_annotation(file) for file in files]
        image_files = [_find_image(os.path.join(root, 'JPEGImages', name)) for name in self.ids]
        image_sizes = [annotation.image_size for annotation in annotations]

        # Below, each array has one entry per object of all images.
        image_index = np.repeat(np.arange(len(files)), [len(each.names) for each in annotations])
        names = [name for each in annotations for name in each.names]
        corners = [texts for each in annotations for texts in each.corners]
        difficult = np.array([flag for each in annotations for flag in each.difficults], dtype=bool)
        self.label_names = _choose_label_names(label_names, set(names))
        label = _to_label(names, self.label_names, image_index, files)
        bbox = _to_bbox(corners)

        def describe(row: int) -> str:
            row_in_image = row - np.searchsorted(image_index, image_index[row])
            return (
                f'{files[image_index[row]]}, object {row_in_image} ({names[row]!r}): {CORNERS} = '
                f'{corners[row]}, expected finite numbers with ymin < ymax and xmin < xmax'
            )

        is_valid = find_valid_boxes(bbox, image_index, files, on_invalid, describe)
        size = np.array([size or (np.nan, np.nan) for size in image_sizes])[image_index]
        warn_about_implausible_boxes(bbox[is_valid], size[is_valid], image_index[is_valid], files)

        kept = is_valid if return_difficult else is_valid & ~difficult
        columns = bbox[kept], label[kept], difficult[kept]
        self._set_annotations(
            image_files,
            image_sizes,
            image_index[kept],
            columns if return_difficult else columns[:2],
            dtype,
        )


def _find_image(stem: str) -> str:
    for suffix in _SUFFIXES:
        if os.path.isfile(stem + suffix):
            return stem + suffix
    raise FileNotFoundError(f'{stem}: no image with one of the suffixes {_SUFFIXES}')


def _choose_label_names(label_names: Sequence[str] | None, found: set[str]) -> tuple[str, ...]:
    if label_names is not None:
        return check_label_names(label_names)
    return VOC_LABEL_NAMES if found <= set(VOC_LABEL_NAMES) else tuple(sorted(found))


def _to_label(
    names: Sequence[str], label_names: tuple[str, ...], image_index: np.ndarray, files: list[str]
) -> np.ndarray:
    label_of = {name: label for label, name in enumerate(label_names)}
    for name, i in zip(names, image_index):
        if name not in label_of:
            raise ValueError(
                f'{files[i]}: the name {name!r} is not among label_names = {label_names}'
            )
    return np.array([label_of[name] for name in names], dtype=np.int32)


def _to_bbox(corners: Sequence[tuple[str | None, ...]]) -> np.ndarray:
    values = [[parse_number(text) for text in texts] for texts in corners]
    with np.errstate(over='ignore'):  # a number beyond float32 becomes inf, and so invalid
        return (np.array(values).reshape(-1, 4) - 1).astype(np.float32)
