"""Where the captions of boxes go, so that they hide neither each other nor the objects."""

import numpy as np

_CORE = 0.6  # of a box's height and width: there the object is
_ON_OBJECT = 1.0  # price of a pixel on the core of a box
_ON_CAPTION = 4.0  # price of a pixel on another caption
_DISTANCE = 0.04  # price of each step down the list of places, for a pixel of the caption
_TOO_DEAR = 0.9  # price of a pixel from which a shorter caption is tried, and twice that none
_COVERED = 0.2  # of the image, by all captions together at most
_MOST = 100  # captions, at most


def place_captions(bbox, captions, shape):
    """Finds room for one caption a box, box after box.

    Parameters
    ----------
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max) in pixels.
    captions : list of R lists of masks
        For each box what may be written, the best first; see :func:`text_mask`.
    shape : tuple of int
        (H, W) of the image.

    Returns
    -------
    list of R tuples or None
        (mask, top, left), all inside the image; None where no caption has room.
    """
    center, half = (bbox[:, :2] + bbox[:, 2:]) / 2, (bbox[:, 2:] - bbox[:, :2]) * (_CORE / 2)
    n_taken = len(bbox)
    taken = np.zeros((n_taken + _MOST, 4))
    taken[:n_taken, :2], taken[:n_taken, 2:] = center - half, center + half
    prices = np.repeat([_ON_OBJECT, _ON_CAPTION], [n_taken, _MOST])
    places, left_over = [None] * len(bbox), _COVERED * shape[0] * shape[1]
    for i, (box, masks) in enumerate(zip(bbox[:_MOST].tolist(), captions)):
        best = None
        for mask in masks:
            height, width = mask.shape
            if height > shape[0] or width > shape[1] or height * width > left_over:
                continue
            corners = _corners(box, height, width, shape)
            windows = np.concatenate([corners, corners + (height, width)], axis=1)
            price = _overlap(windows, taken[:n_taken]) @ prices[:n_taken] / (height * width)
            price += _DISTANCE * np.arange(len(price))
            least = int(price.argmin())
            if best is None or price[least] < best[0]:
                best = price[least], mask, *corners[least].tolist()
            if price[least] < _TOO_DEAR:
                break
        if best is None or best[0] >= 2 * _TOO_DEAR:
            continue
        _, mask, top, left = best
        places[i] = mask, top, left
        taken[n_taken] = top, left, top + mask.shape[0], left + mask.shape[1]
        n_taken += 1
        left_over -= mask.size
    return places


def _corners(box, height, width, shape):
    """Upper left corners of the places for a caption, the best first: outside, then inside."""
    top, left, bottom, right = box
    places = np.array(
        [
            (top - height, left),
            (top - height, right - width),
            (bottom, left),
            (bottom, right - width),
            (top, left),
            (top, right - width),
            (bottom - height, left),
            (bottom - height, right - width),
            (top - height, (left + right - width) / 2),
            (bottom, (left + right - width) / 2),
            (top, left - width),
            (top, right),
        ]
    )
    return np.rint(places.clip(0, (shape[0] - height, shape[1] - width))).astype(int)


def _overlap(a, b):
    """Pixels that each of ``a`` shares with each of ``b``."""
    height, width = (
        np.minimum(a[:, None, 2 + axis], b[:, 2 + axis]) - np.maximum(a[:, None, axis], b[:, axis])
        for axis in (0, 1)
    )
    return height.clip(0) * width.clip(0)
