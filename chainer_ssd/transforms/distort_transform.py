"""Random changes of brightness, contrast, saturation and hue."""

from __future__ import annotations

from functools import partial
from typing import Callable

import numpy as np

from chainer_ssd._options import check_ratio
from chainer_ssd.images import add_brightness, change_hue_and_saturation, multiply_contrast
from chainer_ssd.transforms._intervals import at_fraction, check_interval
from chainer_ssd.transforms._plan import AugmentationPlan, RandomTransform

Distortion = Callable[[np.ndarray], np.ndarray]


class DistortTransform(RandomTransform):
    """Photometric distortion: random brightness, contrast, saturation and hue.

    Each of the four changes is applied with probability 1/2. Boxes do not change. For
    :class:`RandomTransformDataset`, alone or as a step of :class:`Augmentation`. ChainerCV calls it
    ``random_distort``.

    Parameters
    ----------
    brightness : float
        Maximum number that is added to R, G and B or subtracted, of 255.
    contrast : (float, float)
        Lowest and highest factor of R, G and B.
    saturation : (float, float)
        Lowest and highest factor of the saturation in HSV.
    hue : float
        Maximum shift of the hue in degrees, in either direction. Use 0 if the colour decides the
        class.

    Raises
    ------
    ValueError
        If a number is negative or not finite, or a lowest factor exceeds the highest.

    Notes
    -----
    Howard, "Some Improvements on Deep Convolutional Neural Network Based Image Classification"
    (2013). The numbers are those of the Caffe code of Liu et al. (2016). Contrast follows
    brightness in one half of the images, and comes last in the other half. Hue and saturation are
    changed in one conversion to HSV.
    """

    def __init__(
        self,
        brightness: float = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 36,
    ) -> None:
        self.brightness = check_ratio('brightness', brightness)
        self.contrast = check_interval('contrast', contrast)
        self.saturation = check_interval('saturation', saturation)
        self.hue = check_ratio('hue', hue)

    def apply_to_plan(
        self, plan: AugmentationPlan, random: np.random.Generator
    ) -> AugmentationPlan:
        """Return the plan with a colour distortion. Nine random numbers are drawn."""
        is_chosen = random.random(5) < 0.5
        changes_brightness, changes_contrast, changes_saturation, changes_hue = is_chosen[:4]
        contrast_is_last = is_chosen[4]
        fractions = random.random(4)
        shift = round(at_fraction((-self.brightness, self.brightness), fractions[0]))
        factor = at_fraction(self.contrast, fractions[1])
        saturation = at_fraction(self.saturation, fractions[2]) if changes_saturation else 1
        hue_steps = round(at_fraction((-self.hue, self.hue), fractions[3]) / 2)
        if not changes_hue:
            hue_steps = 0

        distortions: list[Distortion] = []
        if changes_brightness:
            distortions.append(partial(add_brightness, shift=shift))
        if hue_steps or saturation != 1:
            distortions.append(
                partial(change_hue_and_saturation, hue_steps=hue_steps, saturation=saturation)
            )
        if changes_contrast:
            position = len(distortions) if contrast_is_last else int(changes_brightness)
            distortions.insert(position, partial(multiply_contrast, factor=factor))
        return plan._replace(distort=partial(_compose, distortions)) if distortions else plan


def _compose(distortions: list[Distortion], pixels: np.ndarray) -> np.ndarray:
    for distortion in distortions:
        pixels = distortion(pixels)
    return pixels
