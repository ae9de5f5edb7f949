"""Resizing to a fixed size with a random interpolation."""

from __future__ import annotations

import numpy as np

from chainer_ssd._options import check_integer
from chainer_ssd.transforms._plan import AugmentationPlan, RandomTransform

_INTERPOLATIONS = ('linear', 'area', 'nearest', 'cubic', 'lanczos')


class RandomResizeTransform(RandomTransform):
    """A resize to a fixed size with an interpolation that is drawn at random.

    A network that sees several interpolations does not depend on one of them.
    :class:`ResizeTransform` always uses the same. For :class:`RandomTransformDataset`, alone or as
    a step of :class:`Augmentation`. ChainerCV calls it ``resize_with_random_interpolation``.

    Parameters
    ----------
    size : int
        Height and width of the result in pixels. Usually a model's ``insize``.

    Raises
    ------
    TypeError
        If ``size`` is not an integer.
    ValueError
        If ``size`` is below 1.

    Notes
    -----
    The interpolation is bilinear, area, nearest, bicubic or Lanczos, each with the same
    probability, as in the Caffe code of Liu et al. (2016).
    """

    def __init__(self, size: int) -> None:
        self.size = check_integer('size', size, 1)

    def apply_to_plan(
        self, plan: AugmentationPlan, random: np.random.Generator
    ) -> AugmentationPlan:
        """Return the plan with its size and interpolation. One random number is drawn."""
        interpolation = _INTERPOLATIONS[int(random.random() * len(_INTERPOLATIONS))]
        return plan._replace(size=(self.size, self.size), interpolation=interpolation)
