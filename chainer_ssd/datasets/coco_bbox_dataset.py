"""Data sets in the format of COCO's object detection annotations."""

import json
import os

import numpy as np

from chainer_ssd.datasets._bbox_dataset import BboxDataset
from chainer_ssd.datasets._box_checks import is_valid, warn_of_dropped, warn_of_suspects


class COCOBboxDataset(BboxDataset):
    """Images and boxes of a COCO annotation file.

    Item i is ``(img, bbox, label)``, or ``(img, bbox, label, crowd)``:

    ``img``: float32 or uint8 (3, H, W), RGB, 0..255;
    ``bbox``: float32 (R, 4), (y_min, x_min, y_max, x_max), pixels: the file's [x, y, width,
    height] as corners;
    ``label``: int32 (R,), positions in ``label_names``;
    ``crowd``: bool (R,), ``iscrowd``; :class:`chainer_ssd.MatchTransform` takes it as it takes
    VOC's ``difficult``: boxes that a crowd covers are neither positive nor negative.

    An image without objects has R = 0. The file is read and checked here, and the images looked
    for; an image is opened when it is asked for.

    Parameters
    ----------
    annotation_file : str or path
        JSON with ``images``, ``annotations`` and ``categories``.
    image_root : str or path
        The folder that the ``file_name`` of each image starts from.
    label_names : sequence of str, optional
        The classes, in order. Without it: the names of all categories, by rising category id,
        so that sparse ids (COCO's go to 90 for 80 classes) become 0, 1, 2, ...
    return_crowd : bool
        True: all objects, with the flag. False: without crowds.
    on_invalid : {'drop', 'raise'}
        What happens to a box that is inverted, without area, not finite or not four numbers.
        'drop': it is left out; one warning gives the number and the files.
    dtype : dtype
        Of the images: float32, or uint8, read-only: a quarter of the memory, sooner augmented.

    Attributes
    ----------
    ids : list
        Ids of the images, rising.
    label_names : tuple of str
        The classes.

    Raises
    ------
    FileNotFoundError
        If the annotation file or an image is missing.
    ValueError
        If the file is not JSON or not COCO's; if an id is there twice, or an annotation names an
        image or a category that is not there; if the name of its category is not in
        ``label_names``; if a box is invalid and ``on_invalid`` is 'raise'; if there is no image; if
        ``dtype`` is another.
        On access: if an image is broken, truncated, or deeper than 8 bits. The message names
        the file, and the annotation by its id.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        Once per data set, naming the first file: boxes that reach outside their image, that
        look like shares in [0, 1], or like (x, y) where (y, x) is due; an image whose size is
        not the one in the annotation file.

    Notes
    -----
    Lin et al., "Microsoft COCO: Common Objects in Context" (2014), and the data format at
    https://cocodataset.org/#format-data.
    """

    def __init__(
        self,
        annotation_file,
        image_root,
        label_names=None,
        return_crowd=False,
        on_invalid='drop',
        dtype=np.float32,
    ):
        if on_invalid not in ('drop', 'raise'):
            raise ValueError(f"on_invalid = {on_invalid!r}: expected 'drop' or 'raise'")
        file = os.fspath(annotation_file)
        self.return_crowd = return_crowd
        coco = _read(file)
        images = _by_id(coco['images'], file, 'images')
        categories = _by_id(coco['categories'], file, 'categories')
        if not images:
            raise ValueError(f'{file}: lists no image')
        self.ids = list(images)
        files = [_find_image(image, image_root, file) for image in images.values()]
        sizes = [_size(image) for image in images.values()]
        self.label_names, label_of = _choose_labels(label_names, categories, file)

        # The objects of all images stand in one row; owner says whose each is.
        position = {key: i for i, key in enumerate(images)}
        annotations = coco['annotations']
        for annotation in annotations:
            _check(annotation, position, categories, label_of, self.label_names, file)
        annotations.sort(key=lambda annotation: position[annotation['image_id']])
        owner = np.array([position[a['image_id']] for a in annotations], dtype=int)
        label = np.array([label_of[a['category_id']] for a in annotations], dtype=np.int32)
        crowd = np.array([a.get('iscrowd', 0) for a in annotations], dtype=bool)
        bbox = _to_bbox([a.get('bbox') for a in annotations])
        valid = is_valid(bbox)
        if not valid.all():
            _report_invalid(np.flatnonzero(~valid), owner, files, annotations, file, on_invalid)
        size = np.array([size or (np.nan, np.nan) for size in sizes])
        warn_of_suspects(bbox[valid], size[owner[valid]], owner[valid], files)

        kept = valid if return_crowd else valid & ~crowd
        columns = bbox[kept], label[kept], crowd[kept]
        self._hold(files, sizes, owner[kept], columns if return_crowd else columns[:2], dtype)


