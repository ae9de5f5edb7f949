"""A small drawn data set in the forms that labelling tools export."""

import importlib.util
import os
import random
from pathlib import Path

from chainer_ssd.datasets import VOCBboxDataset
from tests.datasets.voc_folder import annotation, write

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts/data_forms.py'
NAMES = ('bolt', 'nut', 'washer')
SPLITS = {'train': 8, 'val': 4, 'test': 4}


def load_script():
    """Returns the module that writes the forms."""
    spec = importlib.util.spec_from_file_location('data_forms', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_drawn_forms(folder):
    """Writes a data set in Pascal VOC's layout and all of its forms. Returns both folders."""
    root, number = folder / 'voc', 0
    generator = random.Random(0)
    lists = {}
    for split, n_image in SPLITS.items():
        xml = {}
        for _ in range(n_image):
            objects = []
            for _ in range(generator.randint(1, 4)):
                x, y = generator.randint(1, 40), generator.randint(1, 30)
                box = x, y, x + generator.randint(3, 39), y + generator.randint(3, 29)
                objects.append((generator.choice(NAMES), box, 0))
            xml[f'part_{number:03}'] = annotation(objects)
            number += 1
        write(root, {name: annotation([]) for name in xml}, split)
        for i, (name, text) in enumerate(xml.items()):
            (root / f'Annotations/{name}.xml').write_text(text)
            paint(root / f'JPEGImages/{name}.png', seed=number * 100 + i)
        lists[split] = list(xml)
    names = ''.join(f'{name}\n' for name in lists['train'] + lists['val'])
    (root / 'ImageSets/Main/trainval.txt').write_text(names)
    load_script().write_forms(str(root), str(folder / 'forms'))
    return root, folder / 'forms'


def paint(path, seed):
    """Writes an image with pixels of its own."""
    from PIL import Image

    from tests.datasets.voc_folder import picture

    Image.fromarray(picture(seed=seed)).save(path)


def read_boxes(root):
    """Returns boxes and labels of a data set in Pascal VOC's layout, by the name of the image."""
    found = {}
    for split in SPLITS:
        dataset = VOCBboxDataset(root, split, VOCBboxDataset(root, 'trainval').label_names)
        for i, file in enumerate(dataset.image_files):
            found[original_stem(file)] = split, *dataset.get_annotation(i)
    return found


def original_stem(file):
    """Returns the name of an image without folder, suffix, and Roboflow's hash."""
    stem = os.path.splitext(os.path.basename(file))[0]
    return stem.split('.rf.')[0].rsplit('_', 1)[0] if '.rf.' in stem else stem
