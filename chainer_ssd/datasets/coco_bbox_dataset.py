"""Data sets in the format of COCO's object detection annotations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._options import check_choice
from chainer_ssd.datasets._bbox_dataset import BboxDataset
from chainer_ssd.datasets._box_checks import find_valid_boxes, warn_about_implausible_boxes
from chainer_ssd.datasets._coco_annotation import (
    assign_labels,
    check_annotation,
    find_image,
    index_by_id,
    read_coco,
    read_image_size,
    to_bbox,
)


class COCOBboxDataset(BboxDataset):
    """Images and boxes of a COCO annotation file.

    Item i is ``(img, bbox, label)``, or ``(img, bbox, label, crowd)``:

    ``img``: float32 or uint8 (3, H, W), RGB, 0..255.
    ``bbox``: float32 (R, 4), (y_min, x_min, y_max, x_max), pixels: the corners of the file's [x, y,
    width, height].
    ``label``: int32 (R,), positions in ``label_names``.
    ``crowd``: bool (R,), the file's ``iscrowd``.

    :class:`chainer_ssd.MatchTransform` treats ``crowd`` like VOC's ``difficult``: default boxes
    that a crowd covers are neither positive nor negative. An image without objects has R = 0. The
    constructor reads and checks the file, and checks that all images exist. An image is opened on
    access.

    Parameters
    ----------
    annotation_file : str or path
        JSON file with ``images``, ``annotations`` and ``categories``.
    image_root : str or path
        Folder that the ``file_name`` of each image is relative to.
    label_names : sequence of str, optional
        The classes, in the order of their labels. Default: the names of all categories, in the
        order of their ids. So sparse ids become 0, 1, 2, ... (COCO's ids go to 90 for 80 classes).
    return_crowd : bool
        True: all objects, with the flag. False (default): without crowds.
    on_invalid : {'drop', 'raise'}
        What happens if a box is inverted, has no area, is not finite or is not four numbers. 'drop'
        (default): the box is dropped, and one warning states the number of boxes and the files.
        'raise': a ``ValueError``.
    dtype : dtype
        Of the images: float32 (default) or uint8. uint8 images are read-only, take a quarter of the
        memory, and are augmented faster.

    Attributes
    ----------
    ids : list
        Ids of the images, in ascending order.
    label_names : tuple of str
        The classes.
    return_crowd : bool
        As given.

    Raises
    ------
    FileNotFoundError
        If the annotation file or an image is missing.
    ValueError
        If the file is not JSON or not COCO's, or has no image. If an id stands twice, or an
        annotation names an image or a category that does not exist. If the name of its category is
        not in ``label_names``. If a box is invalid and ``on_invalid`` is 'raise'. If an option has
        no valid value. On access: if an image is broken, truncated, or has more than 8 bits per
        channel. The message names the file, and the annotation by its id.
    TypeError
        If ``label_names`` is not a sequence of str.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        At most once for each reason and data set, with the first file. Boxes reach outside their
        image, look like fractions in [0, 1], or have x and y swapped. The size of an image differs
        from the one in the annotation file.

    Notes
    -----
    Lin et al., "Microsoft COCO: Common Objects in Context" (2014). The data format is described at
    https://cocodataset.org/#format-data.
    """

    def __init__(
        self,
        annotation_file: str | os.PathLike[str],
        image_root: str | os.PathLike[str],
        label_names: Sequence[str] | None = None,
        return_crowd: bool = False,
        on_invalid: str = 'drop',
        dtype: Any = np.float32,
    ) -> None:
        check_choice('on_invalid', on_invalid, ('drop', 'raise'))
        file = os.fspath(annotation_file)
        self.return_crowd = return_crowd
        coco = read_coco(file)
        images = index_by_id(coco['images'], file, 'images')
        categories = index_by_id(coco['categories'], file, 'categories')
        if not images:
            raise ValueError(f'{file}: lists no image')
        self.ids = list(images)
        image_files = [find_image(image, image_root, file) for image in images.values()]
        image_sizes = [read_image_size(image) for image in images.values()]
        self.label_names, label_of = assign_labels(label_names, categories, file)

        annotations = coco['annotations']
        for annotation in annotations:
            check_annotation(annotation, images, categories, label_of, self.label_names, file)
        position = {key: i for i, key in enumerate(images)}
        annotations.sort(key=lambda annotation: position[annotation['image_id']])

        # Below, each array has one entry per object of all images.
        image_index = np.array([position[each['image_id']] for each in annotations], dtype=int)
        label = np.array([label_of[each['category_id']] for each in annotations], dtype=np.int32)
        crowd = np.array([each.get('iscrowd', 0) for each in annotations], dtype=bool)
        bbox = to_bbox([each.get('bbox') for each in annotations])

        def describe(row: int) -> str:
            return (
                f'{file}, annotation {annotations[row].get("id")!r} of '
                f'{image_files[image_index[row]]}: bbox = {annotations[row].get("bbox")!r}, '
                'expected finite [x, y, width, height] with width > 0 and height > 0'
            )

        is_valid = find_valid_boxes(bbox, image_index, image_files, on_invalid, describe)
        size = np.array([size or (np.nan, np.nan) for size in image_sizes])[image_index]
        warn_about_implausible_boxes(
            bbox[is_valid], size[is_valid], image_index[is_valid], image_files
        )

        kept = is_valid if return_crowd else is_valid & ~crowd
        columns = bbox[kept], label[kept], crowd[kept]
        self._set_annotations(
            image_files,
            image_sizes,
            image_index[kept],
            columns if return_crowd else columns[:2],
            dtype,
        )
