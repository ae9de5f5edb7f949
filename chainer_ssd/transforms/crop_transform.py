"""A random crop that still shows an object: objects become larger, or are partly visible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainer_ssd._options import check_fraction, check_integer, check_number, check_positive_number
from chainer_ssd.ops import bbox_iou
from chainer_ssd.transforms._intervals import at_fraction, check_interval
from chainer_ssd.transforms._plan import AugmentationPlan, RandomTransform


class CropTransform(RandomTransform):
    """A random crop with a minimum IoU (also: batch sampler, random crop with constraints).

    One of ``min_ious`` is drawn, and up to ``trials`` windows are tried. A window is accepted if it
    contains the centre of a box and its IoU with a box reaches the minimum. If no window is
    accepted, another minimum is drawn. If all minima fail, the example is not cropped.

    Boxes whose centre lies outside the window are dropped, and the others are clipped to it. In an
    image without boxes, every window is accepted. For :class:`RandomTransformDataset`, alone or as
    a step of :class:`Augmentation`.

    Parameters
    ----------
    min_ious : sequence of float or None
        Minimum IoU of the window with a box. With None the example is not cropped. With 0 only the
        centre of a box is required.
    scale : (float, float)
        Lowest and highest square root of the window's area, as a fraction of the image's area.
        Raise the lowest if objects become too large.
    max_aspect_ratio : float
        Maximum ratio of the window's relative height to its relative width, and of width to height.
    trials : int
        Number of windows that are tried for each minimum.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    TypeError
        If ``trials`` is not an integer, or ``min_ious`` is not a sequence.

    Notes
    -----
    Liu et al., "SSD: Single Shot MultiBox Detector" (2016), section 2.2, "Data augmentation". Their
    Caffe code tries all minima and draws one of those that succeed. The distribution is the same.
    """

    def __init__(
        self,
        min_ious: Sequence[float | None] = (None, 0, 0.1, 0.3, 0.5, 0.7, 0.9),
        scale: tuple[float, float] = (0.3, 1),
        max_aspect_ratio: float = 2,
        trials: int = 50,
    ) -> None:
        # A set has another order in each process, so the seeded stream would differ.
        is_ordered = isinstance(min_ious, Iterable) and not isinstance(min_ious, (str, set, dict))
        if not is_ordered or isinstance(min_ious, frozenset):
            raise TypeError(f'min_ious = {min_ious!r}: expected a sequence of numbers and None')
        self.min_ious = tuple(min_ious)
        for i, min_iou in enumerate(self.min_ious):
            if min_iou is not None:
                check_fraction(f'min_ious[{i}]', min_iou)
        self.scale = check_interval('scale', scale, 0, 1)
        check_positive_number('scale[0]', self.scale[0])
        self.max_aspect_ratio = check_number('max_aspect_ratio', max_aspect_ratio, 1)
        self.trials = check_integer('trials', trials, 1)

    def apply_to_plan(
        self, plan: AugmentationPlan, random: np.random.Generator
    ) -> AugmentationPlan:
        """Return the plan with a smaller window, and the boxes whose centre lies in it."""
        for i in random.permutation(len(self.min_ious)):
            min_iou = self.min_ious[i]
            if min_iou is None:
                break
            window = self._find_window(plan, min_iou, random.random((self.trials, 4)))
            if window is not None:
                plan = plan._replace(window=window)
                break
        return plan.select(_contains_center(plan.window, plan.bbox))

    def _find_window(
        self, plan: AugmentationPlan, min_iou: float, fractions: np.ndarray
    ) -> tuple[int, int, int, int] | None:
        """Return the first accepted window (y, x, height, width), from random numbers (N, 4)."""
        scale = at_fraction(self.scale, fractions[:, 0])
        # No side is longer than the image's if scale² <= aspect ratio <= 1 / scale².
        lowest = np.maximum(1 / self.max_aspect_ratio, scale**2)
        aspect_ratio = at_fraction((lowest, 1 / lowest), fractions[:, 1])
        size = np.stack((scale / np.sqrt(aspect_ratio), scale * np.sqrt(aspect_ratio)), axis=1)
        size = np.maximum((size * plan.window[2:]).astype(int), 1)
        start = (fractions[:, 2:] * (np.subtract(plan.window[2:], size) + 1)).astype(int)
        windows = np.concatenate((start + plan.window[:2], size), axis=1)
        if len(plan.bbox):
            corners = np.concatenate((windows[:, :2], windows[:, :2] + size), axis=1)
            is_accepted = (bbox_iou(corners.astype(np.float64), plan.bbox) >= min_iou).any(axis=1)
            is_accepted &= _contains_center(windows[:, None], plan.bbox).any(axis=1)
            windows = windows[is_accepted]
        return tuple(windows[0].tolist()) if len(windows) else None


def _contains_center(window: Any, bbox: np.ndarray) -> np.ndarray:
    """Return whether windows (..., 4) contain the centres of boxes (R, 4), bool (..., R)."""
    center = (bbox[:, :2] + bbox[:, 2:]) / 2
    window = np.asarray(window)
    start, size = window[..., :2], window[..., 2:]
    return ((start <= center) & (center < start + size)).all(axis=-1)
