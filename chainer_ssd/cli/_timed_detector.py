"""The model of ``chainer-ssd predict``, with a clock."""

from __future__ import annotations

import time
from collections.abc import Sequence

import chainer
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.cli._predictions import Detection
from chainer_ssd.cli._saved_results import Found
from chainer_ssd.images import printable_name
from chainer_ssd.visualizations import draw_bbox

MAX_NAME_LETTERS = 200  # of a name in detections.json


class TimedDetector:
    """Detects and draws objects, and measures the time in the model.

    Parameters
    ----------
    model : chainer.Link
        Detector with ``predict(imgs)`` and ``insize``.
    label_names : sequence of str
        Its class names.

    Attributes
    ----------
    n_image : int
        Number of images so far.
    seconds : float
        Time that the model took for them.
    """

    def __init__(self, model: chainer.Link, label_names: Sequence[str]) -> None:
        self.model, self.label_names = model, label_names
        # Each detection holds its name, so a very long one would fill the disk.
        self._short_names = [
            name if len(name) <= MAX_NAME_LETTERS else printable_name(name, MAX_NAME_LETTERS)
            for name in label_names
        ]
        self.n_image, self.seconds = 0, 0.0

    def warm_up(self) -> None:
        """Process an empty image: loads modules, fonts and GPU kernels before the clock starts."""
        img = np.zeros((3, self.model.insize, self.model.insize + 1), np.float32)
        self.model.predict([img])
        draw_bbox(img, [[0, 0, *img.shape[1:]]], [0], [1], self.label_names)

    def __call__(self, imgs: Sequence[Array]) -> list[Found]:
        """Return for each image its bbox, label and score, by falling score."""
        start = time.perf_counter()
        predicted = self.model.predict(imgs)
        self.seconds += time.perf_counter() - start
        self.n_image += len(imgs)
        orders = [(-score).argsort(kind='stable') for score in predicted[2]]
        return [
            tuple(column[order] for column in columns)
            for order, columns in zip(orders, zip(*predicted))
        ]

    def draw(self, img: Array, found: Found) -> Array:
        """Return the image with its detections."""
        return draw_bbox(img, *found, self.label_names)

    def describe(self, found: Found) -> list[Detection]:
        """Return the detections of an image as detections.json holds them."""
        return [
            {
                'label': label,
                'name': self._short_names[label],
                'score': round(score, 4),
                'bbox': [round(side, 2) for side in box],
            }
            for box, label, score in zip(*(column.tolist() for column in found))
        ]