def _read(file):
    try:
        with open(file, encoding='utf-8-sig') as text:
            coco = json.load(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{file}: not a well-formed JSON file: {error!r}') from error
    for key in 'images', 'annotations', 'categories':
        if not isinstance(coco, dict) or not isinstance(coco.get(key), list):
            raise ValueError(f"{file}: no list {key!r}, as COCO's object detection format has it")
        if not all(isinstance(item, dict) for item in coco[key]):
            raise ValueError(f'{file}: {key!r} holds something that is not a JSON object')
    return coco


def _by_id(items, file, key):
    by_id = {}
    for row, item in enumerate(items):
        if not isinstance(item.get('id'), int):
            raise ValueError(f'{file}, {key}[{row}]: id is {item.get("id")!r}, expected an integer')
        if item['id'] in by_id:
            raise ValueError(f'{file}, {key}[{row}]: id {item["id"]} is there twice')
        by_id[item['id']] = item
    return {key: by_id[key] for key in sorted(by_id)}


def _find_image(image, image_root, file):
    if not isinstance(image.get('file_name'), str):
        raise ValueError(f'{file}, image {image["id"]}: no file_name')
    path = os.path.join(os.fspath(image_root), image['file_name'])
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such image, which {file} names')
    return path


def _size(image):
    size = tuple(_to_number(image.get(side)) for side in ('height', 'width'))
    return size if all(0 < side < float('inf') for side in size) else None


def _choose_labels(label_names, categories, file):
    names = {key: category.get('name') for key, category in categories.items()}
    if not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f'{file}: a category without a name')
    if label_names is None:
        label_names = tuple(names.values())
    elif isinstance(label_names, str) or not all(isinstance(name, str) for name in label_names):
        raise TypeError(f'label_names = {label_names!r}: expected a sequence of str')
    if len(set(label_names)) < len(label_names):
        raise ValueError(f'{file}: label_names = {label_names!r}: expected each name once')
    position = {name: i for i, name in enumerate(label_names)}
    return tuple(label_names), {
        key: position[name] for key, name in names.items() if name in position
    }


def _check(annotation, position, categories, label_of, label_names, file):
    which = f'{file}, annotation {annotation.get("id")!r}'
    image, category = annotation.get('image_id'), annotation.get('category_id')
    if not isinstance(image, int) or image not in position:
        raise ValueError(f'{which}: there is no image with its image_id {image!r}')
    if not isinstance(category, int) or category not in categories:
        raise ValueError(f'{which}: there is no category with its category_id {category!r}')
    if category not in label_of:
        raise ValueError(
            f'{which}: the name {categories[category]["name"]!r} is not among '
            f'label_names = {label_names}'
        )
    if annotation.get('iscrowd', 0) not in (0, 1):
        raise ValueError(f'{which}: iscrowd is {annotation["iscrowd"]!r}, expected 0 or 1')


def _to_bbox(bboxes):
    x, y, width, height = np.array([_four_numbers(bbox) for bbox in bboxes]).reshape(-1, 4).T
    with np.errstate(over='ignore', invalid='ignore'):  # past float32 it is inf, and so invalid
        return np.stack((y, x, y + height, x + width), axis=1).astype(np.float32)


def _four_numbers(bbox):
    if not isinstance(bbox, list) or len(bbox) != 4:
        return [np.nan] * 4
    return [_to_number(value) for value in bbox]


def _to_number(value):
    try:
        return float(value) if isinstance(value, (int, float)) else np.nan
    except OverflowError:
        return np.nan


def _report_invalid(rows, owner, files, annotations, file, on_invalid):
    if on_invalid == 'raise':
        annotation = annotations[rows[0]]
        raise ValueError(
            f'{file}, annotation {annotation.get("id")!r} of {files[owner[rows[0]]]}: bbox = '
            f'{annotation.get("bbox")!r}, expected finite [x, y, width, height] with width > 0 '
            'and height > 0'
        )
    warn_of_dropped(rows, owner, files)
