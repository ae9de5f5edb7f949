"""Data sets in the layout of Pascal VOC."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._options import check_flag
from chainer_ssd.datasets._bbox_dataset import check_path
from chainer_ssd.datasets._image_lookup import ImageFolder
from chainer_ssd.datasets._messages import join_first, shorten
from chainer_ssd.datasets.voc_list import describe_wrong_name, read_voc_list, voc_annotation_file
from chainer_ssd.datasets.xml_bbox_dataset import XMLBboxDataset


class VOCBboxDataset(XMLBboxDataset):
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
        Folder that holds Annotations/, ImageSets/Main/ and JPEGImages/, with images of any suffix
        in ``chainer_ssd.images.IMAGE_SUFFIXES``, in any case.
    split : str
        Name of the list to read: ImageSets/Main/<split>.txt, see :func:`read_voc_list`.
    label_names : sequence of str, optional
        The classes, in the order of their labels. Default: the names in this split, sorted. If
        these are exactly the 20 of VOC, they get VOC's order. Pass the ``label_names`` of the
        training set to the other splits, or ``VOC_LABEL_NAMES`` for a part of VOC.
    return_difficult : bool
        True: all objects, with the flag. False (default): without the difficult ones, because
        without the flag they look like any other object. ChainerCV does the same by default.
    on_invalid : {'drop', 'raise'}
        What happens if a box is inverted, has no area or is not finite, or if an object's box
        cannot be read (rotated, polygon only, decimal comma, another tag). 'drop' (default): the
        object is left out and listed in ``problems``. One warning for invalid boxes and one for
        unreadable boxes state their number and the files. 'raise': a ``ValueError``.
    dtype : dtype
        Of the images: float32 (default) or uint8. uint8 images are read-only, take a quarter of the
        memory, and are augmented faster.
    exif : {'auto', 'apply', 'ignore'}
        Whether images are turned as their EXIF orientation says. 'auto' (default): as their boxes
        need it, see :func:`decide_orientation`. Choose one of the others if a warning says that the
        data set does not show it.

    Attributes
    ----------
    ids : list of str
        Names of the images, in the order of the list. An image that is listed twice counts once.
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
        If a list, an annotation or an image is missing. If it is the list, the message names the
        lists that exist, or folders nearby that hold some.
    ValueError
        If an annotation is malformed, hostile (entities, too deep, too large) or not VOC's, or an
        object has no name. If the list is empty or not text, or a name leads out of ``root``. If
        two images have one name. If a name is not in ``label_names``. If a box is invalid and
        ``on_invalid`` is 'raise'. If an option has no valid value. On access: if an image is
        broken, truncated, or has more than 8 bits per channel. The message names the file.
    TypeError
        If ``label_names`` is not a sequence of str, or an option has another type than stated.
    ImportError
        If defusedxml or Pillow is missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        At most once for each reason and data set, with the first file. Objects are left out. Boxes
        reach outside their image, look like fractions in [0, 1], or have x and y swapped. The size
        of an image differs from the one in its annotation. An image is listed twice. Class names
        differ only by case or by space. EXIF turns an image, and nothing shows whether its boxes
        turn with it.

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
        exif: str = 'auto',
    ) -> None:
        self.return_difficult = check_flag('return_difficult', return_difficult)
        root = check_path('root', root)
        listed = read_voc_list(root, split)
        self.ids = list(listed.names)
        files = [voc_annotation_file(root, name) for name in self.ids]
        folder = ImageFolder(os.path.join(root, 'JPEGImages'))
        image_files = []
        for name, file in zip(self.ids, files):
            if not os.path.lexists(file):
                raise FileNotFoundError(
                    f'{shorten(file, 300)}: no such annotation, which {shorten(listed.file, 300)} '
                    f'names. {describe_wrong_name(root, name)}'
                )
            image_files.append(folder.find(name))
        if listed.repeated:
            warnings.warn(
                f'{shorten(listed.file, 300)}: images that stand more than once, counted once: '
                f'{len(listed.repeated)}, {join_first(listed.repeated)}',
                stacklevel=2,
            )
        self._read_annotations(
            self.ids, image_files, files, root, label_names, on_invalid, dtype, exif
        )
