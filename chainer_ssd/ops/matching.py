"""Matching: which ground truth, if any, each default box answers for."""

import heapq
import warnings

from chainer_ssd._array import get_array_module
from chainer_ssd._validation import check_bbox, check_default_bbox
from chainer_ssd.ops.boxes import center_to_corner, corner_to_center, iou_of_planes

#: A bipartite match needs more overlap than this (Caffe, Paddle, ChainerCV).
_MIN_BIPARTITE_IOU = 1e-6

_MATCH_TYPES = ('per_prediction', 'bipartite', 'argmax')


def match(
    default_bbox, bbox, iou_thresh=0.5, match_type='per_prediction', neg_overlap=None, ignore=None
):
    """Assigns default boxes to the ground truths of one image.

    Parameters
    ----------
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w).
    bbox : array or list of shape (R, 4)
        Ground truths (y_min, x_min, y_max, x_max), in the unit of ``default_bbox``.
    iou_thresh : float
        A box whose best IoU is at least this takes that ground truth.
    match_type : {'per_prediction', 'bipartite', 'argmax'}
        ``'bipartite'``: repeat: of the free default boxes and free ground truths, the pair of
        largest IoU (> 1e-6) is assigned; ties go to the lower default box, then the lower
        ground truth (Caffe, Paddle, ChainerCV).
        ``'per_prediction'``: after that, every free default box whose best IoU reaches
        ``iou_thresh`` takes that ground truth, the lower one on a tie.
        ``'argmax'``: like ``'per_prediction'``, but instead of the bipartite step each ground
        truth claims its best default box (the lower on a tie), even at IoU 0, later ones
        overwriting earlier ones (torchvision, ssd.pytorch).
    neg_overlap : float or None
        A box left unmatched whose best IoU with an assignable ground truth is at least this is
        ignored: Caffe's band between positive and negative. None: no band.
    ignore : bool array of shape (R,) or None
        Ground truths that are never assigned (VOC's ``difficult``, COCO's ``iscrowd``): boxes
        left unmatched that overlap one by at least ``iou_thresh`` are ignored.

    Returns
    -------
    int32 array of shape (K,)
        ``index``: the row of the assigned ground truth, -1 for background, -2 for ignored.

    Raises
    ------
    ValueError
        If a ground truth is not finite or has no area (the message names its row), if shapes
        disagree, or if an option is out of its range.
    TypeError
        If boxes are not numbers.

    Notes
    -----
    Liu et al. (2016), section 2.2, "Matching strategy". Without ground truths all is
    background. With more ground truths than default boxes some stay unmatched: a warning
    says so.
    """
    return Matcher(default_bbox, iou_thresh, match_type, neg_overlap)(bbox, ignore)


class Matcher:
    """:func:`match` with what does not depend on the ground truths done once for many images.

    Parameters
    ----------
    default_bbox, iou_thresh, match_type, neg_overlap
        See :func:`match`, and there the errors.
    """

    def __init__(self, default_bbox, iou_thresh=0.5, match_type='per_prediction', neg_overlap=None):
        if match_type not in _MATCH_TYPES:
            raise ValueError(f'match_type = {match_type!r}: expected one of {_MATCH_TYPES}')
        for name, value in (('iou_thresh', iou_thresh), ('neg_overlap', neg_overlap)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f'{name} = {value}: expected a number in [0, 1]')
        self.iou_thresh, self.match_type, self.neg_overlap = iou_thresh, match_type, neg_overlap
        xp = get_array_module(default_bbox)
        self._planes = xp.ascontiguousarray(center_to_corner(check_default_bbox(default_bbox)).T)

    @classmethod
    def of_corners(cls, bbox, *options):
        """Of default boxes given by their corners, which no rounding of centres then moves.

        Parameters
        ----------
        bbox : float array of shape (K, 4)
            (y_min, x_min, y_max, x_max).
        *options
            Those of :func:`match`, from ``iou_thresh`` on.

        Returns
        -------
        Matcher
            Of these boxes.
        """
        matcher = cls(corner_to_center(bbox), *options)
        matcher._planes = get_array_module(bbox).ascontiguousarray(bbox.T)
        return matcher

    def __call__(self, bbox, ignore=None):
        """Matches one image.

        Parameters
        ----------
        bbox, ignore
            See :func:`match`, and there the errors.

        Returns
        -------
        int32 array of shape (K,)
            ``index``.
        """
        xp = get_array_module(self._planes, bbox)
        bbox = check_bbox(bbox)
        n_box, n_truth = self._planes.shape[1], len(bbox)
        if n_truth > n_box:
            warnings.warn(
                f'{n_truth} ground truths for {n_box} default boxes: some stay unmatched',
                stacklevel=2,
            )

        truth = xp.arange(n_truth)
        ignored_truth = truth[:0]
        if ignore is not None:
            ignore = xp.asarray(ignore)
            if ignore.shape != (n_truth,) or ignore.dtype != bool:
                raise ValueError(
                    f'ignore has shape {ignore.shape} and dtype {ignore.dtype}: '
                    f'expected ({n_truth},), one bool for each box'
                )
            truth, ignored_truth = truth[~ignore], truth[ignore]

        index = xp.full(n_box, -1, 'i')
        if len(truth) and n_box:
            self._assign(xp, self._iou(xp, bbox[truth]), index)
        if len(ignored_truth):
            index[index >= 0] = truth[index[index >= 0]]
            covered = self._iou(xp, bbox[ignored_truth]).max(axis=0) >= self.iou_thresh
            index[(index == -1) & covered] = -2
        return index

    def _iou(self, xp, bbox):
        dtype = xp.result_type(bbox, self._planes)
        return iou_of_planes(
            xp.ascontiguousarray(bbox.T.astype(dtype, copy=False)),
            self._planes.astype(dtype, copy=False),
        )

    def _assign(self, xp, iou, index):
        claim = _claim_best if self.match_type == 'argmax' else _claim_bipartite
        claimed = claim(iou)
        index[xp.array([*claimed], 'i')] = xp.array([*claimed.values()], 'i')

        if self.match_type == 'bipartite' and self.neg_overlap is None:
            return
        best = iou.max(axis=0)
        if self.match_type != 'bipartite':
            box = xp.flatnonzero((index < 0) & (best >= self.iou_thresh))
            index[box] = iou[:, box].argmax(axis=0)
        if self.neg_overlap is not None:
            index[(index < 0) & (best >= self.neg_overlap)] = -2


def _claim_best(iou):
    return {box: truth for truth, box in enumerate(iou.argmax(axis=1).tolist())}


def _claim_bipartite(iou):
    # Writes -1 over the columns of claimed boxes, which nobody asks for again. A ground truth
    # waits in the heap with its best box among those free when it was last looked at. Boxes only
    # get taken, so a waiting IoU is never too small: the first of the heap whose box is still free
    # is the best pair of all, with the ties in the order of the tuples.
    best, box = iou.max(axis=1).tolist(), iou.argmax(axis=1).tolist()
    heap = [
        (-value, box[truth], truth)
        for truth, value in enumerate(best)
        if value > _MIN_BIPARTITE_IOU
    ]
    heapq.heapify(heap)
    claimed = {}
    while heap:
        _, box, truth = heapq.heappop(heap)
        if box not in claimed:
            claimed[box] = truth
            iou[:, box] = -1
            continue
        box = int(iou[truth].argmax())
        value = float(iou[truth, box])
        if value > _MIN_BIPARTITE_IOU:
            heapq.heappush(heap, (-value, box, truth))
    return claimed
