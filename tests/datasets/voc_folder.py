"""Writing of small data sets in Pascal VOC's layout, for tests."""

import numpy as np
from PIL import Image


def annotation(objects, size=(60, 80)):
    """Return XML of objects (name, (xmin, ymin, xmax, ymax), difficult). ``size`` is (H, W)."""
    items = ''.join(
        f'<object><name>{name}</name><pose>Unspecified</pose><difficult>{difficult}</difficult>'
        '<bndbox>'
        + ''.join(
            f'<{tag}>{text}</{tag}>' for tag, text in zip(('xmin', 'ymin', 'xmax', 'ymax'), box)
        )
        + '</bndbox></object>'
        for name, box, difficult in objects
    )
    stated = (
        ''
        if size is None
        else (f'<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>')
    )
    return f'<annotation><folder>VOC</folder>{stated}{items}</annotation>'


def picture(size=(60, 80), seed=0):
    """Return random uint8 pixels (H, W, 3)."""
    return np.random.RandomState(seed).randint(0, 256, (*size, 3)).astype(np.uint8)


def write(root, xml, split='train', suffix='.png'):
    """Write a folder of annotations ``{name: XML}``, with an image file for each."""
    for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for seed, (name, text) in enumerate(xml.items()):
        (root / 'Annotations' / f'{name}.xml').write_text(text)
        Image.fromarray(picture(seed=seed)).save(root / 'JPEGImages' / f'{name}{suffix}')
    (root / 'ImageSets/Main' / f'{split}.txt').write_text(''.join(f'{name}\n' for name in xml))
    return root
