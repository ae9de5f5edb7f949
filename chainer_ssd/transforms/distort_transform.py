"""Other light, other colours."""

from functools import partial

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd.transforms._plan import ViewTransform

_LEVELS = np.arange(256.0)
_N_HUE = 180  # OpenCV's 8-bit hue counts in steps of 2 degrees


class DistortTransform(ViewTransform):
    """Changes brightness, contrast, saturation and hue at random, each in every second image.

    For :class:`RandomTransformDataset`, alone or as a step of :class:`Augmentation`. Boxes stay.

    Parameters
    ----------
    brightness : float
        Up to so much is added to or taken from R, G and B, of 255.
    contrast : (float, float)
        Least and greatest factor of R, G and B.
    saturation : (float, float)
        Least and greatest factor of the saturation in HSV.
    hue : float
        Up to so many degrees the hue is turned either way.

    Raises
    ------
    ValueError
        If a number is negative, or a least is greater than its greatest.

    Notes
    -----
    The photometric distortions of Howard, "Some Improvements on Deep Convolutional Neural Network
    Based Image Classification" (2013), with the numbers of Liu et al. (2016)'s Caffe code: contrast
    follows brightness in one half of the images, and comes last in the other. Hue and saturation
    change in one visit to HSV.
    """

    def __init__(self, brightness=32, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=36):
        for name, value in (('brightness', brightness), ('hue', hue)):
            if not 0 <= value < np.inf:
                raise ValueError(f'{name} = {value!r}: expected a number >= 0')
        for name, (least, greatest) in (('contrast', contrast), ('saturation', saturation)):
            if not 0 <= least <= greatest < np.inf:
                raise ValueError(f'{name} = {(least, greatest)}: expected 0 <= least <= greatest')
        self.brightness, self.contrast = brightness, contrast
        self.saturation, self.hue = saturation, hue

    def look(self, view, random):
        """See :class:`ViewTransform`; nine numbers are drawn."""
        brightens, stretches, saturates, turns, stretches_last = random.random(5) < 0.5
        shares = random.random(4)
        brightness = round(_between((-self.brightness, self.brightness), shares[0]))
        contrast = _between(self.contrast, shares[1])
        saturation = _between(self.saturation, shares[2]) if saturates else 1
        hue = round(_between((-self.hue, self.hue), shares[3]) / 2) if turns else 0

        brighten = [partial(_brighten, brightness)] if brightens else []
        stretch = [partial(_stretch, contrast)] if stretches else []
        recolor = [partial(_recolor, hue, saturation)] if hue or saturation != 1 else []
        steps = brighten + (recolor + stretch if stretches_last else stretch + recolor)
        return view._replace(color=partial(_in_turn, steps)) if steps else view


def _between(bounds, share):
    return bounds[0] + share * (bounds[1] - bounds[0])


def _in_turn(steps, pixels):
    for step in steps:
        pixels = step(pixels)
    return pixels


# OpenCV rounds, and stops at 0 and 255.


def _brighten(shift, pixels):
    cv2 = require('cv2', 'data')
    change = cv2.add if shift > 0 else cv2.subtract  # a negative number takes seven times as long
    return change(pixels, (abs(shift),) * 3 + (0,))


def _stretch(factor, pixels):
    return require('cv2', 'data').convertScaleAbs(pixels, alpha=factor)


def _recolor(hue, saturation, pixels):
    cv2 = require('cv2', 'data')
    columns = (_LEVELS + hue) % _N_HUE, _LEVELS * saturation, _LEVELS
    table = np.rint(np.stack(columns, axis=1)).clip(0, 255).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), table[None])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
