"""Images with labels and scripted detections, for the tests of the report on a detector."""

import numpy as np

from chainer_ssd.inspection import DetectedImages

NAMES = ('bolt', 'nut')
COLOR = (200, 30, 120)


class Images(list):
    """A data set in memory that names its files."""

    image_files = ()


def make_images(n_image=6, size=(90, 120), noise=0.0, name='test', file='image {}.png'):
    """Return images with two labels each. Every detection of image i has a fault of its own."""
    random = np.random.default_rng(0)
    bolt, nut, far = (10, 10, 40, 50), (50, 60, 80, 110), (5, 80, 30, 115)
    moved = (50, 40, 80, 90)
    faults = [
        [(bolt, 0, 0.9), (nut, 1, 0.8)],
        [(bolt, 0, 0.9)],  # a missed nut
        [(bolt, 1, 0.9), (nut, 1, 0.8)],  # another class
        [(bolt, 0, 0.9), (nut, 1, 0.8), (far, 0, 0.7)],  # no label
        [(bolt, 0, 0.9), (moved, 1, 0.8)],  # an inexact box
        [],
    ]
    scale = np.array(size * 2) / (90, 120, 90, 120)
    dataset, columns = Images(), [[], [], [], [], []]
    for i in range(n_image):
        img = np.full((3, *size), 128) + noise * random.normal(size=(3, *size))
        for y_min, x_min, y_max, x_max in (np.array([bolt, nut]) * scale).astype(int):
            img[:, y_min:y_max, x_min:x_max] = np.array(COLOR)[:, None, None]
        gt = np.array([bolt, nut]) * scale
        dataset.append((img.clip(0, 255).astype(np.float32), gt, np.array([0, 1])))
        rows = faults[i % len(faults)]
        pred = np.array([row[0] for row in rows]).reshape(-1, 4) * scale
        arrays = (
            pred.astype(np.float32),
            np.array([row[1] for row in rows], np.int32),
            np.array([row[2] for row in rows], np.float32),
            gt.astype(np.float32),
            np.array([0, 1], np.int32),
        )
        for column, array in zip(columns, arrays):
            column.append(array)
    dataset.image_files = tuple(file.format(i) for i in range(n_image))
    return DetectedImages(name, dataset, list(range(n_image)), columns)
