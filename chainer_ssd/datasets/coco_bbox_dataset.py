"""Data sets in the format of COCO's object detection annotations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._options import check_choice, check_flag
from chainer_ssd.datasets._bbox_dataset import BboxDataset, check_dtype, check_path
from chainer_ssd.datasets._box_problems import report_problems, warn_about_implausible_boxes
from chainer_ssd.datasets._coco_annotation import (
    assign_labels,
    check_annotation,
    find_images,
    find_root_categories,
    index_by_id,
    read_area,
    read_coco,
    read_image_size,
)
from chainer_ssd.datasets._coco_box import read_boxes
from chainer_ssd.datasets.class_names import warn_about_label_names


class COCOBboxDataset(BboxDataset):
    """Images and boxes of a COCO annotation file.

    Item i is ``(img, bbox, label)``, followed by ``area`` and ``crowd`` if they are asked for:

    ``img``: float32 or uint8 (3, H, W), RGB, 0..255.
    ``bbox``: float32 (R, 4), (y_min, x_min, y_max, x_max), pixels: the corners of the file's [x, y,
    width, height].
    ``label``: int32 (R,), positions in ``label_names``.
    ``area``: float32 (R,), the file's ``area``: pixels of the object's outline, for the evaluation.
    ``crowd``: bool (R,), the file's ``iscrowd``.

    :class:`chainer_ssd.MatchTransform` treats ``crowd`` like VOC's ``difficult``: default boxes
    that a crowd covers are neither positive nor negative. An image without objects has R = 0. The
    constructor reads and checks the file, and checks that all images exist. An image is opened on
    access.

    Parameters
    ----------
    annotation_file : str or path
        JSON file with ``images``, ``annotations`` and ``categories``, in UTF-8 or UTF-16.
    image_root : str or path
        Folder that the ``file_name`` of each image is relative to. A ``file_name`` that leads out
        of it is an error.
    label_names : sequence of str, optional
        The classes, in the order of their labels. Default: the names of all categories, in the
        order of their ids. So sparse ids become 0, 1, 2, ... (COCO's ids go to 90 for 80 classes).
        Roboflow's root category is no class: it has the supercategory "none" and no annotation, and
        its name is the supercategory of the others.
    return_crowd : bool
        True: all objects, with the flag. False (default): without crowds.
    on_invalid : {'drop', 'raise'}
        What happens if a box is inverted, has no area or is not finite, or if an object's box
        cannot be read (no four numbers, segmentation only). 'drop' (default): the object is left
        out and listed in ``problems``. One warning for invalid boxes and one for unreadable boxes
        state their number and the files. 'raise': a ``ValueError``.
    dtype : dtype
        Of the images: float32 (default) or uint8. uint8 images are read-only, take a quarter of the
        memory, and are augmented faster.
    return_area : bool
        True: with the area of each object. False (default): without.
    exif : {'auto', 'apply', 'ignore'}
        Whether images are turned as their EXIF orientation says. 'auto' (default): as their boxes
        need it, see :func:`decide_orientation`. Choose one of the others if a warning says that the
        data set does not show it.

    Attributes
    ----------
    ids : list
        Ids of the images, in ascending order.
    label_names : tuple of str
        The classes.
    return_crowd, return_area : bool
        As given.
    n_crowd : int
        Number of crowds, returned or not.
    problems : tuple of AnnotationProblem
        Objects that were left out, with image and reason.
    image_files : tuple of str
        File of each image.
    image_sizes : tuple
        (H, W) of each image as annotated, None if it is not known.
    applies_orientation : tuple of bool
        Whether each image is turned as EXIF says.
    fingerprint : str
        SHA-256 of names, classes, boxes, labels, areas and flags.

    Raises
    ------
    FileNotFoundError
        If the annotation file or an image is missing.
    ValueError
        If the file is not JSON or not COCO's, or has no image. If an id or a ``file_name`` stands
        twice, or an annotation names an image or a category that does not exist. If the name of its
        category is not in ``label_names``. If ``return_area`` is True and an area is missing. If a
        box is invalid and ``on_invalid`` is 'raise'. If an option has no valid value. On access: if
        an image is broken, truncated, or has more than 8 bits per channel. The message names the
        file, and the annotation by its id.
    TypeError
        If ``label_names`` is not a sequence of str, or an option has another type than stated.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        At most once for each reason and data set, with the first file. Objects are left out. Boxes
        reach outside their image, look like fractions in [0, 1], or have x and y swapped. The size
        of an image differs from the one in the annotation file. Class names differ only by case or
        by space. EXIF turns an image, and nothing shows whether its boxes turn with it.

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
        return_area: bool = False,
        exif: str = 'auto',
    ) -> None:
        check_choice('on_invalid', on_invalid, ('drop', 'raise'))
        check_choice('exif', exif, ('auto', 'apply', 'ignore'))
        self.return_crowd = check_flag('return_crowd', return_crowd)
        self.return_area = check_flag('return_area', return_area)
        dtype = check_dtype(dtype)
        file = check_path('annotation_file', annotation_file)
        image_root = check_path('image_root', image_root)
        coco = read_coco(file)
        images = index_by_id(coco['images'], file, 'images')
        categories = index_by_id(coco['categories'], file, 'categories')
        if not images:
            raise ValueError(f'{file}: lists no image')
        self.ids = list(images)
        names, paths = find_images(images, image_root, file)
        self._set_images(names, paths, [read_image_size(each) for each in images.values()], dtype)
        roots = find_root_categories(categories, coco['annotations'])
        classes = {key: each for key, each in categories.items() if key not in roots}
        self.label_names, label_of = assign_labels(label_names, classes, file)

        annotations = dict(enumerate(coco['annotations']))
        for annotation in annotations.values():
            check_annotation(annotation, images, categories, label_of, self.label_names, file)
        boxes, self.problems = read_boxes(annotations, dict(zip(self.ids, paths)), file)
        report_problems(self.problems, on_invalid, names_images=True)
        warn_about_label_names(self.label_names, file)

        # Below, each array has one entry per object of all images, in the order of the images.
        position = {key: i for i, key in enumerate(self.ids)}
        rows = sorted(boxes, key=lambda row: position[annotations[row]['image_id']])
        objects = [annotations[row] for row in rows]
        image_index = np.array([position[each['image_id']] for each in objects], dtype=int)
        label = np.array([label_of[each['category_id']] for each in objects], dtype=np.int32)
        crowd = np.array([each.get('iscrowd', 0) for each in objects], dtype=bool)
        bbox = np.array([boxes[row] for row in rows], dtype=np.float32).reshape(-1, 4)
        size = np.array([size or (np.nan, np.nan) for size in self.image_sizes])[image_index]
        warn_about_implausible_boxes(bbox, size, image_index, self.image_files)
        self._decide_orientation(image_index, bbox, exif)

        self.n_crowd = int(crowd.sum())
        columns = [bbox, label]
        if return_area:
            columns.append(np.array([read_area(each, file) for each in objects], dtype=np.float32))
        if return_crowd:
            columns.append(crowd)
        kept = slice(None) if return_crowd else ~crowd
        self._set_annotations(image_index[kept], tuple(column[kept] for column in columns))
