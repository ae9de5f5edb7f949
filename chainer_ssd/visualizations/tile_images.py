"""Many images as one."""

import math

import numpy as np

from chainer_ssd.images.pixels import to_image, to_pixels

_GAP = 6  # pixels between two images


def tile_images(imgs, n_column=None):
    """Puts images side by side and one below the other, on white.

    Parameters
    ----------
    imgs : sequence of float or uint8 arrays of shape (3, H, W)
        RGB, 0..255, of any sizes; at least one. A column is as wide as its widest image, a row as
        high as its highest.
    n_column : int, optional
        Images in a row; all of them if not given.

    Returns
    -------
    uint8 array of shape (3, H', W')
        See :func:`draw_bbox`.

    Raises
    ------
    ValueError
        If there is no image, one is not (3, H, W), or ``n_column`` is less than 1.
    """
    if not len(imgs):
        raise ValueError('imgs is empty: expected one image or more')
    n_column = len(imgs) if n_column is None else n_column
    if n_column < 1:
        raise ValueError(f'n_column = {n_column}: expected 1 or more')
    n_row = math.ceil(len(imgs) / n_column)
    heights, widths = np.zeros(n_row, int), np.zeros(min(n_column, len(imgs)), int)
    tiles = [to_pixels(img) for img in imgs]
    for i, tile in enumerate(tiles):
        row, column = divmod(i, n_column)
        heights[row] = max(heights[row], tile.shape[0])
        widths[column] = max(widths[column], tile.shape[1])
    tops = np.cumsum([0, *(heights + _GAP)])
    lefts = np.cumsum([0, *(widths + _GAP)])
    pixels = np.full((tops[-1] - _GAP, lefts[-1] - _GAP, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, n_column)
        pixels[
            tops[row] : tops[row] + tile.shape[0], lefts[column] : lefts[column] + tile.shape[1]
        ] = tile
    return to_image(pixels)
