"""How well default boxes fit the objects, and what fits better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._validation import is_valid_bbox
from chainer_ssd.inspection.records import ImageRecord
from chainer_ssd.links import SSDMini, fit_ssd_mini_boxes
from chainer_ssd.ops import bbox_iou, center_to_corner

_SCALES = (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5)
_MAX_OBJECTS = 4000  # a sample of so many objects decides as well as all
MIN_GAIN = 0.02  #: smallest gain of the recall that is worth other default boxes
_LOW_RECALL = 0.9  # below it, boxes are fitted to see what that brings


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
    fit_fraction : float
        The fraction with the default boxes of ``--fit-boxes``. NaN if it was not computed, which
        needs an SSDMini and a ``fraction`` below 0.9.
    """

    n_object: int
    fraction: float
    best_scale: float
    best_fraction: float
    unmatched: tuple[tuple[str, tuple[float, ...]], ...]
    fit_fraction: float = float('nan')

    @property
    def helps(self) -> bool:
        """Whether another scale matches clearly more objects."""
        return self.best_fraction >= self.fraction + MIN_GAIN

    @property
    def fitting_helps(self) -> bool:
        """Whether ``--fit-boxes`` matches clearly more objects, and no fewer than a scale does."""
        return self.fit_fraction >= max(self.fraction + MIN_GAIN, self.best_fraction)


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
        (record.image_file, each.bbox, sizes[record.image_file], each.name)
        for record in records
        if record.image_file in sizes
        for each in record.objects
        if not each.is_difficult
    ]
    if len(found) > _MAX_OBJECTS:
        found = [found[i] for i in np.linspace(0, len(found) - 1, _MAX_OBJECTS).astype(int)]
    if not found:
        return Coverage(0, float('nan'), model.box_scale, float('nan'), ())
    files, boxes, image_sizes, names = zip(*found)
    factors = model.insize / np.array([size * 2 for size in image_sizes], np.float64)
    bbox = np.array(boxes, np.float64) * factors
    default_bbox = np.asarray(model.coder.default_bbox, np.float64)
    matches = _can_match(bbox, default_bbox, iou_thresh)
    best, best_fraction = model.box_scale, float(matches.mean())
    if best_fraction + MIN_GAIN <= 1:
        # The first of equal fractions is the one nearest to the present scale.
        for scale in sorted(_SCALES, key=lambda scale: abs(np.log(scale / model.box_scale))):
            scaled = default_bbox * (1, 1, scale / model.box_scale, scale / model.box_scale)
            fraction = float(_can_match(bbox, scaled, iou_thresh).mean())
            if fraction > best_fraction:
                best, best_fraction = scale, fraction
    lost = sorted(np.flatnonzero(~matches), key=lambda i: float(np.prod(bbox[i, 2:] - bbox[i, :2])))
    unmatched = tuple((files[i], tuple(boxes[i])) for i in lost)
    fraction, fit_fraction = float(matches.mean()), float('nan')
    has_area = is_valid_bbox(bbox)
    if fraction < _LOW_RECALL and isinstance(model, SSDMini) and has_area.any():
        objects = _Objects(bbox[has_area], np.array(names)[has_area], model.insize)
        fit_fraction = fit_ssd_mini_boxes(objects, model.insize, iou_thresh).recall
    return Coverage(len(found), fraction, best, best_fraction, unmatched, fit_fraction)


class _Objects:
    """All objects as a data set of one image, whose size is that of the model's input."""

    def __init__(self, bbox: np.ndarray, names: np.ndarray, insize: int) -> None:
        self._bbox, self._insize = bbox, insize
        self._label = np.unique(names, return_inverse=True)[1].reshape(-1)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> tuple[np.ndarray, ...]:
        return (np.empty((3, self._insize, self._insize), np.uint8), *self.get_annotation(i))

    def get_annotation(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return bbox and label."""
        return self._bbox, self._label


def _can_match(bbox: np.ndarray, default_bbox: np.ndarray, iou_thresh: float) -> np.ndarray:
    corners = center_to_corner(default_bbox)
    step = max(1, (1 << 23) // max(len(corners), 1))  # bounds the memory of the table
    return np.concatenate(
        [
            bbox_iou(bbox[i : i + step], corners).max(axis=1) >= iou_thresh
            for i in range(0, len(bbox), step)
        ]
    )
