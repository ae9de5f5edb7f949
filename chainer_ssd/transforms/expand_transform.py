"""A larger background around the image: objects become smaller."""

from __future__ import annotations

import numpy as np

from chainer_ssd._options import check_fraction, check_number
from chainer_ssd._validation import check_pixel_range
from chainer_ssd.transforms._plan import AugmentationPlan, RandomTransform


class ExpandTransform(RandomTransform):
    """Zoom-out: puts the image at a random place on a larger background of one colour.

    For :class:`RandomTransformDataset`, alone or as a step of :class:`Augmentation`. ChainerCV
    calls it ``random_expand``.

    Parameters
    ----------
    max_ratio : float
        Maximum ratio of the background's height and width to the image's. The minimum is 1.
    fill : (float, float, float)
        RGB of the background, 0 to 255, usually the mean of the training set. Colour distortions
        do not change it.
    probability : float
        Probability that an example is expanded.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    The "zoom out" of Liu et al., "SSD: Single Shot MultiBox Detector" (2016), section 3.6.
    """

    def __init__(
        self,
        max_ratio: float = 4,
        fill: tuple[float, float, float] = (123, 117, 104),
        probability: float = 0.5,
    ) -> None:
        self.max_ratio = check_number('max_ratio', max_ratio, 1)
        if np.shape(fill) != (3,):
            raise ValueError(f'fill = {fill!r}: expected three numbers from 0 to 255')
        self.fill = tuple(check_number(f'fill[{i}]', value) for i, value in enumerate(fill))
        check_pixel_range(self.fill, 'fill')
        self.probability = check_fraction('probability', probability)

    def apply_to_plan(
        self, plan: AugmentationPlan, random: np.random.Generator
    ) -> AugmentationPlan:
        """Return the plan with a larger window. Four random numbers are drawn."""
        chance, *fractions = random.random(4)
        if chance >= self.probability:
            return plan
        ratio = 1 + fractions[0] * (self.max_ratio - 1)
        y, x, height, width = plan.window
        new_height, new_width = int(height * ratio), int(width * ratio)
        window = (
            y - int(fractions[1] * (new_height - height + 1)),
            x - int(fractions[2] * (new_width - width + 1)),
            new_height,
            new_width,
        )
        return plan._replace(window=window, fill=self.fill)
