"""A detection data set of drawn shapes that needs no download."""

from __future__ import annotations

from typing import NamedTuple

import chainer
import numpy as np

from chainer_ssd._options import check_integer
from chainer_ssd.datasets._fingerprint import hash_contents
from chainer_ssd.datasets._shape_drawing import (
    RADIUS_RANGE,
    Window,
    add_noise,
    draw_background,
    draw_distractors,
    locate,
    paint,
    signed_distance,
    to_coverage,
)
from chainer_ssd.datasets.annotation_problem import AnnotationProblem

_N_CORNER = {'circle': 0, 'square': 4, 'triangle': 3}
_MAX_OVERLAP = 0.2  # intersection of two boxes, as a fraction of the smaller box
_MIN_CONTRAST = 90  # RGB distance between an object and its background
_TRIALS_PER_OBJECT = 4

_Box = tuple[int, int, int, int]


class _Object(NamedTuple):
    """A shape at its place. It has no colour yet."""

    label: int
    coverage: np.ndarray
    window: Window
    bbox: _Box


class ShapesBboxDataset(chainer.dataset.DatasetMixin):
    """Circles, squares and triangles on a textured background, drawn on access.

    Item i is ``(img, bbox, label)``:

    ``img``: float32 (3, size, size), RGB, whole numbers in 0..255.
    ``bbox``: float32 (R, 4), (y_min, x_min, y_max, x_max), 0-based, as in Pascal VOC. These are the
    first and last row and column of pixels that the object covers. 1 <= R <= ``max_objects``.
    ``label``: int32 (R,), positions in ``label_names``.

    Item i depends on ``size``, ``max_objects``, ``seed`` and i only. Colour, size, angle and
    position are independent of the class. Lines, rings and soft blobs are distractors without a
    box. Each object lies inside the image and stands out from its background. The boxes of two
    objects overlap by at most 20 % of the smaller box.

    Parameters
    ----------
    length : int
        Number of images.
    size : int
        Height and width in pixels, 32 or more.
    seed : int
        0 <= seed < 2**32. Use different seeds for training and test images.
    max_objects : int
        Maximum number of objects in an image, from 1 to 100.

    Attributes
    ----------
    label_names : tuple of str
        ``('circle', 'square', 'triangle')``.
    problems : tuple
        Empty, as no object is left out.
    fingerprint : str
        SHA-256 of the arguments, which decide every image.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is out of its range.
    """

    label_names = tuple(_N_CORNER)
    problems: tuple[AnnotationProblem, ...] = ()

    def __init__(self, length: int, size: int = 128, seed: int = 0, max_objects: int = 5) -> None:
        self._length = check_integer('length', length, 1, 2**32)
        self._size = check_integer('size', size, 32, 2**14)
        self._seed = check_integer('seed', seed, 0, 2**32 - 1)
        self._max_objects = check_integer('max_objects', max_objects, 1, 100)

    def __len__(self) -> int:
        return self._length

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the arguments, in hexadecimal digits."""
        arguments = [self._length, self._size, self._seed, self._max_objects]
        return hash_contents((self.label_names,), (np.array(arguments, dtype=np.int64),))

    def get_annotation(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return item ``i`` without its image, which is not drawn.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        tuple
            ``(bbox, label)``.
        """
        return _to_annotation(self._place_objects(self._random_state(i)))

    def get_example(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return item ``i``.

        Parameters
        ----------
        i : int
            Index of the item.

        Returns
        -------
        tuple
            ``(img, bbox, label)``.
        """
        random = self._random_state(i)
        objects = self._place_objects(random)
        img = draw_background(random, self._size)
        draw_distractors(random, img)
        for each in objects:
            paint(random, img, each.coverage, each.window, _MIN_CONTRAST)
        add_noise(random, img)
        np.clip(np.rint(img, out=img), 0, 255, out=img)
        return (img, *_to_annotation(objects))

    def _random_state(self, i: int) -> np.random.RandomState:
        # The stream of RandomState is the same in every release of NumPy.
        return np.random.RandomState([self._seed, range(self._length)[i]])

    def _place_objects(self, random: np.random.RandomState) -> list[_Object]:
        objects: list[_Object] = []
        n_object = random.randint(1, self._max_objects + 1)
        for _ in range(_TRIALS_PER_OBJECT * n_object):
            label = random.randint(len(self.label_names))
            radius = self._size * np.exp(random.uniform(*np.log(RADIUS_RANGE)))
            center = random.uniform(radius + 1, self._size - radius - 2, 2)
            angle = random.uniform(0, 2 * np.pi)
            y, x, window = locate(center, radius, self._size)
            n_corner = _N_CORNER[self.label_names[label]]
            coverage = to_coverage(signed_distance(y, x, radius, n_corner, angle))
            bbox = _to_bbox(coverage, window)
            if all(_overlap(bbox, other.bbox) <= _MAX_OVERLAP for other in objects):
                objects.append(_Object(label, coverage, window, bbox))
            if len(objects) == n_object:
                break
        return objects


def _to_annotation(objects: list[_Object]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([each.bbox for each in objects], dtype=np.float32),
        np.array([each.label for each in objects], dtype=np.int32),
    )


def _to_bbox(coverage: np.ndarray, window: Window) -> _Box:
    """Return the first and last row and column of the pixels that are covered at least by half."""
    is_inside = coverage >= 0.5
    rows, columns = np.flatnonzero(is_inside.any(axis=1)), np.flatnonzero(is_inside.any(axis=0))
    top, left = window[1].start, window[2].start
    return top + rows[0], left + columns[0], top + rows[-1], left + columns[-1]


def _overlap(a: _Box, b: _Box) -> float:
    """Return the intersection of two boxes as a fraction of the smaller box."""
    height = min(a[2], b[2]) - max(a[0], b[0]) + 1
    width = min(a[3], b[3]) - max(a[1], b[1]) + 1
    smaller = min((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return max(height, 0) * max(width, 0) / smaller
