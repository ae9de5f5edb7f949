"""Reading and checking of COCO's annotation files.

In messages, ``file`` is the path of the annotation file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_ssd._files import read_json
from chainer_ssd._options import check_label_names
from chainer_ssd.datasets._bbox_dataset import is_known_size

JSONObject = Mapping[str, Any]


def read_coco(file: str) -> dict[str, Any]:
    """Return the content of an annotation file, or raise ``ValueError`` if it is not COCO's."""
    coco = read_json(file)
    for key in 'images', 'annotations', 'categories':
        if not isinstance(coco, dict) or not isinstance(coco.get(key), list):
            raise ValueError(f"{file}: no list {key!r}, as COCO's object detection format has it")
        if not all(isinstance(item, dict) for item in coco[key]):
            raise ValueError(f'{file}: {key!r} holds something that is not a JSON object')
    return coco


def index_by_id(items: Sequence[JSONObject], file: str, key: str) -> dict[int, JSONObject]:
    """Return images or categories by their id, in ascending order."""
    by_id: dict[int, JSONObject] = {}
    for row, item in enumerate(items):
        if not isinstance(item.get('id'), int):
            raise ValueError(f'{file}, {key}[{row}]: id is {item.get("id")!r}, expected an integer')
        if item['id'] in by_id:
            raise ValueError(f'{file}, {key}[{row}]: id {item["id"]} is there twice')
        by_id[item['id']] = item
    return {key: by_id[key] for key in sorted(by_id)}


def find_image(image: JSONObject, image_root: str | os.PathLike[str], file: str) -> str:
    """Return the path of an image, or raise ``FileNotFoundError``."""
    if not isinstance(image.get('file_name'), str):
        raise ValueError(f'{file}, image {image["id"]}: no file_name')
    path = os.path.join(os.fspath(image_root), image['file_name'])
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such image, which {file} names')
    return path


def read_image_size(image: JSONObject) -> tuple[float, float] | None:
    """Return the annotated (H, W) of an image, None if it is not known."""
    size = _to_number(image.get('height')), _to_number(image.get('width'))
    return size if is_known_size(size) else None


def assign_labels(
    label_names: Sequence[str] | None, categories: Mapping[int, JSONObject], file: str
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the class names, and the label of each category that is among them."""
    names: dict[int, Any] = {key: each.get('name') for key, each in categories.items()}
    if not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f'{file}: a category without a name')
    if label_names is None:
        label_names = check_label_names(tuple(names.values()), name=f'{file}: names of categories')
    else:
        label_names = check_label_names(label_names)
    label_of = {name: label for label, name in enumerate(label_names)}
    return label_names, {key: label_of[name] for key, name in names.items() if name in label_of}


def check_annotation(
    annotation: JSONObject,
    images: Mapping[int, Any],
    categories: Mapping[int, JSONObject],
    labels: Mapping[int, int],
    label_names: tuple[str, ...],
    file: str,
) -> None:
    """Raise ``ValueError`` unless an annotation names an image and a category with a label."""
    where = f'{file}, annotation {annotation.get("id")!r}'
    image, category = annotation.get('image_id'), annotation.get('category_id')
    if not isinstance(image, int) or image not in images:
        raise ValueError(f'{where}: there is no image with its image_id {image!r}')
    if not isinstance(category, int) or category not in categories:
        raise ValueError(f'{where}: there is no category with its category_id {category!r}')
    if category not in labels:
        raise ValueError(
            f'{where}: the name {categories[category]["name"]!r} is not among '
            f'label_names = {label_names}'
        )
    if annotation.get('iscrowd', 0) not in (0, 1):
        raise ValueError(f'{where}: iscrowd is {annotation["iscrowd"]!r}, expected 0 or 1')


def to_bbox(bboxes: Sequence[Any]) -> np.ndarray:
    """Return boxes [x, y, width, height] as corners, NaN for what is not four numbers.

    Returns
    -------
    float32 array of shape (N, 4)
        (y_min, x_min, y_max, x_max).
    """
    x, y, width, height = np.array([_four_numbers(bbox) for bbox in bboxes]).reshape(-1, 4).T
    # A number beyond float32 becomes inf, and so invalid.
    with np.errstate(over='ignore', invalid='ignore'):
        return np.stack((y, x, y + height, x + width), axis=1).astype(np.float32)


def _four_numbers(bbox: Any) -> list[float]:
    if not isinstance(bbox, list) or len(bbox) != 4:
        return [np.nan] * 4
    return [_to_number(value) for value in bbox]


def _to_number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) else np.nan
    except OverflowError:
        return np.nan
