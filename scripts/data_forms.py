"""Write a data set in Pascal VOC's layout in the forms that labelling tools export.

    python scripts/data_forms.py path/to/BCCD build/forms

The folder then holds one folder for each form, with the oddities of the tool:

  - flat: images and XML files together, as LabelImg writes them, without a split
  - siblings: images in one folder, XML files in another, with other letter case
  - cvat_voc: CVAT's export, with the list default.txt, lists of one class, and CRLF
  - roboflow_voc: train, valid and test, with images and XML files together
  - roboflow_coco: train, valid and test with _annotations.coco.json, and a root category
  - coco: one JSON file in annotations/, with sparse ids, and images/
  - yolo: images/train and labels/train as Ultralytics has them, with data.yaml
  - roboflow_yolo: train/images and train/labels, and a data.yaml with ../train/images
  - yolo_flat: labels beside the images, with classes.txt
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Sequence

from chainer_ssd.datasets import BboxSubset, VOCBboxDataset
from chainer_ssd.images import read_header

#: Split of VOC's, the folder's name in Roboflow's exports, and the folder's name in Ultralytics'.
SPLITS = (('train', 'train', 'train'), ('val', 'valid', 'val'), ('test', 'test', 'test'))


def write_forms(root: str, out: str) -> None:
    """Write all forms.

    Parameters
    ----------
    root : str
        Folder in Pascal VOC's layout with the lists train, val, trainval and test.
    out : str
        Folder for the forms.
    """
    names = VOCBboxDataset(root, 'trainval').label_names
    data = {split: VOCBboxDataset(root, split, names) for split, _, _ in SPLITS}
    everything = [(dataset, i) for dataset in data.values() for i in range(len(dataset))]
    everything.sort(key=lambda image: image[0].image_files[image[1]])  # as tools list a folder
    write_flat(everything, os.path.join(out, 'flat'))
    write_siblings(everything, os.path.join(out, 'siblings'))
    write_cvat_voc(everything, os.path.join(out, 'cvat_voc'))
    write_coco(everything, os.path.join(out, 'coco'), names)
    write_yolo_flat(everything, os.path.join(out, 'yolo_flat'), names)
    for split, roboflow, ultralytics in SPLITS:
        images = [(data[split], i) for i in range(len(data[split]))]
        write_flat(images, os.path.join(out, 'roboflow_voc', roboflow))
        write_roboflow_coco(images, os.path.join(out, 'roboflow_coco', roboflow), names)
        write_yolo(images, os.path.join(out, 'yolo'), '{kind}/' + ultralytics)
        write_yolo(images, os.path.join(out, 'roboflow_yolo'), roboflow + '/{kind}')
    numbered = ''.join(f'  {number}: {name}\n' for number, name in enumerate(names))
    write_text(
        os.path.join(out, 'yolo/data.yaml'),
        'path: ../yolo\ntrain: images/train\nval: images/val\ntest: images/test\n'
        f'names:\n{numbered}',
    )
    write_text(
        os.path.join(out, 'roboflow_yolo/data.yaml'),
        'train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\n'
        f'nc: {len(names)}\nnames: {list(names)}\n',
    )


def write_flat(images: Sequence[tuple[VOCBboxDataset, int]], folder: str) -> None:
    """Write images and XML files into one folder."""
    for dataset, i in images:
        copy(dataset.image_files[i], folder)
        copy(dataset.annotation_files[i], folder)


def write_siblings(images: Sequence[tuple[VOCBboxDataset, int]], folder: str) -> None:
    """Write images and XML files into two folders, with suffixes in upper case."""
    for dataset, i in images:
        stem, suffix = os.path.splitext(dataset.image_files[i])
        name = os.path.basename(stem)
        copy(dataset.image_files[i], os.path.join(folder, 'Pictures'), name + suffix.upper())
        copy(dataset.annotation_files[i], os.path.join(folder, 'LABELS'), name + '.XML')


def write_cvat_voc(images: Sequence[tuple[VOCBboxDataset, int]], folder: str) -> None:
    """Write CVAT's export: VOC's layout with the list default.txt."""
    write_flat([], folder)
    for dataset, i in images:
        copy(dataset.image_files[i], os.path.join(folder, 'JPEGImages'))
        copy(dataset.annotation_files[i], os.path.join(folder, 'Annotations'))
    lists = os.path.join(folder, 'ImageSets/Main')
    stems = [stem_of(dataset.image_files[i]) for dataset, i in images]
    write_text(os.path.join(lists, 'default.txt'), ''.join(f'{stem}\r\n' for stem in stems))
    for label, name in enumerate(images[0][0].label_names):
        rows = (
            f'{stem} {1 if label in dataset.get_annotation(i)[1] else -1}\r\n'
            for stem, (dataset, i) in zip(stems, images)
        )
        write_text(os.path.join(lists, f'{name}_default.txt'), ''.join(rows))
    write_text(os.path.join(folder, 'labelmap.txt'), '# label:color_rgb:parts:actions\n')


def write_coco(
    images: Sequence[tuple[VOCBboxDataset, int]], folder: str, names: Sequence[str]
) -> None:
    """Write one JSON file with sparse ids, and the images in a folder near it."""
    for dataset, i in images:
        copy(dataset.image_files[i], os.path.join(folder, 'images'))
    categories = [
        {'id': 7 * label + 3, 'name': name, 'supercategory': ''} for label, name in enumerate(names)
    ]
    content = to_coco(images, categories, [os.path.basename(d.image_files[i]) for d, i in images])
    write_text(os.path.join(folder, 'annotations/instances_default.json'), json.dumps(content))


def write_roboflow_coco(
    images: Sequence[tuple[VOCBboxDataset, int]], folder: str, names: Sequence[str]
) -> None:
    """Write a split of Roboflow's export, with its names of images and its root category."""
    file_names = []
    for dataset, i in images:
        file = dataset.image_files[i]
        key = hashlib.md5(os.path.basename(file).encode()).hexdigest()
        stem, suffix = os.path.splitext(os.path.basename(file))
        file_names.append(f'{stem}_{suffix[1:]}.rf.{key}{suffix}')
        copy(file, folder, file_names[-1])
    categories = [{'id': 0, 'name': 'objects', 'supercategory': 'none'}]
    categories += [
        {'id': 1 + label, 'name': name, 'supercategory': 'objects'}
        for label, name in enumerate(names)
    ]
    content = to_coco(images, categories, file_names)
    write_text(os.path.join(folder, '_annotations.coco.json'), json.dumps(content))


