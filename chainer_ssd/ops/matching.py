"""Matching: which ground truth, if any, is assigned to each default box."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import check_choice, check_fraction
from chainer_ssd._validation import as_array, check_bbox, check_default_bbox
from chainer_ssd.ops.boxes import center_to_corner, corner_to_center, iou_of_columns
from chainer_ssd.ops.code_types import check_size
from chainer_ssd.ops.padded_truths import match_padded, pad_truths

#: A match of Caffe, Paddle and ChainerCV needs an IoU above this, whatever the threshold.
MIN_MATCH_IOU = 1e-6

#: Default boxes of at least this side are in pixels and not in fractions of the image.
_MIN_PIXELS = 2

_MATCH_TYPES = ('per_prediction', 'bipartite', 'argmax')


def match(
    default_bbox: Array,
    bbox: Array | Sequence[Any],
    iou_thresh: float = 0.5,
    match_type: str = 'per_prediction',
    neg_overlap: float | None = None,
    ignore: Array | None = None,
    ignore_outside: Sequence[float] | None = None,
) -> Array:
    """Return the ground truth that is assigned to each default box of one image.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    bbox : array or list of shape (R, 4)
        Ground truths (y_min, x_min, y_max, x_max), in the unit of ``default_bbox``.
    iou_thresh : float
        A default box whose best IoU is at least this takes that ground truth.
    match_type : {'per_prediction', 'bipartite', 'argmax'}
        ``'bipartite'`` (Caffe, Paddle, ChainerCV) repeats one step. Among free default boxes and
        free ground truths, it assigns the pair with the largest IoU, if that is above 1e-6. Ties
        go to the lower default box, then to the lower ground truth.
        ``'per_prediction'``: afterwards, every free default box whose best IoU is at least
        ``iou_thresh`` takes that ground truth, the lower one on a tie.
        ``'argmax'`` (torchvision, ssd.pytorch) replaces the bipartite step: each ground truth
        takes its best default box (the lower on a tie), even at IoU 0. Later ground truths
        overwrite earlier ones.
    neg_overlap : float or None
        An unmatched default box whose best IoU is at least this is ignored (Caffe's band between
        positive and negative). Ground truths in ``ignore`` do not count. None: no band.
    ignore : bool array of shape (R,) or None
        Ground truths that are never assigned (VOC's ``difficult``, COCO's ``iscrowd``). Unmatched
        default boxes that overlap one by at least ``iou_thresh`` are ignored.
    ignore_outside : sequence of 2 floats or None
        Height and width of the image, in the unit of the boxes. Default boxes that leave it are
        ignored and never assigned. Caffe's ``ignore_cross_boundary_bbox`` does so with (1, 1).
        Default: all default boxes take part.

    Returns
    -------
    int32 array of shape (K,)
        ``index``: the row of the assigned ground truth, -1 for background, -2 for ignored.

    Raises
    ------
    ValueError
        If a ground truth is not finite or has no area. The message names its row. Also if shapes
        disagree or an option is out of its range.
    TypeError
        If a dtype of boxes is not integer or float, ``ignore`` is not bool, or an array is masked.

    Warns
    -----
    UserWarning
        If there are more ground truths than default boxes: some stay unmatched. If no ground truth
        overlaps a default box, or if default boxes seem to be in pixels and all ground truths in
        fractions of the image, or the other way round.

    Notes
    -----
    Liu et al. (2016), section 2.2, "Matching strategy". Without ground truths all default boxes
    are background.

    Examples
    --------
    The first default box equals the ground truth. The second overlaps it by 1/3, the third not.

    >>> import numpy as np
    >>> default_bbox = np.array([(5, 5, 10, 10), (5, 10, 10, 10), (50, 50, 10, 10)], np.float32)
    >>> match(default_bbox, [(0, 0, 10, 10)]).tolist()
    [0, -1, -1]
    >>> match(default_bbox, [(0, 0, 10, 10)], neg_overlap=0.3).tolist()
    [0, -2, -1]
    """
    return Matcher(default_bbox, iou_thresh, match_type, neg_overlap, ignore_outside)(bbox, ignore)


class Matcher:
    """:func:`match` for many images: options and default boxes are checked once.

    Parameters
    ----------
    default_bbox, iou_thresh, match_type, neg_overlap, ignore_outside
        As :func:`match` takes them.

    Raises
    ------
    ValueError, TypeError
        As :func:`match`.
    """

    def __init__(
        self,
        default_bbox: Array,
        iou_thresh: float = 0.5,
        match_type: str = 'per_prediction',
        neg_overlap: float | None = None,
        ignore_outside: Sequence[float] | None = None,
    ) -> None:
        check_choice('match_type', match_type, _MATCH_TYPES)
        check_fraction('iou_thresh', iou_thresh)
        if neg_overlap is not None:
            check_fraction('neg_overlap', neg_overlap)
        self.iou_thresh, self.match_type, self.neg_overlap = iou_thresh, match_type, neg_overlap
        xp = get_array_module(default_bbox)
        corners = center_to_corner(check_default_bbox(default_bbox))
        self._inside: Array | None = None
        self._n_box = len(corners)
        if ignore_outside is not None:
            size = xp.asarray(check_size('ignore_outside', ignore_outside), corners.dtype)
            inside = (corners[:, :2] >= 0).all(axis=1) & (corners[:, 2:] <= size).all(axis=1)
            self._inside, corners = xp.flatnonzero(inside), corners[inside]
        self._set_columns(xp, corners)

    @classmethod
    def of_corners(cls, bbox: Array, *options: Any) -> Matcher:
        """Return a matcher of default boxes that are given by their corners.

        The corners are used as they are, without rounding through center and size.

        Parameters
        ----------
        bbox : float array of shape (K, 4)
            Default boxes (y_min, x_min, y_max, x_max).
        *options
            ``iou_thresh``, ``match_type`` and ``neg_overlap`` of :func:`match`.

        Returns
        -------
        Matcher
            For these default boxes.
        """
        matcher = cls(corner_to_center(bbox), *options)
        matcher._set_columns(get_array_module(bbox), bbox)
        return matcher

    def _set_columns(self, xp: Any, corners: Array) -> None:
        self._default_columns = xp.ascontiguousarray(corners.T)  # (4, K)
        self._units: tuple[bool, bool] | None = None

    def __call__(self, bbox: Array | Sequence[Any], ignore: Array | None = None) -> Array:
        """Match one image.

        Parameters
        ----------
        bbox, ignore
            As :func:`match` takes them.

        Returns
        -------
        int32 array of shape (K,)
            ``index``.

        Raises
        ------
        ValueError, TypeError
            As :func:`match`.
        """
        index, fits = self.assign(bbox, ignore)
        if not fits:
            self.warn_no_overlap(stacklevel=3)
        return index

    def assign(
        self, bbox: Array | Sequence[Any], ignore: Array | None = None
    ) -> tuple[Array, bool]:
        """Match one image, and tell whether its boxes have the unit of the default boxes.

        Parameters
        ----------
        bbox, ignore
            As :func:`match` takes them.

        Returns
        -------
        index : int32 array of shape (K,)
            As :func:`match` returns it.
        fits : bool
            False if no ground truth overlaps a default box. Also False if all coordinates of the
            ground truths are at most 1, and no default box has a side below 2. Also False if no
            ground truth has a side below 2, and all sides of default boxes are. True without
            ground truths to assign.

        Raises
        ------
        ValueError, TypeError
            As :func:`match`.
        """
        xp = get_array_module(self._default_columns, bbox)
        bbox, ignore = self._check_truths(bbox, ignore, stacklevel=4)
        n_box, n_truth = self._default_columns.shape[1], len(bbox)

        assignable = xp.arange(n_truth)
        ignored = assignable[:0]
        if ignore is not None:
            ignore = xp.asarray(ignore)
            assignable, ignored = assignable[~ignore], assignable[ignore]

        index, fits = xp.full(n_box, -1, 'i'), True
        if len(assignable) and n_box:
            fits = self._assign(xp, bbox[assignable], index)
            fits = fits and not self._has_another_unit(bbox)
        if len(ignored):
            index[index >= 0] = assignable[index[index >= 0]]
            is_covered = self._iou(xp, bbox[ignored]).max(axis=0) >= self.iou_thresh
            index[(index == -1) & is_covered] = -2
        if self._inside is not None:
            inside, index = index, xp.full(self._n_box, -2, 'i')
            index[self._inside] = inside
        return index, fits

    def assign_batch(
        self, bboxes: Sequence[Array], ignores: Sequence[Array | None] | None = None
    ) -> tuple[Array, bool]:
        """Match a batch, and tell whether its boxes have the unit of the default boxes.

        On a GPU, all images are matched at once, and no step waits for the device. The matches are
        those of :meth:`assign`. On a CPU it is called for each image, which is faster there.

        Parameters
        ----------
        bboxes : sequence of B arrays of shape (R_i, 4)
            Ground truths of each image. On a GPU they may still be on the CPU, where their values
            are checked. Then they are copied together.
        ignores : sequence of B bool arrays of shape (R_i,) or of None, or None
            As :func:`match` takes them, for each image.

        Returns
        -------
        index : int32 array of shape (B, K)
            As :func:`match` returns it, for each image.
        fits : bool
            Whether one of the images has True in :meth:`assign`, or none has ground truths to
            assign. On a GPU always True, except under ``chainer.config.debug``.

        Raises
        ------
        ValueError, TypeError
            As :func:`match`. The message of a ``ValueError`` begins with the number of the image.
        """
        if ignores is None:
            ignores = [None] * len(bboxes)
        if len(ignores) != len(bboxes):
            raise ValueError(
                f'ignores holds {len(ignores)} images and bboxes {len(bboxes)}: '
                'expected the same number'
            )
        xp = get_array_module(self._default_columns, *bboxes)
        index = xp.full((len(bboxes), self._n_box), -1 if self._inside is None else -2, 'i')
        fits_of_images = []  # with ground truths to assign
        checked = []
        for i, (bbox, ignore) in enumerate(zip(bboxes, ignores)):
            try:
                if xp is np:
                    index[i], fits = self.assign(bbox, ignore)
                    if len(bbox) and (ignore is None or not np.all(ignore)):
                        fits_of_images.append(fits)
                else:
                    checked.append(self._check_truths(bbox, ignore, stacklevel=4))
            except ValueError as error:
                raise ValueError(f'image {i}: {error}') from error
        if checked and self._default_columns.size:
            columns = slice(None) if self._inside is None else self._inside
            if any(len(bbox) for bbox, _ in checked):
                index[:, columns], fits_of_images = self._assign_padded(xp, *zip(*checked))
            else:
                index[:, columns] = -1
        return index, any(fits_of_images) or not fits_of_images

    def _check_truths(self, bbox: Any, ignore: Any, stacklevel: int) -> tuple[Array, Array | None]:
        """Return the ground truths of one image, or raise. Warn if there are too many."""
        bbox = check_bbox(bbox)
        n_box, n_truth = self._default_columns.shape[1], len(bbox)
        if n_truth > n_box:
            warnings.warn(
                f'{n_truth} ground truths for {n_box} default boxes: some stay unmatched',
                stacklevel=stacklevel,
            )
        if ignore is not None:
            ignore = as_array(ignore, 'ignore', 'b', 'bool').astype(bool, copy=False)
            if ignore.shape != (n_truth,):
                raise ValueError(
                    f'ignore has shape {ignore.shape}: expected ({n_truth},), one for each box'
                )
        return bbox, ignore

    def _assign_padded(
        self, xp: Any, bboxes: Sequence[Array], ignores: Sequence[Array | None]
    ) -> tuple[Array, list[bool]]:
        """Return the matches, and under debug whether the images with ground truths fit."""
        dtype = xp.result_type(self._default_columns, *{bbox.dtype for bbox in bboxes})
        truths = pad_truths(xp, bboxes, ignores, dtype)
        index, overlaps = match_padded(
            xp,
            self._default_columns.astype(dtype, copy=False),
            truths,
            self.iou_thresh,
            self.match_type,
            self.neg_overlap,
            MIN_MATCH_IOU,
        )
        if not checks_values(xp):
            return index, []
        has_truths = truths.is_assignable.any(axis=1).tolist()
        return index, [
            overlap and not self._has_another_unit(bbox)
            for bbox, overlap, has in zip(bboxes, overlaps.tolist(), has_truths)
            if has
        ]

    def _has_another_unit(self, bbox: Array) -> bool:
        """Return whether one of the two is in pixels and the other in fractions of the image."""
        if self._units is None:
            sides = self._default_columns[2:] - self._default_columns[:2]
            self._units = bool(sides.min() >= _MIN_PIXELS), bool(sides.max() < _MIN_PIXELS)
        is_in_pixels, is_in_fractions = self._units
        if is_in_pixels:
            return bool(bbox.max() <= 1)
        return is_in_fractions and bool((bbox[:, 2:] - bbox[:, :2]).min() >= _MIN_PIXELS)

    def warn_no_overlap(self, stacklevel: int = 2) -> None:
        """Warn that no ground truth fits the default boxes.

        Parameters
        ----------
        stacklevel : int
            As :func:`warnings.warn` takes it.

        Warns
        -----
        UserWarning
            Always. The text depends on the default boxes only, so Python shows it once.
        """
        y_min, x_min = (float(row.min()) for row in self._default_columns[:2])
        y_max, x_max = (float(row.max()) for row in self._default_columns[2:])
        warnings.warn(
            'no ground truth fits the default boxes, which lie between (y, x) = '
            f'({y_min:.4g}, {x_min:.4g}) and ({y_max:.4g}, {x_max:.4g}). '
            'Are both in pixels, or both in fractions of the image?',
            stacklevel=stacklevel + 1,
        )

    def _iou(self, xp: Any, bbox: Array) -> Array:
        """Return the IoU (R, K) of ground truths and default boxes."""
        dtype = xp.result_type(bbox, self._default_columns)
        return iou_of_columns(
            xp.ascontiguousarray(bbox.T.astype(dtype, copy=False)),
            self._default_columns.astype(dtype, copy=False),
        )

    def _assign(self, xp: Any, bbox: Array, index: Array) -> bool:
        """Write matches and ignored boxes to ``index``.

        Returns whether a ground truth overlaps a default box.
        """
        iou = self._iou(xp, bbox)
        if self.match_type == 'argmax':
            truth_of_box = _assign_argmax(iou)
            # An IoU above 0 is one of the best of its ground truth.
            overlaps = bool(iou[list(truth_of_box.values()), list(truth_of_box)].max() > 0)
        else:
            truth_of_box = _assign_bipartite(iou, bbox)
            overlaps = bool(truth_of_box)
        index[xp.array([*truth_of_box], 'i')] = xp.array([*truth_of_box.values()], 'i')

        if self.match_type == 'bipartite' and self.neg_overlap is None:
            return overlaps
        best = iou.max(axis=0)
        if self.match_type != 'bipartite':
            box = xp.flatnonzero((index < 0) & (best >= self.iou_thresh))
            index[box] = iou[:, box].argmax(axis=0)
        if self.neg_overlap is not None:
            index[(index < 0) & (best >= self.neg_overlap)] = -2
        return overlaps


def _assign_argmax(iou: Array) -> dict[int, int]:
    """Return {default box: ground truth}: each ground truth takes its best default box."""
    return {box: truth for truth, box in enumerate(iou.argmax(axis=1).tolist())}


def _assign_bipartite(iou: Array, bbox: Array) -> dict[int, int]:
    """Return {default box: ground truth} by repeated choice of the largest IoU.

    Writes -1 over the columns of assigned boxes, which are not read again.
    """
    # Equal ground truths have equal rows. Only the first free one of them needs a search.
    rest: dict[tuple[float, ...], list[int]] = {}
    best, box = iou.max(axis=1).tolist(), iou.argmax(axis=1).tolist()
    for truth, corners in enumerate(map(tuple, bbox.tolist())):
        if best[truth] > MIN_MATCH_IOU:
            rest.setdefault(corners, []).append(truth)
    equal_truths = {truths[0]: truths[:0:-1] for truths in rest.values()}  # the next one is last

    # Each free ground truth stands in the heap with its best box at the time of its last update.
    # Boxes only become assigned, so its IoU in the heap is never too small. The first entry whose
    # box is still free is therefore the best pair. Tuples break ties by box, then by ground truth.
    heap = [(-best[truth], box[truth], truth) for truth in equal_truths]
    heapq.heapify(heap)
    truth_of_box: dict[int, int] = {}
    while heap:
        _, box, truth = heapq.heappop(heap)
        if box not in truth_of_box:
            truth_of_box[box] = truth
            iou[:, box] = -1
            others = equal_truths.pop(truth)
            if not others:
                continue
            truth = others.pop()
            equal_truths[truth] = others
        box = int(iou[truth].argmax())
        value = float(iou[truth, box])
        if value > MIN_MATCH_IOU:
            heapq.heappush(heap, (-value, box, truth))
    return truth_of_box
