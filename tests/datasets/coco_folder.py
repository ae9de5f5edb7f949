"""Writing of small data sets in COCO's format, for tests."""

import json

from PIL import Image

from tests.datasets.voc_folder import picture


def coco(annotations, categories=((2, 'cat'), (90, 'dog')), images=(7, 3), size=(60, 80)):
    """Return the content of an annotation file.

    ``annotations`` are (image_id, category_id, bbox, iscrowd).
    """
    return {
        'info': {},
        'licenses': [],
        'images': [
            {'id': i, 'file_name': f'{i:012}.png', 'height': size[0], 'width': size[1]}
            for i in images
        ],
        'categories': [
            {'id': i, 'name': name, 'supercategory': 'animal'} for i, name in categories
        ],
        'annotations': [
            {
                'id': 100 + row,
                'image_id': image,
                'category_id': category,
                'bbox': bbox,
                'area': 1.0,
                'segmentation': [],
                'iscrowd': crowd,
            }
            for row, (image, category, bbox, crowd) in enumerate(annotations)
        ],
    }


def write(root, content, text=None):
    """Write an annotation file, or ``text`` in its place, and an image file for each image."""
    (root / 'images').mkdir(parents=True, exist_ok=True)
    for image in content['images']:
        Image.fromarray(picture(seed=image['id'])).save(root / 'images' / image['file_name'])
    (root / 'instances.json').write_text(json.dumps(content) if text is None else text)
    return root / 'instances.json', root / 'images'
