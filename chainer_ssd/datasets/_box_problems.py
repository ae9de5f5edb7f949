"""Checks of ground truth boxes when a data set reads them: invalid boxes and implausible ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from chainer_ssd._validation import is_valid_bbox
from chainer_ssd.datasets._messages import join_first, shorten
from chainer_ssd.datasets.annotation_problem import AnnotationProblem
from chainer_ssd.datasets.orientation import fits_image

_INVALID = ('inverted_box', 'no_area', 'not_finite')


def classify_boxes(bbox: np.ndarray) -> list[str | None]:
    """Return the kind of problem of each box (N, 4), None for valid boxes."""
    kinds: list[str | None] = [None] * len(bbox)
    for row in np.flatnonzero(~is_valid_bbox(bbox)):
        box = bbox[row]
        if (box[:2] > box[2:]).any():
            kinds[row] = 'inverted_box'
        else:
            kinds[row] = 'no_area' if (box[:2] == box[2:]).any() else 'not_finite'
    return kinds


def report_problems(
    problems: Sequence[AnnotationProblem],
    on_invalid: str,
    names_images: bool = False,
    stacklevel: int = 2,
) -> None:
    """Raise for the first object that a data set leaves out, or warn once for each reason.

    Parameters
    ----------
    problems : sequence of AnnotationProblem
        Invalid boxes, unreadable boxes and repeated objects.
    on_invalid : {'drop', 'raise'}
        'drop': one warning for invalid boxes, and one for unreadable boxes.
    names_images : bool
        True: warnings list the images instead of the annotation files, because COCO has one file.
    stacklevel : int
        As for :func:`warnings.warn`.

    Raises
    ------
    ValueError
        If ``on_invalid`` is 'raise' and there is a problem.
    """
    if problems and on_invalid == 'raise':
        raise ValueError(problems[0].describe())
    invalid = [each for each in problems if each.kind in _INVALID]
    if invalid:
        warnings.warn(
            f'invalid boxes (inverted, without area or not finite) dropped: {len(invalid)}, in '
            + _join_files(invalid, names_images),
            stacklevel=stacklevel + 1,
        )
    unreadable = [each for each in problems if each.kind == 'unreadable_box']
    if unreadable:
        items = (each.describe() for each in unreadable)
        warnings.warn(
            f'objects left out because their box cannot be read: {len(unreadable)}, '
            + join_first(items, 'more objects', max_items=10),
            stacklevel=stacklevel + 1,
        )
    repeated = [each for each in problems if each.kind == 'repeated']
    if repeated:
        warnings.warn(
            f'objects that stand twice, counted once: {len(repeated)}, first '
            + repeated[0].describe(),
            stacklevel=stacklevel + 1,
        )


def warn_about_implausible_boxes(
    bbox: np.ndarray,
    image_size: np.ndarray,
    image_index: np.ndarray,
    files: Sequence[str | None],
    offset: int = 0,
    stacklevel: int = 2,
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
    offset : int
        What the files' coordinates are larger by: 1 for VOC.
    stacklevel : int
        As for :func:`warnings.warn`.
    """
    is_outside = ~fits_image(bbox, image_size)
    fits_swapped = fits_image(bbox, image_size[:, ::-1])
    for is_implausible, reason in (
        (is_outside & ~fits_swapped, 'reach outside their image'),
        (is_outside & fits_swapped, 'fit their image only with x and y swapped'),
        (
            ((bbox + offset >= 0) & (bbox + offset <= 1)).all(axis=1),
            'look like fractions in [0, 1] where pixels are expected',
        ),
    ):
        rows = np.flatnonzero(is_implausible)
        if rows.size:
            first = rows[0]
            file = shorten(str(files[image_index[first]]), 300)
            box = ', '.join(f'{value:g}' for value in bbox[first] + offset)
            warnings.warn(
                f'boxes that {reason}: {rows.size}, in {len(set(image_index[rows]))} files; first '
                f'in {file}: (y_min, x_min, y_max, x_max) = ({box})',
                stacklevel=stacklevel + 1,
            )


def warn_about_missing_labels(
    image_files: Sequence[str], label_files: Sequence[str | None], stacklevel: int = 2
) -> None:
    """Warn once about images without a label file, which count as background."""
    missing = [image for image, file in zip(image_files, label_files) if file is None]
    if missing:
        warnings.warn(
            f'images without a label file, which count as background: {len(missing)} of '
            f'{len(image_files)}, first {shorten(missing[0], 300)}',
            stacklevel=stacklevel + 1,
        )


def _join_files(problems: Sequence[AnnotationProblem], names_images: bool) -> str:
    files = dict.fromkeys(each.image if names_images else each.file for each in problems)
    return join_first(files, 'more files')
