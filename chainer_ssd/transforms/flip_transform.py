"""Random mirroring of images and boxes."""

from __future__ import annotations

import numpy as np

from chainer_ssd._options import check_fraction
from chainer_ssd.transforms._plan import AugmentationPlan, RandomTransform


class FlipTransform(RandomTransform):
    """A random flip, left to right and top to bottom.

    Box coordinates are edges, so x becomes W - x, as in ChainerCV. For
    :class:`RandomTransformDataset`, alone or as a step of :class:`Augmentation`. Called alone, it
    returns a view of a float32 image.

    Parameters
    ----------
    horizontal : float
        Probability that left and right are exchanged.
    vertical : float
        Probability that top and bottom are exchanged. Keep 0 for scenes with an up and a down. Use
        0.5 for images without, such as cells under a microscope.

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1].
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0) -> None:
        self.horizontal = check_fraction('horizontal', horizontal)
        self.vertical = check_fraction('vertical', vertical)

    def apply_to_plan(
        self, plan: AugmentationPlan, random: np.random.Generator
    ) -> AugmentationPlan:
        """Return the plan with its flips. Two random numbers are always drawn."""
        flips_horizontally, flips_vertically = random.random(2) < (self.horizontal, self.vertical)
        vertical, horizontal = plan.flip
        return plan._replace(flip=(vertical ^ flips_vertically, horizontal ^ flips_horizontally))
