"""Checks of ground truth boxes when a data set reads them: invalid boxes and implausible ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from chainer_ssd._validation import is_valid_bbox

_MAX_FILES_IN_MESSAGE = 20


def find_valid_boxes(
    bbox: np.ndarray,
    image_index: np.ndarray,
    files: Sequence[str],
    on_invalid: str,
    describe: Callable[[int], str],
) -> np.ndarray:
    """Return which boxes are valid. Raise or warn about the others.

    Parameters
    ----------
    bbox : float array of shape (N, 4)
        Boxes of all images.
    image_index : int array of shape (N,)
        Image of each box.
    files : sequence of str
        File of each image, for the warning.
    on_invalid : {'drop', 'raise'}
        'drop': one warning states the number of invalid boxes and their files.
    describe : callable
        ``describe(row)`` returns the error message for an invalid box.

    Returns
    -------
    bool array of shape (N,)

    Raises
    ------
    ValueError
        If a box is invalid and ``on_invalid`` is 'raise'.
    """
    valid = is_valid_bbox(bbox)
    rows = np.flatnonzero(~valid)
    if rows.size and on_invalid == 'raise':
        raise ValueError(describe(int(rows[0])))
    if rows.size:
        bad_files = [files[i] for i in np.unique(image_index[rows])]
        n_more = len(bad_files) - _MAX_FILES_IN_MESSAGE
        warnings.warn(
            f'invalid boxes (inverted, without area or not finite) dropped: {len(rows)}, in '
            + ', '.join(bad_files[:_MAX_FILES_IN_MESSAGE])
            + (f' and {n_more} more files' if n_more > 0 else ''),
            stacklevel=3,
        )
    return valid


def warn_about_implausible_boxes(
    bbox: np.ndarray, image_size: np.ndarray, image_index: np.ndarray, files: Sequence[str]
) -> None:
    """Warn about valid boxes that seem to be in another format, once for each reason.

    Parameters
    ----------
    bbox : float array of shape (N, 4)
        Valid boxes of all images, in pixels.
    image_size : float array of shape (N, 2)
        (H, W) of each box's image, NaN if it is not known.
    image_index : int array of shape (N,)
        Image of each box.
    files : sequence of str
        File of each image.
    """
    is_outside = ~_fits(bbox, image_size)
    fits_swapped = _fits(bbox, image_size[:, ::-1])
    for is_implausible, reason in (
        (is_outside & ~fits_swapped, 'reach outside their image'),
        (is_outside & fits_swapped, 'fit their image only with x and y swapped'),
        ((bbox <= 1).all(axis=1), 'look like fractions in [0, 1] where pixels are expected'),
    ):
        rows = np.flatnonzero(is_implausible)
        if rows.size:
            first = rows[0]
            warnings.warn(
                f'boxes that {reason}: {rows.size}, in {len(set(image_index[rows]))} files; first '
                f'in {files[image_index[first]]}: (y_min, x_min, y_max, x_max) = '
                f'{tuple(bbox[first].tolist())}',
                stacklevel=3,
            )


def _fits(bbox: np.ndarray, image_size: np.ndarray) -> Any:
    """Return whether boxes lie in their images. Any box fits an unknown size (NaN).

    One pixel on either side is allowed, because corners can be 0-based or 1-based, and inclusive or
    exclusive.
    """
    return ~((bbox[:, :2] < -1).any(axis=1) | (bbox[:, 2:] > image_size).any(axis=1))
