"""Augmentations made of several random transforms."""

from __future__ import annotations

import numpy as np

from chainer_ssd.transforms._plan import AugmentationPlan, RandomTransform
from chainer_ssd.transforms.crop_transform import CropTransform
from chainer_ssd.transforms.distort_transform import DistortTransform
from chainer_ssd.transforms.expand_transform import ExpandTransform
from chainer_ssd.transforms.flip_transform import FlipTransform
from chainer_ssd.transforms.random_resize_transform import RandomResizeTransform


class Augmentation(RandomTransform):
    """Several random transforms in sequence, for :class:`RandomTransformDataset`.

    All steps first decide what the result will be, and its pixels are computed once at the end.
    This is several times faster than calling the same steps one by one. The results look the same.
    Resizing rounds the edges of the image to whole pixels.

    Parameters
    ----------
    *steps : DistortTransform, ExpandTransform, CropTransform, RandomResizeTransform, FlipTransform
        The steps in their order. Colours never change on the background of
        :class:`ExpandTransform`, wherever :class:`DistortTransform` stands. If there are several
        distortions or several sizes, the last one counts.

    Raises
    ------
    TypeError
        If a step is no such transform.
    """

    def __init__(self, *steps: RandomTransform) -> None:
        for i, step in enumerate(steps):
            if isinstance(step, type) or not hasattr(step, 'apply_to_plan'):
                raise TypeError(
                    f'steps[{i}] = {step!r}: expected a transform such as FlipTransform()'
                )
        self.steps = steps

    def apply_to_plan(
        self, plan: AugmentationPlan, random: np.random.Generator
    ) -> AugmentationPlan:
        """Return the plan after all steps."""
        for step in self.steps:
            plan = step.apply_to_plan(plan, random)
        return plan


class MildAugmentation(Augmentation):
    """An augmentation for short trainings: a small zoom-out, large crops, resize, flip.

    Parameters
    ----------
    size : int
        Height and width of the result in pixels. Usually a model's ``insize``.

    Raises
    ------
    TypeError, ValueError
        If ``size`` is not a positive integer.

    Notes
    -----
    The default of ``chainer-ssd train`` for ``SSDMini`` on your own data. The paper's augmentation,
    :class:`SSDAugmentation`, needs more iterations.
    """

    def __init__(self, size: int) -> None:
        super().__init__(
            ExpandTransform(max_ratio=1.4),
            CropTransform(scale=(0.7, 1), max_aspect_ratio=4 / 3),
            RandomResizeTransform(size),
            FlipTransform(),
        )


class SSDAugmentation(Augmentation):
    """The augmentation of the SSD paper: distort, expand, crop, resize, flip.

    Parameters
    ----------
    size : int
        Height and width of the result in pixels. Usually a model's ``insize``.
    fill : (float, float, float)
        RGB of the background, see :class:`ExpandTransform`. Change it if the mean colour of your
        training set is very different.

    Raises
    ------
    TypeError, ValueError
        If an argument is not valid.

    Notes
    -----
    Liu et al., "SSD: Single Shot MultiBox Detector" (2016), sections 2.2 and 3.6. It is the
    augmentation of ChainerCV's SSD example with one difference. A crop needs the required IoU with
    at least one box, as in the paper's Caffe code. ChainerCV requires it of every box.
    """

    def __init__(self, size: int, fill: tuple[float, float, float] = (123, 117, 104)) -> None:
        super().__init__(
            DistortTransform(),
            ExpandTransform(fill=fill),
            CropTransform(),
            RandomResizeTransform(size),
            FlipTransform(),
        )