def to_coco(
    images: Sequence[tuple[VOCBboxDataset, int]],
    categories: Sequence[dict],
    file_names: Sequence[str],
) -> dict:
    """Return the content of a JSON file of COCO. The last categories are the classes."""
    records, annotations = [], []
    for number, ((dataset, i), file_name) in enumerate(zip(images, file_names)):
        height, width = read_header(dataset.image_files[i]).size
        records.append({'id': number, 'file_name': file_name, 'height': height, 'width': width})
        bbox, label = dataset.get_annotation(i)
        first = len(categories) - len(dataset.label_names)
        for (y_min, x_min, y_max, x_max), each in zip(bbox.tolist(), label.tolist()):
            box = [x_min, y_min, x_max - x_min, y_max - y_min]
            annotations.append(
                {
                    'id': len(annotations),
                    'image_id': number,
                    'category_id': categories[first + each]['id'],
                    'bbox': box,
                    'area': box[2] * box[3],
                    'segmentation': [],
                    'iscrowd': 0,
                }
            )
    return {'images': records, 'annotations': annotations, 'categories': list(categories)}


def write_yolo(images: Sequence[tuple[VOCBboxDataset, int]], folder: str, pattern: str) -> None:
    """Write images and label files into ``pattern``, where {kind} is images or labels."""
    for dataset, i in images:
        file = dataset.image_files[i]
        copy(file, os.path.join(folder, pattern.format(kind='images')))
        path = os.path.join(folder, pattern.format(kind='labels'), stem_of(file) + '.txt')
        write_text(path, to_yolo(dataset, i))


def write_yolo_flat(
    images: Sequence[tuple[VOCBboxDataset, int]], folder: str, names: Sequence[str]
) -> None:
    """Write images and label files together, with classes.txt."""
    write_yolo(images, folder, '')
    write_text(os.path.join(folder, 'classes.txt'), ''.join(f'{name}\n' for name in names))


def to_yolo(dataset: VOCBboxDataset | BboxSubset, i: int) -> str:
    """Return the lines of a label file, with six decimals."""
    height, width = read_header(dataset.image_files[i]).size
    lines = []
    bbox, label = dataset.get_annotation(i)
    for (y_min, x_min, y_max, x_max), each in zip(bbox.tolist(), label.tolist()):
        x, y = (x_min + x_max) / 2 / width, (y_min + y_max) / 2 / height
        sides = (x_max - x_min) / width, (y_max - y_min) / height
        lines.append(f'{each} {x:.6f} {y:.6f} {sides[0]:.6f} {sides[1]:.6f}\n')
    return ''.join(lines)


def copy(file: str, folder: str, name: str | None = None) -> None:
    """Copy a file into a folder."""
    os.makedirs(folder, exist_ok=True)
    shutil.copyfile(file, os.path.join(folder, name or os.path.basename(file)))


def write_text(path: str, text: str) -> None:
    """Write a text file as it is, with its folder."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8', newline='') as file:
        file.write(text)


def stem_of(file: str) -> str:
    """Return the name of a file without folder and suffix."""
    return os.path.splitext(os.path.basename(file))[0]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', help='folder in Pascal VOC layout')
    parser.add_argument('out', help='folder for the forms')
    args = parser.parse_args()
    write_forms(args.root, args.out)
