"""A small data set of coloured squares in Pascal VOC's layout."""

import numpy as np
import pytest

from tests.cli.command import LABEL_NAMES

N_TRAIN, N_TEST = 6, 3


def write_drawn_voc(root):
    """Writes the data set and returns its folder."""
    cv2 = pytest.importorskip('cv2')
    for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (root / folder).mkdir(parents=True)
    random = np.random.RandomState(0)
    for i in range(N_TRAIN + N_TEST):
        img, objects = np.full((48, 64, 3), 200, np.uint8), ''
        for _ in range(random.randint(1, 4)):
            label = random.randint(2)
            y, x = random.randint(0, 28), random.randint(0, 44)
            img[y : y + 20, x : x + 20] = (255, 0, 0) if label == 0 else (0, 0, 255)
            objects += (
                f'<object><name>{LABEL_NAMES[label]}</name><difficult>0</difficult><bndbox>'
                f'<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + 20}</xmax>'
                f'<ymax>{y + 20}</ymax></bndbox></object>'
            )
        (root / 'Annotations' / f'{i}.xml').write_text(
            f'<annotation><size><width>64</width><height>48</height><depth>3</depth></size>'
            f'{objects}</annotation>'
        )
        cv2.imwrite(str(root / 'JPEGImages' / f'{i}.jpg'), img)
    names = [f'{i}\n' for i in range(N_TRAIN + N_TEST)]
    (root / 'ImageSets/Main/trainval.txt').write_text(''.join(names[:N_TRAIN]))
    (root / 'ImageSets/Main/test.txt').write_text(''.join(names[N_TRAIN:]))
    return root
