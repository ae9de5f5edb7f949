"""What an example will look like, before a pixel is touched.

Random steps only say where to look, in which colours and at which size; the pixels that are seen in
the end are made once, as 8-bit numbers.
"""

from typing import Callable, NamedTuple, Optional

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd._validation import check_bbox, check_image


class View(NamedTuple):
    """A window on an image, and the boxes that count in it."""

    img: np.ndarray  # (3, H, W), 0..255
    bbox: np.ndarray  # float64 (R, 4) in pixels of img
    rows: tuple  # label, difficult, ...: an entry for each box
    window: tuple  # (y, x, height, width) in pixels of img; may reach outside
    fill: tuple = (0, 0, 0)  # RGB outside of img
    color: Optional[Callable] = None  # uint8 (h, w, 3) to uint8 (h, w, 3)
    size: Optional[tuple] = None  # (H, W) to which the window is scaled
    interpolation: Optional[int] = None  # OpenCV's number
    flip: tuple = (False, False)  # top to bottom, left to right

    def keep(self, kept):
        """With the boxes of the mask ``kept`` only."""
        if kept.all():
            return self
        return self._replace(
            bbox=self.bbox[kept], rows=tuple(np.asarray(row)[kept] for row in self.rows)
        )


class ViewTransform:
    """A random transform of examples that can also be a step of :class:`Augmentation`."""

    def look(self, view, random):
        """The :class:`View` after this step."""
        raise NotImplementedError

    def __call__(self, example, random):
        """Transforms one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label, ...)``: img (3, H, W), RGB, 0..255, float or uint8; bbox (R, 4) =
            (y_min, x_min, y_max, x_max) in pixels; what follows holds an entry for each box.
        random : numpy.random.Generator
            Decides.

        Returns
        -------
        tuple
            The same: img and bbox float32, no box without area, entries of lost boxes left out.
            Pixels that are scaled or change colour are whole numbers.

        Raises
        ------
        ValueError
            If img is not (3, H, W), a box is not finite or has no area (the message names its
            row), or the numbers of boxes and entries disagree.
        ImportError
            If OpenCV is needed and missing (``pip install "chainer_ssd[data]"``).
        """
        return make_example(self.look(view_of(example), random))


class Span(NamedTuple):
    """Along one axis: pixels start..stop of the image come to stand at first..last."""

    start: int
    stop: int
    first: int
    last: int


def view_of(example):
    """All of ``(img, bbox, label, ...)``."""
    img, bbox, *rows = example
    check_image(img)
    bbox = check_bbox(bbox).astype(np.float64)
    for row in rows:
        if len(row) != len(bbox):
            raise ValueError(f'{len(bbox)} boxes and {len(row)} labels: expected as many')
    bbox = bbox.clip(0, img.shape[1:] * 2)
    view = View(img, bbox, tuple(rows), (0, 0, *img.shape[1:]))
    return view.keep((bbox[:, :2] < bbox[:, 2:]).all(axis=1))


def make_example(view):
    """``(img, bbox, label, ...)`` as seen."""
    size = view.size or view.window[2:]
    rows, columns = (
        _span(view.window[axis], view.window[axis + 2], view.img.shape[axis + 1], size[axis])
        for axis in (0, 1)
    )
    img, bbox = _make_img(view, rows, columns, size), view.bbox.copy()
    for axis, span in enumerate((rows, columns)):
        edges = bbox[:, axis::2]
        edges -= span.start
        edges *= (span.last - span.first) / max(span.stop - span.start, 1)
        edges += span.first
        edges.clip(0, size[axis], out=edges)
        if view.flip[axis]:
            edges[:] = size[axis] - edges[:, ::-1]  # the lower edge becomes the upper
            img = np.flip(img, axis + 1)
    view = view._replace(bbox=bbox.astype(np.float32))
    # Some are thinner than float32 can say at their place.
    view = view.keep((view.bbox[:, :2] < view.bbox[:, 2:]).all(axis=1))
    return (img, view.bbox, *view.rows)


def _span(start, extent, length, size):
    # What is seen becomes whole pixels, one at least, and the boxes go with it.
    seen = max(start, 0), max(start, 0, min(start + extent, length))
    first, last = (round((edge - start) * size / extent) for edge in seen)
    if first == last and seen[0] < seen[1]:
        first = min(first, size - 1)
        last = first + 1
    return Span(*seen, first, last)


def _make_img(view, rows, columns, size):
    planes = view.img[:, rows.start : rows.stop, columns.start : columns.stop]
    place = rows.last - rows.first, columns.last - columns.first
    if planes.size and (view.color or place != planes.shape[1:]):
        planes = _make_planes(view, planes, place)
    elif place == size:
        return np.asarray(planes, np.float32)
    img = np.empty((3, *size), np.float32)
    if place != size:
        img[:] = np.reshape(view.fill, (3, 1, 1))
    if 0 not in place:  # else the window stands beside the image
        for channel, plane in zip(img, planes):
            channel[rows.first : rows.last, columns.first : columns.last] = plane
    return img


def _make_planes(view, planes, place):
    cv2 = require('cv2', 'data')

    def scale(pixels):
        if pixels.shape[:2] == place:
            return pixels
        if view.interpolation != cv2.INTER_LANCZOS4:
            return cv2.resize(pixels, place[::-1], interpolation=view.interpolation)
        # OpenCV takes half the time over floats.
        pixels = cv2.resize(
            np.asarray(pixels, np.float32), place[::-1], interpolation=view.interpolation
        )
        return cv2.convertScaleAbs(np.maximum(pixels, 0, out=pixels))

    def recolor(pixels):
        return view.color(pixels) if view.color else pixels

    if planes.dtype != np.uint8:
        planes = np.asarray(planes, np.float32)
    if planes.strides[0] == planes.itemsize:  # stands in memory as OpenCV has it
        pixels = planes.transpose(1, 2, 0)
    else:
        pixels = cv2.merge(list(planes))
    if pixels.dtype != np.uint8:
        pixels = cv2.convertScaleAbs(pixels)  # rounds, and stops at 255
    # Colours change where there are fewer pixels; the order is hardly seen.
    shrinks = place[0] * place[1] < planes[0].size
    return cv2.split(recolor(scale(pixels)) if shrinks else scale(recolor(pixels)))
