"""One colour a class, wherever it is drawn."""

import functools
import itertools

import numpy as np

# Okabe and Ito (2008), "Color Universal Design": blue, orange, bluish green, ...
_FIRST = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
)
_N_COLOR = 96

#: Of what must not be overlooked; no class has it, or a colour like it.
ALARM = 200, 0, 60

# Machado et al. (2009), "A Physiologically-based Model for Simulation of Color Vision Deficiency":
# linear RGB as normal, protanopic and deuteranopic eyes see it.
_EYES = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ],
    ]
)

# sRGB's linear RGB to CIE XYZ over its white (D65)
_XYZ = np.array([[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1094, 0.8729]])


def label_color(label):
    """The colour of a class, the same in every picture.

    Parameters
    ----------
    label : int
        0 or more; the first 96 differ, then they repeat.

    Returns
    -------
    tuple of int
        (R, G, B), 0..255. The first seven are Okabe and Ito's, made for all eyes; each later one
        is as far as can be from all before it to the eyes, normal, protanopic or deuteranopic,
        that see it least.

    Raises
    ------
    ValueError
        If the label is negative.
    """
    if label < 0:
        raise ValueError(f'label = {label}: expected 0 or more')
    return _palette()[int(label) % _N_COLOR]


def contrast_color(color):
    """Black or white, whichever stands out from ``color``."""
    # WCAG 2.1, relative luminance: the contrast with black and with white is equal at 0.179.
    return (0, 0, 0) if _linear(np.array(color)) @ _XYZ[1] > 0.179 else (255, 255, 255)


@functools.cache
def _palette():
    rest = np.array(list(itertools.product(range(0, 256, 25), repeat=3)))
    lab = _lab(rest)
    light = lab[0, :, 0]
    usable = (light > 40) & (light < 92)  # not lost on black, not on white
    usable &= _distance(lab, ALARM) > 20
    rest, lab = rest[usable], lab[:, usable]
    chosen = list(_FIRST)
    distance = np.min([_distance(lab, color) for color in chosen], axis=0)
    while len(chosen) < _N_COLOR:
        chosen.append(tuple(rest[distance.argmax()].tolist()))
        distance = np.minimum(distance, _distance(lab, chosen[-1]))
    return chosen


def _distance(lab, color):
    """In CIELAB, to the eyes for which it is least."""
    return np.linalg.norm(lab - _lab(np.array([color])), axis=-1).min(axis=0)


def _lab(colors):
    """CIELAB of sRGB colours (..., 3), for each kind of eyes: (3, ..., 3)."""
    linear = np.einsum('eij,...j->e...i', _EYES, _linear(colors)).clip(0, 1)
    xyz = linear @ _XYZ.T
    # L = 116 f(Y) − 16, a = 500 (f(X) − f(Y)), b = 200 (f(Y) − f(Z))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _linear(colors):
    share = colors / 255
    return np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
