"""Choice of the sizes and aspect ratios of default boxes that fit given objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._options import check_fraction, check_integer, check_number
from chainer_ssd._validation import check_bbox
from chainer_ssd.ops.default_boxes import generate_default_bbox

#: Two neighboring candidates of a size. The larger square lies at half of such a step.
_SIZE_STEP = 2 ** (1 / 6)
_MAX_CHANGE = 3.0  # of a size, to both sides
_LARGEST = 1.1  # size as a fraction of the input
_RATIOS = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0)
#: An aspect ratio costs time, so it must bring at least one of them.
_MIN_RECALL_GAIN, _MIN_IOU_GAIN = 0.002, 0.005
_MAX_OBJECTS = 4000  # a sample of so many objects decides as well as all
_MAX_ROUNDS = 20


class DefaultBoxFit(NamedTuple):
    """Sizes and aspect ratios that :func:`fit_default_boxes` has chosen.

    Attributes
    ----------
    sizes : tuple of float, length S + 1
        In pixels of the input, as :func:`generate_default_bbox` takes them.
    aspect_ratios : tuple of tuples of float, length S
        The ratios of each scale.
    recall, recall_before : float
        Fraction of the objects with a default box of at least ``iou_thresh``, with the chosen
        boxes and with the given ones.
    mean_iou, mean_iou_before : float
        Mean over the objects of the IoU with the best default box.
    n_box, n_box_before : int
        Numbers of default boxes.
    """

    sizes: tuple[float, ...]
    aspect_ratios: tuple[tuple[float, ...], ...]
    recall: float
    recall_before: float
    mean_iou: float
    mean_iou_before: float
    n_box: int
    n_box_before: int


def fit_default_boxes(
    bbox: Any,
    grids: Sequence[int],
    aspect_ratios: Sequence[Sequence[float]],
    steps: Sequence[float],
    sizes: Sequence[float],
    iou_thresh: float = 0.5,
    max_ratios: int = 4,
    max_growth: float = 1.5,
    weight: Any = None,
) -> DefaultBoxFit:
    """Return sizes and aspect ratios for which more objects have a default box that fits.

    Parameters
    ----------
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max) of all objects, in pixels of the network's input.
    grids, aspect_ratios, steps, sizes
        The default boxes to begin with, see :func:`generate_default_bbox`.
    iou_thresh : float
        IoU with a default box from which on an object counts as found.
    max_ratios : int
        Largest number of aspect ratios of a scale. A scale that begins with more keeps them.
    max_growth : float
        Largest number of default boxes as a factor of the number to begin with, at least 1.
    weight : float array of shape (R,), optional
        Weight of each object in the search, above 0. The recall of the result is without weights.
        Default: all the same. The inverse of the number of objects of its class makes all classes
        count alike, as in the mAP.

    Returns
    -------
    DefaultBoxFit
        The choice, with the recall before and after. The same arguments give the same result.

    Raises
    ------
    ValueError
        If there is no object, a box is not valid, or an option is out of range.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    The recall counts first, in steps of 0.001, and then the mean best IoU. The search begins at the
    given boxes and changes one value at a time. It moves a size by steps of 12 %, replaces an
    aspect ratio, or adds one. It stops when no change helps. Sizes stay in ascending order, and
    each changes by a factor of 3 at most. No aspect ratio is removed.

    For boxes of one shape on a regular grid, the best one has the center nearest to the object. So
    the recall is exact without a comparison with all default boxes.

    YOLOv5 and MMDetection choose the shapes of anchors by k-means and by evolution. Both compare
    widths and heights only. For thin objects the distance to the next center decides, and a shape
    that would fit has no box there.

    Examples
    --------
    >>> thin = [[10, 28, 60, 36], [28, 4, 36, 54]]
    >>> fit = fit_default_boxes(thin, [8], [()], [8], [16, 32])
    >>> fit.recall_before, fit.recall
    (0.0, 1.0)
    """
    check_fraction('iou_thresh', iou_thresh)
    check_integer('max_ratios', max_ratios)
    check_number('max_growth', max_growth, 1)
    n_before = len(generate_default_bbox(grids, aspect_ratios, steps, sizes))
    bbox = np.asarray(check_bbox(np.asarray(bbox, np.float64).reshape(-1, 4)), np.float64)
    if not len(bbox):
        raise ValueError('bbox holds no box: expected one object or more')
    weight = np.ones(len(bbox)) if weight is None else np.asarray(weight, np.float64)
    if weight.shape != (len(bbox),) or not (np.isfinite(weight) & (weight > 0)).all():
        raise ValueError(
            f'weight has shape {weight.shape}: expected ({len(bbox)},), finite and above 0'
        )
    if len(bbox) > _MAX_OBJECTS:
        sample = np.linspace(0, len(bbox) - 1, _MAX_OBJECTS).astype(int)
        bbox, weight = bbox[sample], weight[sample]
    search = _Search(bbox, weight / weight.sum(), grids, steps, sizes, iou_thresh)
    chosen = _Choice(
        (0,) * len(sizes), tuple(tuple(float(a) for a in ratios) for ratios in aspect_ratios)
    )
    before, start = search.measure_plain(chosen), search.measure(chosen)
    allowed = _Limits(max_ratios, math.floor(max_growth * n_before))
    chosen = search.climb(chosen, allowed)
    found_sizes = tuple(round(search.size_of(k, i), 6) for k, i in enumerate(chosen.shifts))
    after = search.measure_plain(chosen)
    if search.measure(chosen) <= start:
        chosen, after = chosen._replace(ratios=tuple(map(tuple, aspect_ratios))), before
        found_sizes = tuple(map(float, sizes))
    return DefaultBoxFit(
        found_sizes,
        chosen.ratios,
        after[0],
        before[0],
        after[1],
        before[1],
        search.count(chosen.ratios),
        n_before,
    )


class _Choice(NamedTuple):
    shifts: tuple[int, ...]  # of each size, in steps
    ratios: tuple[tuple[float, ...], ...]


class _Limits(NamedTuple):
    n_ratio: int
    n_box: int


class _Search:
    """Coordinate ascent. The best IoU of each object with each shape is computed once."""

    def __init__(
        self,
        bbox: np.ndarray,
        weight: np.ndarray,
        grids: Sequence[int],
        steps: Sequence[float],
        sizes: Sequence[float],
        iou_thresh: float,
    ) -> None:
        self._side = bbox[:, 2:] - bbox[:, :2]
        self._center = (bbox[:, 2:] + bbox[:, :2]) / 2
        self._grids, self._steps, self._sizes = grids, steps, tuple(map(float, sizes))
        self._weight, self._iou_thresh = weight, iou_thresh
        self._ious: dict[tuple[int, float, float], np.ndarray] = {}
        self._of_scale: dict[tuple[Any, ...], np.ndarray] = {}

    def size_of(self, k: int, shift: int) -> float:
        """Return a size in pixels."""
        return self._sizes[k] * _SIZE_STEP**shift

    def count(self, ratios: Sequence[Sequence[float]]) -> int:
        """Return the number of default boxes."""
        return sum(g**2 * (2 + 2 * len(each)) for g, each in zip(self._grids, ratios))

    def measure(self, choice: _Choice) -> tuple[float, float]:
        """Return the recall and the mean best IoU, with the weights."""
        best = self._best_iou(choice)
        return float(self._weight[best >= self._iou_thresh].sum()), float(self._weight @ best)

    def measure_plain(self, choice: _Choice) -> tuple[float, float]:
        """Return the recall and the mean best IoU, without weights."""
        best = self._best_iou(choice)
        return float((best >= self._iou_thresh).mean()), float(best.mean())

    def _best_iou(self, choice: _Choice) -> np.ndarray:
        best = self._best_of_scale(0, choice)
        for k in range(1, len(self._grids)):
            best = np.maximum(best, self._best_of_scale(k, choice))
        return best

    def climb(self, choice: _Choice, allowed: _Limits) -> _Choice:
        """Return the choice that no single change improves."""
        for _ in range(_MAX_ROUNDS):
            start = choice
            for k in range(len(self._sizes)):
                choice = self._best(choice, self._moved_sizes(choice, k))
            for k, ratios in enumerate(choice.ratios):
                for i in range(len(ratios)):
                    choice = self._best(choice, self._replaced_ratios(choice, k, i))
            choice = self._add_ratio(choice, allowed)
            if choice == start:
                break
        return choice

    def _best(self, choice: _Choice, others: Iterator[_Choice]) -> _Choice:
        score = _rounded(self.measure(choice))
        for other in others:
            other_score = _rounded(self.measure(other))
            if other_score > score:
                choice, score = other, other_score
        return choice

    def _moved_sizes(self, choice: _Choice, k: int) -> Iterator[_Choice]:
        largest = _LARGEST * self._grids[0] * self._steps[0]
        reach = round(math.log(_MAX_CHANGE) / math.log(_SIZE_STEP))
        for shift in sorted(range(-reach, reach + 1), key=abs):
            size = self.size_of(k, shift)
            shifts = (*choice.shifts[:k], shift, *choice.shifts[k + 1 :])
            is_above = k == 0 or size > self.size_of(k - 1, choice.shifts[k - 1])
            is_below = k + 1 == len(shifts) or size < self.size_of(k + 1, choice.shifts[k + 1])
            if is_above and is_below and size <= max(largest, self._sizes[k]):
                yield choice._replace(shifts=shifts)

    def _replaced_ratios(self, choice: _Choice, k: int, i: int) -> Iterator[_Choice]:
        for ratio in _RATIOS:
            if ratio not in choice.ratios[k]:
                ratios = list(choice.ratios[k])
                ratios[i] = ratio
                yield _with_ratios(choice, k, ratios)

    def _add_ratio(self, choice: _Choice, allowed: _Limits) -> _Choice:
        recall, mean_iou = self.measure(choice)
        added = (
            _with_ratios(choice, k, [*ratios, ratio])
            for k, ratios in enumerate(choice.ratios)
            if len(ratios) < allowed.n_ratio
            for ratio in _RATIOS
            if ratio not in ratios
        )
        best = self._best(choice, (each for each in added if self.count(each.ratios) <= allowed[1]))
        new_recall, new_mean_iou = self.measure(best)
        gains = new_recall - recall >= _MIN_RECALL_GAIN or new_mean_iou - mean_iou >= _MIN_IOU_GAIN
        return best if gains else choice

    def _best_of_scale(self, k: int, choice: _Choice) -> np.ndarray:
        key = k, choice.shifts[k], choice.shifts[k + 1], choice.ratios[k]
        if key not in self._of_scale:
            size = self.size_of(k, choice.shifts[k])
            larger = math.sqrt(size * self.size_of(k + 1, choice.shifts[k + 1]))
            best = np.maximum(self._iou(k, size, size), self._iou(k, larger, larger))
            for ratio in choice.ratios[k]:
                short, long = size / math.sqrt(ratio), size * math.sqrt(ratio)
                best = np.maximum(best, self._iou(k, short, long))
                best = np.maximum(best, self._iou(k, long, short))
            self._of_scale[key] = best
        return self._of_scale[key]

    def _iou(self, k: int, height: float, width: float) -> np.ndarray:
        """Return the IoU of each object with the nearest box of one shape, shape (R,)."""
        key = k, height, width
        if key not in self._ious:
            side = np.array([height, width])
            cell = np.clip(np.floor(self._center / self._steps[k]), 0, self._grids[k] - 1)
            distance = np.abs(self._center - (cell + 0.5) * self._steps[k])
            overlap = np.minimum((self._side + side) / 2 - distance, np.minimum(self._side, side))
            intersection = np.maximum(overlap, 0).prod(axis=1)
            union = self._side.prod(axis=1) + height * width - intersection
            self._ious[key] = intersection / union
        return self._ious[key]


def _with_ratios(choice: _Choice, k: int, ratios: Sequence[float]) -> _Choice:
    return choice._replace(
        ratios=(*choice.ratios[:k], tuple(sorted(ratios)), *choice.ratios[k + 1 :])
    )


def _rounded(score: tuple[float, float]) -> tuple[float, float]:
    """Return the score that is compared: single objects do not outweigh the mean IoU."""
    return round(score[0], 3), score[1]
