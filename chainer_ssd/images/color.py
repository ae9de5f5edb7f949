"""Changes of brightness, contrast, hue and saturation of 8-bit pixels.

All functions take and return uint8 RGB pixels (H, W, 3). OpenCV rounds the results and bounds them
to 0..255.
"""

from __future__ import annotations

import numpy as np

from chainer_ssd._extras import require

_LEVELS = np.arange(256.0)
_N_HUE = 180  # OpenCV stores an 8-bit hue in steps of 2 degrees


def add_brightness(pixels: np.ndarray, shift: float) -> np.ndarray:
    """Return pixels with a number added to each channel.

    Parameters
    ----------
    pixels : uint8 array of shape (H, W, 3)
        RGB.
    shift : float
        The number, from -255 to 255.

    Returns
    -------
    uint8 array of shape (H, W, 3)

    Raises
    ------
    ImportError
        If OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """
    cv2 = require('cv2', 'data')
    add = cv2.add if shift > 0 else cv2.subtract  # adding a negative number is 7 times slower
    return add(pixels, (abs(shift),) * 3 + (0,))


def multiply_contrast(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Return pixels with each channel multiplied by a factor.

    Parameters
    ----------
    pixels : uint8 array of shape (H, W, 3)
        RGB.
    factor : float
        0 or more.

    Returns
    -------
    uint8 array of shape (H, W, 3)

    Raises
    ------
    ImportError
        If OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """
    return require('cv2', 'data').convertScaleAbs(pixels, alpha=factor)


def change_hue_and_saturation(
    pixels: np.ndarray, hue_steps: int = 0, saturation: float = 1
) -> np.ndarray:
    """Return pixels with their hue shifted and their saturation multiplied, in HSV.

    Parameters
    ----------
    pixels : uint8 array of shape (H, W, 3)
        RGB.
    hue_steps : int
        Shift of the hue in steps of 2 degrees, of either sign.
    saturation : float
        Factor of the saturation, 0 or more.

    Returns
    -------
    uint8 array of shape (H, W, 3)

    Raises
    ------
    ImportError
        If OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """
    cv2 = require('cv2', 'data')
    columns = (_LEVELS + hue_steps) % _N_HUE, _LEVELS * saturation, _LEVELS
    table = np.rint(np.stack(columns, axis=1)).clip(0, 255).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), table[None])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
