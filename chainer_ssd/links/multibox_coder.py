"""ChainerCV's coder as a thin composition of ``ops``."""

import math

import numpy as np
from chainer.backends import cuda

from chainer_ssd._array import get_array_module
from chainer_ssd.ops import (
    decode,
    encode,
    generate_default_bbox,
    match,
    non_maximum_suppression,
)


class MultiboxCoder:
    """Default boxes of a network, with their encoding and decoding, as ChainerCV has it.

    Parameters
    ----------
    grids, aspect_ratios, steps, sizes
        See :func:`chainer_ssd.generate_default_bbox`.
    variance : sequence of 2 or 4 floats
        Scales of (dy, dx) and (dh, dw), or of each.

    Attributes
    ----------
    default_bbox : float32 array of shape (K, 4)
        (cy, cx, h, w) in pixels of the network's input.
    scale : int32 array of shape (K,)
        The scale that each default box belongs to: 0 the finest, up to ``len(grids) - 1``. Always
        on the CPU.
    """

    def __init__(self, grids, aspect_ratios, steps, sizes, variance=(0.1, 0.2)):
        self.default_bbox = generate_default_bbox(grids, aspect_ratios, steps, sizes)
        self.scale = np.repeat(
            np.arange(len(grids), dtype=np.int32),
            [grid**2 * (2 + 2 * len(ratios)) for grid, ratios in zip(grids, aspect_ratios)],
        )
        self.variance = variance

    def to_cpu(self):
        """Moves the default boxes to the CPU; returns self."""
        self.default_bbox = cuda.to_cpu(self.default_bbox)
        return self

    def to_gpu(self, device=None):
        """Moves the default boxes to a GPU (None: the current one); returns self."""
        self.default_bbox = cuda.to_gpu(self.default_bbox, device)
        return self

    def encode(self, bbox, label, iou_thresh=0.5):
        """Targets of one image.

        Parameters
        ----------
        bbox : array of shape (R, 4)
            (y_min, x_min, y_max, x_max) in pixels of the network's input.
        label : integer array of shape (R,)
            Foreground classes, counted from 0.
        iou_thresh : float
            See :func:`chainer_ssd.match`.

        Returns
        -------
        mb_loc : float32 array of shape (K, 4)
            (dy, dx, dh, dw); 0 where nothing is assigned (ChainerCV: the last ground truth's).
        mb_label : int32 array of shape (K,)
            0 background, else label + 1.

        Raises
        ------
        ValueError
            If a box or a label is not valid; the message names its row.
        """
        index = match(self.default_bbox, bbox, iou_thresh)
        return encode(self.default_bbox, bbox, label, index, self.variance)

    def decode(self, mb_loc, mb_conf, nms_thresh=0.45, score_thresh=0.6):
        """Detections of one image.

        Parameters
        ----------
        mb_loc : float array of shape (K, 4)
            Predicted offsets.
        mb_conf : float array of shape (K, C)
            Predicted logits, background first.
        nms_thresh : float
            IoU from which the lesser of two boxes of one class is suppressed.
        score_thresh : float
            Least softmax score of a detection.

        Returns
        -------
        bbox : float32 array of shape (R, 4)
            (y_min, x_min, y_max, x_max) in pixels of the network's input.
        label : int32 array of shape (R,)
            Foreground classes, counted from 0: class by class, each by falling score.
        score : float32 array of shape (R,)
            Softmax scores.

        Raises
        ------
        ValueError
            If shapes disagree or ``nms_thresh`` lies outside [0, 1].
        """
        xp = get_array_module(mb_loc)
        n_box = len(self.default_bbox)
        if mb_loc.shape != (n_box, 4) or mb_conf.ndim != 2 or len(mb_conf) != n_box:
            raise ValueError(
                f'mb_loc has shape {mb_loc.shape} and mb_conf {mb_conf.shape}: '
                f'expected ({n_box}, 4) and ({n_box}, C)'
            )
        # A score is at most exp(x − x_background), give or take a rounding: most boxes are out
        # before their softmax.
        least = math.log(score_thresh) - 0.1 if score_thresh > 0 else -math.inf
        box = xp.flatnonzero((mb_conf[:, 1:] >= mb_conf[:, :1] + least).any(axis=1))
        score = mb_conf[box]
        score = score.astype(xp.promote_types(score.dtype, 'f'), copy=False)
        score = xp.exp(score - score.max(axis=1, keepdims=True))
        score /= score.sum(axis=1, keepdims=True)
        bbox = decode(self.default_bbox[box], mb_loc[box], self.variance)
        # Transposed, the hits come class by class.
        label, hit = xp.nonzero(score.T[1:] >= score_thresh)
        bbox, label, score = bbox[hit], label.astype('i'), score[hit, label + 1]

        # The few that are left are for the host: on a GPU each small step would have to be waited
        # for.
        bbox, label, score = (cuda.to_cpu(array) for array in (bbox, label, score))
        ends = np.searchsorted(label, np.arange(mb_conf.shape[1]))
        kept = np.concatenate(
            [
                ends[:0],
                *(
                    start + non_maximum_suppression(bbox[start:end], nms_thresh, score[start:end])
                    for start, end in zip(ends, ends[1:])
                    if end > start
                ),
            ]
        )
        return (
            xp.asarray(bbox[kept].astype('f')),
            xp.asarray(label[kept]),
            xp.asarray(score[kept].astype('f')),
        )
