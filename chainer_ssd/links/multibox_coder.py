"""ChainerCV's coder, composed of functions of ``ops``."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
from chainer.backends import cuda

from chainer_ssd._array import Array, get_array_module
from chainer_ssd._options import check_fraction, check_integer
from chainer_ssd._validation import as_array, raise_for_row
from chainer_ssd.links._device_decoding import decode_on_device
from chainer_ssd.ops import (
    Encoder,
    decode,
    encode,
    generate_default_bbox,
    match,
    non_maximum_suppression,
)


class MultiboxCoder:
    """Default boxes of a network, with ChainerCV's interface to encode and decode them.

    Parameters
    ----------
    grids, aspect_ratios, steps, sizes
        See :func:`chainer_ssd.generate_default_bbox`.
    variance : sequence of 2 or 4 floats
        Scales of (dy, dx) and (dh, dw), or of each of the four.

    Attributes
    ----------
    default_bbox : float32 array of shape (K, 4)
        (cy, cx, h, w) in pixels of the network's input.
    scale : int32 array of shape (K,)
        The scale of each default box, from 0 (finest) to ``len(grids) - 1``. Always on the CPU.
    """

    def __init__(
        self,
        grids: Sequence[int],
        aspect_ratios: Sequence[Sequence[float]],
        steps: Sequence[float],
        sizes: Sequence[float],
        variance: Sequence[float] = (0.1, 0.2),
    ) -> None:
        self.default_bbox = generate_default_bbox(grids, aspect_ratios, steps, sizes)
        self.scale = np.repeat(
            np.arange(len(grids), dtype=np.int32),
            [grid**2 * (2 + 2 * len(ratios)) for grid, ratios in zip(grids, aspect_ratios)],
        )
        Encoder(self.default_bbox, variance)  # raises where they are not valid
        if np.shape(variance) not in ((2,), (4,)):
            raise ValueError(f'variance has shape {np.shape(variance)}: expected (2,) or (4,)')
        self.variance = variance

    def to_cpu(self) -> MultiboxCoder:
        """Move the default boxes to the CPU.

        Returns
        -------
        MultiboxCoder
            This coder.
        """
        self.default_bbox = cuda.to_cpu(self.default_bbox)
        return self

    def to_gpu(self, device: int | None = None) -> MultiboxCoder:
        """Move the default boxes to a GPU.

        Parameters
        ----------
        device : int, optional
            CUDA device. Default: the current one.

        Returns
        -------
        MultiboxCoder
            This coder.
        """
        self.default_bbox = cuda.to_gpu(self.default_bbox, device)
        return self

    def encode(self, bbox: Array, label: Array, iou_thresh: float = 0.5) -> tuple[Array, Array]:
        """Return the targets of one image.

        Parameters
        ----------
        bbox : array of shape (R, 4)
            (y_min, x_min, y_max, x_max) in pixels of the network's input.
        label : integer array of shape (R,)
            Foreground classes, counted from 0.
        iou_thresh : float
            A default box whose best IoU is at least this takes that ground truth.

        Returns
        -------
        mb_loc : float32 array of shape (K, 4)
            (dy, dx, dh, dw), 0 where nothing is assigned. ChainerCV encodes the last ground truth
            there.
        mb_label : int32 array of shape (K,)
            0 background, else label + 1.

        Raises
        ------
        ValueError
            If a box or a label is not valid. The message names its row.
        """
        index = match(self.default_bbox, bbox, iou_thresh)
        return encode(self.default_bbox, bbox, label, index, self.variance)

    def decode(
        self,
        mb_loc: Array,
        mb_conf: Array,
        nms_thresh: float | None = 0.45,
        score_thresh: float = 0.6,
        *,
        nms_top_k: int | None = None,
        keep_top_k: int | None = None,
        nms_eta: float = 1.0,
    ) -> tuple[Array, Array, Array]:
        """Return the detections of one image.

        Parameters
        ----------
        mb_loc : float array of shape (K, 4)
            Predicted offsets.
        mb_conf : float array of shape (K, C)
            Predicted logits, background first.
        nms_thresh : float or None
            Of two boxes of one class with at least this IoU, the one with the lower score is
            suppressed. None: no box is suppressed, as in ChainerCV. Then the boxes of one class
            come in the order of the default boxes.
        score_thresh : float
            Minimum softmax score of a detection.
        nms_top_k : int, optional
            Largest number of boxes of each class that enter the suppression, those of the highest
            scores. Ties go to the lower default box. The paper has 400. Default: no limit, as in
            ChainerCV. Caffe and PaddlePaddle have this name too.
        keep_top_k : int, optional
            Largest number of detections of the image after the suppression, those of the highest
            scores of all classes. Ties go to the lower class, then to the lower default box. The
            paper has 200. Default: no limit, as in ChainerCV.
        nms_eta : float
            Factor on ``nms_thresh`` after each kept box, see
            :func:`chainer_ssd.non_maximum_suppression`. Default: 1, the threshold stays.

        Returns
        -------
        bbox : float32 array of shape (R, 4)
            (y_min, x_min, y_max, x_max) in pixels of the network's input.
        label : int32 array of shape (R,)
            Foreground classes, counted from 0. They come class by class, each by falling score.
            Ties come by rising number of the default box. A limit does not change this order.
        score : float32 array of shape (R,)
            Softmax scores.

        Raises
        ------
        ValueError
            If shapes disagree, a threshold lies outside [0, 1], a limit is below 1, or a
            prediction is NaN or infinite. Such a prediction would pass as "no detection".
        TypeError
            If a dtype is not integer or float, an array is masked, or a limit is not an integer.
        """
        _check_options(nms_thresh, score_thresh, nms_top_k, keep_top_k, nms_eta)
        mb_loc, mb_conf = as_array(mb_loc, 'mb_loc'), as_array(mb_conf, 'mb_conf')
        if mb_conf.dtype.kind != 'f':
            mb_conf = mb_conf.astype('f')
        xp = get_array_module(mb_loc)
        n_box = len(self.default_bbox)
        if mb_loc.shape != (n_box, 4) or mb_conf.shape[:1] != (n_box,) or mb_conf.ndim != 2:
            raise ValueError(
                f'mb_loc has shape {mb_loc.shape} and mb_conf {mb_conf.shape}: '
                f'expected ({n_box}, 4) and ({n_box}, C)'
            )
        if not mb_conf.shape[1]:
            raise ValueError(f'mb_conf has shape {mb_conf.shape}: expected C >= 1, the background')
        _check_finite(mb_loc, 'mb_loc')
        _check_finite(mb_conf, 'mb_conf')
        # score_c <= exp(x_c − x_background), up to rounding. So most boxes need no softmax.
        min_margin = math.log(score_thresh) - 0.1 if score_thresh > 0 else -math.inf
        box = xp.flatnonzero((mb_conf[:, 1:] >= mb_conf[:, :1] + min_margin).any(axis=1))
        score = mb_conf[box]
        score = score.astype(xp.promote_types(score.dtype, 'f'), copy=False)
        with np.errstate(over='ignore', under='ignore'):  # -inf and 0 are right
            score = xp.exp(score - score.max(axis=1, keepdims=True))
        score /= score.sum(axis=1, keepdims=True)
        bbox = decode(self.default_bbox[box], mb_loc[box], self.variance)
        # The transpose makes nonzero go class by class.
        label, hit = xp.nonzero(score.T[1:] >= score_thresh)
        bbox, label, score = bbox[hit], label.astype('i'), score[hit, label + 1]

        # Few boxes are left. On a GPU each small step would synchronize.
        bbox, label, score = (cuda.to_cpu(array) for array in (bbox, label, score))
        ends = np.searchsorted(label, np.arange(mb_conf.shape[1]))
        kept = [ends[:0]]
        for start, end in zip(ends, ends[1:]):
            rows = start + _find_highest(score[start:end], nms_top_k)
            if nms_thresh is not None and len(rows):
                found = non_maximum_suppression(bbox[rows], nms_thresh, score[rows], eta=nms_eta)
                rows = rows[found]
            kept.append(rows)
        rows = np.concatenate(kept)
        rows = rows[_find_highest(score[rows], keep_top_k)]
        return (
            xp.asarray(bbox[rows].astype('f')),
            xp.asarray(label[rows]),
            xp.asarray(score[rows].astype('f')),
        )

    def decode_batch(
        self,
        mb_locs: Array,
        mb_confs: Array,
        nms_thresh: float | None = 0.45,
        score_thresh: float = 0.6,
        *,
        nms_top_k: int | None = None,
        keep_top_k: int | None = None,
    ) -> tuple[list[Array], list[Array], list[Array]]:
        """Return the detections of a batch, on the CPU.

        The detections equal those of :meth:`decode` for one image at a time. On a GPU, boxes are
        selected and suppressed for all images at once, and the detections are copied together. The
        scores may differ by rounding, because exp does. On a CPU each image is decoded alone.

        Parameters
        ----------
        mb_locs : float array of shape (B, K, 4)
            Predicted offsets.
        mb_confs : float array of shape (B, K, C)
            Predicted logits, background first.
        nms_thresh, score_thresh, nms_top_k, keep_top_k
            As :meth:`decode` takes them.

        Returns
        -------
        bboxes : list of B float32 arrays of shape (R, 4)
            As :meth:`decode` returns them for each image, as NumPy arrays. So are the others.
        labels : list of B int32 arrays of shape (R,)
            Foreground classes, counted from 0.
        scores : list of B float32 arrays of shape (R,)
            Softmax scores.

        Raises
        ------
        ValueError
            As :meth:`decode`. The message about a prediction begins with the number of the image.
        TypeError
            As :meth:`decode`.
        """
        _check_options(nms_thresh, score_thresh, nms_top_k, keep_top_k)
        mb_locs, mb_confs = as_array(mb_locs, 'mb_locs'), as_array(mb_confs, 'mb_confs')
        n_box = len(self.default_bbox)
        if mb_confs.ndim != 3 or mb_locs.shape != (len(mb_confs), n_box, 4):
            raise ValueError(
                f'mb_locs has shape {mb_locs.shape} and mb_confs {mb_confs.shape}: '
                f'expected (B, {n_box}, 4) and (B, {n_box}, C)'
            )
        xp = get_array_module(mb_locs)
        if xp is not np and mb_confs.size and mb_confs.dtype.kind == 'f':
            images = decode_on_device(
                xp,
                xp.asarray(self.default_bbox),
                self.variance,
                mb_locs,
                mb_confs,
                nms_thresh,
                score_thresh,
                nms_top_k,
            )
            if images is not None:
                rows = [_find_highest(image.score, keep_top_k) for image in images]
                return (
                    [image.bbox[row].astype('f') for image, row in zip(images, rows)],
                    [image.label[row] for image, row in zip(images, rows)],
                    [image.score[row].astype('f') for image, row in zip(images, rows)],
                )
        bboxes, labels, scores = [], [], []
        coder = copy.copy(self).to_cpu()
        for i, (mb_loc, mb_conf) in enumerate(zip(cuda.to_cpu(mb_locs), cuda.to_cpu(mb_confs))):
            try:
                bbox, label, score = coder.decode(
                    mb_loc,
                    mb_conf,
                    nms_thresh,
                    score_thresh,
                    nms_top_k=nms_top_k,
                    keep_top_k=keep_top_k,
                )
            except ValueError as error:
                raise ValueError(f'image {i}: {error}') from error
            bboxes.append(bbox)
            labels.append(label)
            scores.append(score)
        return bboxes, labels, scores


def _check_options(
    nms_thresh: float | None,
    score_thresh: float,
    nms_top_k: int | None,
    keep_top_k: int | None,
    nms_eta: float = 1.0,
) -> None:
    check_fraction('score_thresh', score_thresh)
    check_fraction('nms_eta', nms_eta)
    if nms_thresh is not None:
        check_fraction('nms_thresh', nms_thresh)
    for name, limit in (('nms_top_k', nms_top_k), ('keep_top_k', keep_top_k)):
        if limit is not None:
            check_integer(name, limit, 1)


def _find_highest(score: Array, limit: int | None) -> Array:
    """Return the rows of the highest scores in rising order. Ties go to the lower row."""
    if limit is None or len(score) <= limit:
        return np.arange(len(score))
    return np.sort(np.argsort(-score, kind='stable')[:limit])


def _check_finite(array: Array, name: str) -> None:
    """Raise ``ValueError`` if a prediction of shape (K, D) is NaN or infinite, also on a GPU."""
    # Minimum and maximum are several times faster than isfinite. Both are NaN if a value is NaN.
    if not array.size or -math.inf < float(array.min()) <= float(array.max()) < math.inf:
        return
    valid = get_array_module(array).isfinite(array).all(axis=1)
    n_invalid = len(valid) - int(valid.sum())
    raise_for_row(
        name,
        array,
        valid,
        f'finite predictions. {n_invalid} of {len(valid)} default boxes have NaN or infinite ones',
    )
