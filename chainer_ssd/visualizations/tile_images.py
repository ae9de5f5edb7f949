"""Many images as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_integer
from chainer_ssd.images import to_image, to_pixels

_GAP = 6  # pixels between two images


def tile_images(imgs: Sequence[Array], n_column: int | None = None) -> Array:
    """Put images side by side and one below the other, on white.

    Parameters
    ----------
    imgs : sequence of float or uint8 arrays of shape (3, H, W)
        RGB, 0 to 255, of any sizes, at least one. A column is as wide as its widest image. A row
        is as high as its highest image.
    n_column : int, optional
        Number of images in a row. Default: all of them.

    Returns
    -------
    uint8 array of shape (3, H', W')
        See :func:`draw_bbox`.

    Raises
    ------
    ValueError
        If there is no image, an image is not (3, H, W), or ``n_column`` is less than 1.
    TypeError
        If ``n_column`` is not an integer.
    """
    if not len(imgs):
        raise ValueError('imgs is empty: expected one image or more')
    n_column = len(imgs) if n_column is None else check_integer('n_column', n_column, 1)
    tiles = [to_pixels(img) for img in imgs]
    places = [divmod(i, n_column) for i in range(len(tiles))]
    heights = np.zeros(math.ceil(len(tiles) / n_column), int)
    widths = np.zeros(min(n_column, len(tiles)), int)
    for (row, column), tile in zip(places, tiles):
        heights[row] = max(heights[row], tile.shape[0])
        widths[column] = max(widths[column], tile.shape[1])
    tops, lefts = (np.cumsum([0, *(sides + _GAP)]) for sides in (heights, widths))
    pixels = np.full((tops[-1] - _GAP, lefts[-1] - _GAP, 3), 255, np.uint8)
    for (row, column), tile in zip(places, tiles):
        top, left = tops[row], lefts[column]
        pixels[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return to_image(pixels)
