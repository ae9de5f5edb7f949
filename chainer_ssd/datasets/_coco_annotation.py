"""Reading and checking of COCO's annotation files.

In messages, ``file`` is the path of the annotation file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from chainer_ssd._files import read_json
from chainer_ssd._options import check_label_names
from chainer_ssd.datasets._bbox_dataset import to_size
from chainer_ssd.datasets._coco_box import to_number
from chainer_ssd.datasets._inner_path import check_inner_path
from chainer_ssd.datasets._messages import quote, shorten
from chainer_ssd.datasets.class_names import describe_unknown_name

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
        if not is_integer(item.get('id')):
            raise ValueError(
                f'{file}, {key}[{row}]: id is {quote(item.get("id"))}, expected an integer'
            )
        if item['id'] in by_id:
            raise ValueError(f'{file}, {key}[{row}]: id {quote(item["id"])} is there twice')
        by_id[item['id']] = item
    return {key: by_id[key] for key in sorted(by_id)}


def is_integer(value: Any) -> bool:
    """Return whether a value of JSON is an integer. True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def find_images(
    images: Mapping[int, JSONObject], image_root: str, file: str
) -> tuple[list[str], list[str]]:
    """Return the names of the images relative to the root, and their paths.

    Raises
    ------
    FileNotFoundError
        If an image does not exist.
    ValueError
        If an image has no name, leads out of the root, or has the name of another image.
    """
    names: dict[str, int] = {}
    paths = []
    for key, image in images.items():
        name = _to_inner_name(image.get('file_name'), image_root, f'{file}, image {key}')
        path = os.path.join(image_root, name)
        if not os.path.isfile(path) and '\\' in name:  # written on Windows
            name = os.path.normpath(name.replace('\\', '/'))
            check_inner_path(name, f'{file}, image {key}: file_name {quote(name)}', image_root)
            path = os.path.join(image_root, name)
        if not os.path.isfile(path):
            what = 'not a regular file' if os.path.exists(path) else 'no such image'
            raise FileNotFoundError(f'{shorten(path, 300)}: {what}, which {file} names')
        if name in names:
            raise ValueError(
                f'{file}, image {key}: file_name {quote(name)} is also that of image '
                f'{names[name]}, expected each image once'
            )
        names[name] = key
        paths.append(path)
    return list(names), paths


def _to_inner_name(name: Any, image_root: str, where: str) -> str:
    """Return a ``file_name`` relative to the root, without needless parts."""
    if not isinstance(name, str) or not name:
        raise ValueError(f'{where}: no file_name')
    root = os.path.join(os.path.abspath(image_root), '')
    if os.path.isabs(name) and name.startswith(root):
        name = name[len(root) :]
    check_inner_path(name, f'{where}: file_name {quote(name)}', image_root)
    return os.path.normpath(name)


def read_image_size(image: JSONObject) -> tuple[float, float] | None:
    """Return the annotated (H, W) of an image, None if it is not known."""
    return to_size(to_number(image.get('height')), to_number(image.get('width')))


def find_root_categories(
    categories: Mapping[int, JSONObject], annotations: Sequence[JSONObject]
) -> set[int]:
    """Return the ids of categories that group others and are no class, as Roboflow writes them.

    Such a category has the supercategory "none" and no annotation, and its name is the
    supercategory of another one.
    """
    groups = [each.get('supercategory') for each in categories.values()]
    candidates = {
        key
        for key, each in categories.items()
        if each.get('supercategory') == 'none' and each.get('name') in groups
    }
    used = (each.get('category_id') for each in annotations)
    return candidates.difference(key for key in used if is_integer(key)) if candidates else set()


def assign_labels(
    label_names: Sequence[str] | None, categories: Mapping[int, JSONObject], file: str
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the class names, and the label of each category that is among them."""
    names: dict[int, Any] = {key: each.get('name') for key, each in categories.items()}
    for key, name in names.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f'{file}: a category without a name, id {key} has {quote(name)}, expected a str'
            )
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
    image: Any = annotation.get('image_id')
    category: Any = annotation.get('category_id')
    problem = None
    if not is_integer(image) or image not in images:
        problem = f'there is no image with its image_id {quote(image)}'
    elif not is_integer(category) or category not in categories:
        problem = f'there is no category with its category_id {quote(category)}'
    elif category not in labels:
        problem = describe_unknown_name(categories[category]['name'], label_names)
    elif annotation.get('iscrowd', 0) not in (0, 1):
        problem = f'iscrowd is {quote(annotation["iscrowd"])}, expected 0 or 1'
    if problem is not None:
        raise ValueError(f'{file}, annotation {quote(annotation.get("id"))}: {problem}')


def read_area(annotation: JSONObject, file: str) -> float:
    """Return the area of an object, or raise ``ValueError`` unless it is finite and at least 0."""
    area = to_number(annotation.get('area'))
    if area is None or not 0 <= area < float('inf'):
        raise ValueError(
            f'{file}, annotation {quote(annotation.get("id"))}: area is '
            f'{quote(annotation.get("area"))}, expected a number >= 0 because of return_area=True'
        )
    return area
