"""How well default boxes fit the objects, and which scale of them fits better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd.inspection.records import ImageRecord
from chainer_ssd.ops import bbox_iou, center_to_corner

_SCALES = (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5)
_MAX_OBJECTS = 4000  # a sample of so many objects decides as well as all
_MIN_GAIN = 0.02


class Coverage(NamedTuple):
    """How many objects a default box can match.

    Attributes
    ----------
    n_object : int
        Number of objects that were compared.
    fraction : float
        Fraction of them that a default box overlaps by the threshold. NaN without objects.
    best_scale : float
        The factor of ``--box-scale`` with the largest fraction among those tried.
    best_fraction : float
        The fraction with that factor.
    unmatched : tuple
        ``(image file, box)`` of objects that no default box can match, the smallest first.
    """

    n_object: int
    fraction: float
    best_scale: float
    best_fraction: float
    unmatched: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def helps(self) -> bool:
        """Whether another scale matches clearly more objects."""
        return self.best_fraction >= self.fraction + _MIN_GAIN


def measure_coverage(
    records: Sequence[ImageRecord],
    sizes: Mapping[str, tuple[float, float]],
    model: Any,
    iou_thresh: float,
) -> Coverage:
    """Compare the objects, scaled to the input of a model, with its default boxes.

    Parameters
    ----------
    records : sequence of ImageRecord
        The images.
    sizes : mapping
        (H, W) of each image file.
    model : SSD
        Has ``coder.default_bbox``, ``insize`` and ``box_scale``.
    iou_thresh : float
        IoU with a default box from which on an object can be matched.

    Returns
    -------
    Coverage
        The figures.
    """
    found = [
        (record.image_file, each.bbox, sizes[record.image_file])
        for record in records
        if record.image_file in sizes
        for each in record.objects
        if not each.is_difficult
    ]
    if len(found) > _MAX_OBJECTS:
        found = [found[i] for i in np.linspace(0, len(found) - 1, _MAX_OBJECTS).astype(int)]
    if not found:
        return Coverage(0, float('nan'), model.box_scale, float('nan'), ())
    factors = model.insize / np.array([size * 2 for _, _, size in found], np.float64)
    bbox = np.array([box for _, box, _ in found], np.float64) * factors
    default_bbox = np.asarray(model.coder.default_bbox, np.float64)
    matches = _can_match(bbox, default_bbox, iou_thresh)
    best, best_fraction = model.box_scale, float(matches.mean())
    if best_fraction + _MIN_GAIN <= 1:
        # The first of equal fractions is the one nearest to the present scale.
        for scale in sorted(_SCALES, key=lambda scale: abs(np.log(scale / model.box_scale))):
            scaled = default_bbox * (1, 1, scale / model.box_scale, scale / model.box_scale)
            fraction = float(_can_match(bbox, scaled, iou_thresh).mean())
            if fraction > best_fraction:
                best, best_fraction = scale, fraction
    lost = sorted(np.flatnonzero(~matches), key=lambda i: float(np.prod(bbox[i, 2:] - bbox[i, :2])))
    unmatched = tuple((found[i][0], tuple(found[i][1])) for i in lost)
    return Coverage(len(found), float(matches.mean()), best, best_fraction, unmatched)


def _can_match(bbox: np.ndarray, default_bbox: np.ndarray, iou_thresh: float) -> np.ndarray:
    corners = center_to_corner(default_bbox)
    step = max(1, (1 << 23) // max(len(corners), 1))  # bounds the memory of the table
    return np.concatenate(
        [
            bbox_iou(bbox[i : i + step], corners).max(axis=1) >= iou_thresh
            for i in range(0, len(bbox), step)
        ]
    )
