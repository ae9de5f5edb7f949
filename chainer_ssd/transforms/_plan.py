"""The plan of an augmentation. Steps change the plan, and the pixels are computed once at the end.

A random step does not touch the image. It only decides which window of the image is cropped, how
its colours change, its size and its flips, and writes this into an :class:`AugmentationPlan`. After
the last step, :func:`render` makes the image and the boxes from the plan. So each pixel of the
result is computed once, as 8-bit numbers, and pixels that no step keeps are never computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import numpy as np

from chainer_ssd._validation import (
    as_array,
    check_bbox,
    check_image,
    check_pixel_range,
    is_valid_bbox,
)
from chainer_ssd.images import merge_planes, resize_pixels, round_to_uint8, split_planes
from chainer_ssd.transforms._example import check_example, check_length


class AugmentationPlan(NamedTuple):
    """What an augmented example will be: a window of an image, and the boxes that remain."""

    img: np.ndarray  # (3, H, W), 0..255
    bbox: np.ndarray  # float64 (R, 4) in pixels of img
    box_values: tuple[Any, ...]  # label, difficult, ...: one entry per box
    window: tuple[int, int, int, int]  # (y, x, height, width) in pixels of img, may reach outside
    fill: Sequence[float] = (0, 0, 0)  # RGB of the window outside of img
    distort: Callable[[np.ndarray], np.ndarray] | None = None  # changes uint8 pixels (h, w, 3)
    size: tuple[int, int] | None = None  # (H, W) of the result. None: that of the window
    interpolation: str = 'linear'  # how the window is resized
    flip: tuple[bool, bool] = (False, False)  # vertical, horizontal

    def select(self, is_kept: np.ndarray) -> AugmentationPlan:
        """Return the plan without the boxes that are not in the mask ``is_kept`` (R,)."""
        if is_kept.all():
            return self
        return self._replace(
            bbox=self.bbox[is_kept],
            box_values=tuple(np.asarray(values)[is_kept] for values in self.box_values),
        )


class RandomTransform:
    """A random transform of examples that can also be a step of :class:`Augmentation`."""

    def apply_to_plan(
        self, plan: AugmentationPlan, random: np.random.Generator
    ) -> AugmentationPlan:
        """Return the plan after this step. No pixel is computed yet.

        Parameters
        ----------
        plan : AugmentationPlan
            The plan after the steps before.
        random : numpy.random.Generator
            Source of the random numbers.

        Returns
        -------
        AugmentationPlan
        """
        raise NotImplementedError

    def __call__(self, example: tuple[Any, ...], random: np.random.Generator) -> tuple[Any, ...]:
        """Transform one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label, ...)``. img is float or uint8 (3, H, W), RGB, 0..255. bbox (R, 4)
            is (y_min, x_min, y_max, x_max) in pixels. Whatever follows has one entry per box.
        random : numpy.random.Generator
            Source of the random numbers.

        Returns
        -------
        tuple
            The transformed example. img and bbox are float32. Boxes without area are dropped with
            their entries. If pixels are resized or distorted, their values are whole numbers.

        Raises
        ------
        ValueError
            If img is not (3, H, W), or its values are not 0 to 255, such as those of an image that
            is scaled to [0, 1]. If a box is not finite or has no area: the message names its row.
            Also if the numbers of boxes and entries differ.
        TypeError
            If img holds no integers or floats.
        ImportError
            If OpenCV is needed and missing (``pip install "chainer_ssd[data]"``).
        """
        return render(self.apply_to_plan(create_plan(example), random))


class AxisMapping(NamedTuple):
    """Along one axis: pixels of the source and the pixels of the result that show them."""

    source_start: int
    source_stop: int
    start: int
    stop: int


def create_plan(example: tuple[Any, ...]) -> AugmentationPlan:
    """Return the plan that changes nothing. The example is validated here, and only here.

    Boxes are clipped to the image. Those outside of it are dropped.
    """
    check_example(example, 2, '(img, bbox, label, ...)')
    img, bbox, *box_values = example
    img = as_array(img, 'img')
    check_image(img)
    check_pixel_range(img)
    bbox = check_bbox(bbox).astype(np.float64)
    for i, values in enumerate(box_values, 2):
        check_length(values, len(bbox), f'example[{i}]')
    bbox = bbox.clip(0, img.shape[1:] * 2)
    plan = AugmentationPlan(img, bbox, tuple(box_values), (0, 0, *img.shape[1:]))
    return plan.select(is_valid_bbox(bbox))


def render(plan: AugmentationPlan) -> tuple[Any, ...]:
    """Return the example ``(img, bbox, label, ...)`` that a plan describes."""
    size = plan.size or plan.window[2:]
    rows, columns = (
        _map_axis(plan.window[axis], plan.window[axis + 2], plan.img.shape[axis + 1], size[axis])
        for axis in (0, 1)
    )
    img, bbox = _render_image(plan, rows, columns, size), plan.bbox.copy()
    for axis, mapping in enumerate((rows, columns)):
        edges = bbox[:, axis::2]
        edges -= mapping.source_start
        edges *= (mapping.stop - mapping.start) / max(mapping.source_stop - mapping.source_start, 1)
        edges += mapping.start
        edges.clip(0, size[axis], out=edges)
        if plan.flip[axis]:
            edges[:] = size[axis] - edges[:, ::-1]  # the lower edge becomes the upper one
            img = np.flip(img, axis + 1)
    # Rounding to float32 can leave a thin box without area.
    plan = plan._replace(bbox=bbox.astype(np.float32))
    plan = plan.select(is_valid_bbox(plan.bbox))
    return (img, plan.bbox, *plan.box_values)


def _map_axis(window_start: int, window_length: int, length: int, size: int) -> AxisMapping:
    """Return which pixels of an image of ``length`` lie in the window, and where in the result.

    Both ends are rounded to whole pixels of the result. At least one pixel remains. The boxes are
    mapped by the same numbers, so they stay on their objects.
    """
    source_start = max(window_start, 0)
    source_stop = max(window_start, 0, min(window_start + window_length, length))
    start, stop = (
        round((edge - window_start) * size / window_length) for edge in (source_start, source_stop)
    )
    if start == stop and source_start < source_stop:
        start = min(start, size - 1)
        stop = start + 1
    return AxisMapping(source_start, source_stop, start, stop)


def _render_image(
    plan: AugmentationPlan, rows: AxisMapping, columns: AxisMapping, size: tuple[int, ...]
) -> np.ndarray:
    """Return the visible part of the image on its background, float32 (3, H, W)."""
    planes: Any = plan.img[
        :,
        rows.source_start : rows.source_stop,
        columns.source_start : columns.source_stop,
    ]
    visible_size = rows.stop - rows.start, columns.stop - columns.start
    if planes.size and (plan.distort or visible_size != planes.shape[1:]):
        planes = _render_planes(plan, planes, visible_size)
    elif visible_size == size:
        return np.asarray(planes, np.float32)
    img = np.empty((3, *size), np.float32)
    if visible_size != size:
        img[:] = np.reshape(plan.fill, (3, 1, 1))
    if 0 not in visible_size:  # else the window lies beside the image
        for channel, plane in zip(img, planes):
            channel[rows.start : rows.stop, columns.start : columns.stop] = plane
    return img


def _render_planes(
    plan: AugmentationPlan, planes: np.ndarray, size: tuple[int, int]
) -> Sequence[np.ndarray]:
    """Return the planes resized and distorted, as uint8."""
    if planes.dtype != np.uint8:
        planes = np.asarray(planes, np.float32)
    pixels = merge_planes(planes)
    if pixels.dtype != np.uint8:
        pixels = round_to_uint8(pixels)
    # Colours are changed where there are fewer pixels. The order makes no visible difference.
    resizes_first = size[0] * size[1] < planes[0].size
    if resizes_first:
        pixels = resize_pixels(pixels, size, plan.interpolation)
    if plan.distort:
        pixels = plan.distort(pixels)
    if not resizes_first:
        pixels = resize_pixels(pixels, size, plan.interpolation)
    return split_planes(pixels)
