"""Whether the boxes of a data set belong to its images as stored, or as EXIF turns them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd import images
from chainer_ssd._options import check_choice
from chainer_ssd.datasets._messages import join_first

_UPRIGHT = 1
_SWAPS_SIDES = (5, 6, 7, 8)
_JPEG_START = b'\xff\xd8\xff'
_HEAD_BYTES = 4096


class OrientationDecision(NamedTuple):
    """Which images are turned as their EXIF orientation says.

    Attributes
    ----------
    applies : tuple of bool
        For each image: True if its boxes belong to the turned image. True for images that EXIF does
        not turn.
    undecided : tuple of str
        Images with objects that EXIF turns, for which nothing shows where their boxes belong.
    is_mixed : bool
        True if some images prove one choice and others prove the other one.
    """

    applies: tuple[bool, ...]
    undecided: tuple[str, ...]
    is_mixed: bool


def decide_orientation(
    image_files: Sequence[str],
    image_sizes: Sequence[tuple[float, float] | None],
    bboxes: Sequence[np.ndarray],
    exif: str = 'auto',
) -> OrientationDecision:
    """Return which images must be turned so that their boxes fit them.

    Some annotation tools show the image as stored, others as EXIF turns it. An image proves the
    choice if EXIF exchanges its sides, and its annotated size is that of one choice only. Without
    an annotated size, boxes that lie inside one choice only prove it. If all proofs of the data set
    agree, they hold for every other image too. Otherwise the other images are turned, and are
    listed as undecided.

    Parameters
    ----------
    image_files : sequence of str
        Files of the images. A file that cannot be read counts as not turned.
    image_sizes : sequence of tuple or None
        (H, W) of each image as annotated, None if it is not known.
    bboxes : sequence of arrays of shape (R, 4)
        Boxes of each image, (y_min, x_min, y_max, x_max), pixels. Images without boxes are not
        opened.
    exif : {'auto', 'apply', 'ignore'}
        'auto': as above. 'apply' and 'ignore' decide for all images, and open none.

    Returns
    -------
    OrientationDecision
        The choice for each image, and the images without a proof.
    """
    check_choice('exif', exif, ('auto', 'apply', 'ignore'))
    n_image = len(image_files)
    if exif != 'auto':
        return OrientationDecision((exif == 'apply',) * n_image, (), False)
    proofs: dict[int, bool | None] = {}  # of the images that EXIF turns
    for i, file in enumerate(image_files):
        if len(bboxes[i]) and may_have_orientation(file):
            stored, orientation = _read_size_and_orientation(file)
            if orientation != _UPRIGHT:
                proofs[i] = _find_proof(stored, orientation, image_sizes[i], bboxes[i])
    found = {proof for proof in proofs.values() if proof is not None}
    default = found.pop() if len(found) == 1 else None
    applies = np.ones(n_image, dtype=bool)
    if default is False:  # images without boxes too, so that all pictures are treated alike
        applies[:] = False
    undecided = []
    for i, proof in proofs.items():
        choice = default if proof is None else proof
        if choice is None:
            undecided.append(image_files[i])
        applies[i] = True if choice is None else choice
    return OrientationDecision(tuple(applies.tolist()), tuple(undecided), len(found) == 2)


def warn_about_orientation(decision: OrientationDecision, stacklevel: int = 2) -> None:
    """Warn once if the orientation of some images cannot be known."""
    if not decision.undecided:
        return
    why = 'other images prove both choices' if decision.is_mixed else 'no image proves it'
    warnings.warn(
        f'images that EXIF turns, whose boxes may belong to the stored or to the turned image: '
        f'{len(decision.undecided)}, in {join_first(decision.undecided, "more files")}. They are '
        f"turned, because {why}. exif='apply' or exif='ignore' decides for all images",
        stacklevel=stacklevel + 1,
    )


def may_have_orientation(file: str) -> bool:
    """Return False if the beginning of a JPEG file shows that it has no EXIF and no XMP block.

    This takes about a fifth of the time of a whole header.
    """
    try:
        with open(file, 'rb', buffering=0) as opened:
            head = opened.read(_HEAD_BYTES)
    except OSError:
        return False
    if not head.startswith(_JPEG_START):
        return True
    # A JPEG is a chain of segments: 0xff, its kind, and its length in two bytes.
    position = 2
    while position + 4 <= len(head) and head[position] == 0xFF:
        kind = head[position + 1]
        if kind == 0xDA:  # the pixels follow
            return False
        if kind == 0xE1:  # EXIF or XMP
            return True
        position += 2 + int.from_bytes(head[position + 2 : position + 4], 'big')
    return True


def _read_size_and_orientation(file: str) -> tuple[tuple[int, int], int]:
    try:
        header = images.read_header(file)
    except (OSError, ValueError):  # the error is raised when the image is read
        return (0, 0), _UPRIGHT
    return header.size, header.orientation


def _find_proof(
    stored: tuple[int, int],
    orientation: int,
    annotated: tuple[float, float] | None,
    bbox: np.ndarray,
) -> bool | None:
    """Return True if the boxes belong to the turned image, False if to the stored one."""
    turned = stored[::-1]
    if orientation not in _SWAPS_SIDES or stored == turned:
        return None
    if annotated in (stored, turned):
        return annotated == turned
    if annotated is not None:  # the image has another size than the boxes' image
        return None
    fits_stored, fits_turned = (bool(fits_image(bbox, size).all()) for size in (stored, turned))
    return None if fits_stored == fits_turned else fits_turned


def fits_image(bbox: np.ndarray, size: Any) -> Any:
    """Return which boxes lie in their images. Any box fits an unknown size (NaN).

    One pixel on either side is allowed, because corners can be 0-based or 1-based, and inclusive or
    exclusive.
    """
    is_outside = (bbox[:, :2] < -1).any(axis=1) | (bbox[:, 2:] > np.asarray(size)).any(axis=1)
    return ~is_outside
