"""Images (3, H, W) as pixels (H, W, 3) and back."""

import numpy as np

from chainer_ssd._validation import check_image


def to_pixels(img):
    """Return a copy of an image as uint8 pixels.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0 to 255. Floats are clipped and rounded.

    Returns
    -------
    uint8 array of shape (H, W, 3)
        C-contiguous.

    Raises
    ------
    ValueError
        If the shape is not (3, H, W).
    """
    img = np.asarray(img)
    check_image(img)
    pixels = np.empty((*img.shape[1:], 3), np.uint8)
    for channel, plane in enumerate(img):
        if plane.dtype != np.uint8:
            plane = np.rint(plane.clip(0, 255))
        pixels[:, :, channel] = plane
    return pixels


def to_image(pixels):
    """Return pixels (H, W, 3) as an image (3, H, W) that shares their memory."""
    return pixels.transpose(2, 0, 1)
