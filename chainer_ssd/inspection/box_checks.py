"""Faults of valid boxes: their place in the image, their unit, and repetitions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainer_ssd.inspection.finding import Finding, make_finding
from chainer_ssd.inspection.records import ImageRecord

_TOLERANCE = 1  # pixel: corners may be 0-based or 1-based, inclusive or exclusive


def check_boxes(
    record: ImageRecord, size: tuple[float, float] | None, n_default: int
) -> Iterator[Finding]:
    """Yield the faults of the boxes of one image.

    Parameters
    ----------
    record : ImageRecord
        The image.
    size : tuple of float or None
        (H, W) of the image in the coordinates of its boxes. None if it is not known.
    n_default : int
        Number of default boxes of the model.
    """
    seen = set()
    for row, each in enumerate(record.objects):
        text = f'object {row} ({each.name}): (y_min, x_min, y_max, x_max) = ' + str(
            tuple(round(side, 2) for side in each.bbox)
        )
        kind = _place_of(np.array(each.bbox), size, record.annotated_size)
        if kind is not None:
            where = '' if size is None else f' in an image of (H, W) = ({size[0]:g}, {size[1]:g})'
            file = record.annotation_file
            yield make_finding(kind, file, text + where, record.image_file, each.bbox)
        key = each.name, each.bbox
        if key in seen:
            yield make_finding(
                'repeated box', record.annotation_file, text, record.image_file, each.bbox
            )
        seen.add(key)
    if record.is_background:
        yield make_finding('image without objects', record.annotation_file, 'no object')
    if len(record.objects) > n_default:
        text = f'{len(record.objects)} objects, and the model has {n_default} default boxes'
        yield make_finding('crowded image', record.annotation_file, text, record.image_file)


def _place_of(
    bbox: np.ndarray, size: tuple[float, float] | None, annotated: tuple[float, float] | None
) -> str | None:
    # Fractions 0 ... 1 are read as 1-based pixels, so that they become -1 ... 0.
    if (bbox >= -1).all() and (bbox <= 0).all():
        return 'box in fractions'
    if size is None or _fits(bbox, size):
        return None
    if annotated is not None and _fits(bbox, annotated):
        return None  # the wrong size is the fault, and it is reported
    return 'swapped axes' if _fits(bbox, size[::-1]) else 'box outside'


def _fits(bbox: np.ndarray, size: tuple[float, ...]) -> bool:
    return bool((bbox[:2] >= -_TOLERANCE).all() and (bbox[2:] <= np.array(size)).all())
