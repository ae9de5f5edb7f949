"""Localization losses that compare boxes, not offsets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import chainer
import chainer.functions as F

from chainer_ssd._array import Array, get_array_module
from chainer_ssd._options import check_choice
from chainer_ssd._validation import check_default_bbox
from chainer_ssd.functions.parts._part import Part
from chainer_ssd.ops import MAX_LOG_RATIO, check_code, check_variance, decode, decode_corners

#: Added to divisors. Boxes without area have an IoU of 0.
_EPSILON = 1e-7


class IoULoss(Part):
    """One minus the overlap of the decoded boxes.

    Let b and t be the predicted and the true box, with sides h and w, and e the smallest box that
    encloses both. The loss of a box is 1 − IoU(b, t) plus a penalty.

    ========== ===============================================================
    kind       penalty
    ========== ===============================================================
    ``'iou'``  none
    ``'giou'`` area of e outside of the union of b and t / area of e
    ``'diou'`` d: squared distance of the centers / squared diagonal of e
    ``'ciou'`` d + α v,  v = (arctan(w_t / h_t) − arctan(w_b / h_b))² · 4 / π²
    ========== ===============================================================

    α is v / (1 − IoU + v). It has no gradient, as its authors propose.

    Parameters
    ----------
    kind : {'iou', 'giou', 'diou', 'ciou'}
        Which overlap.
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w) of the default boxes.
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        As :func:`chainer_ssd.encode` takes it. Default: (0.1, 0.2).
    code_type, variance_in_target
        As :func:`chainer_ssd.encode` takes them.

    Raises
    ------
    ValueError
        If ``kind`` or ``code_type`` is unknown, or a default box or a variance is not valid.
    TypeError
        If ``variance_in_target`` is no flag.

    Notes
    -----
    Yu et al., "UnitBox" (2016), with 1 − IoU in place of its logarithm. Rezatofighi et al.,
    "Generalized Intersection over Union" (2019). Zheng et al., "Distance-IoU Loss" (2020).
    """

    def __init__(
        self,
        kind: str,
        default_bbox: Array,
        variance: Array | Sequence[float] = (0.1, 0.2),
        code_type: str = 'center_size',
        variance_in_target: bool = False,
    ) -> None:
        check_code(code_type, variance_in_target)
        self.kind = check_choice('kind', kind, ('iou', 'giou', 'diou', 'ciou'))
        self.default_bbox = check_default_bbox(default_bbox)
        self.variance = check_variance(variance, self.default_bbox)
        self.code_type, self.variance_in_target = code_type, variance_in_target

    def __call__(self, x: chainer.Variable, t: Array, box: Array) -> chainer.Variable:
        """Return the loss of each row.

        Parameters
        ----------
        x : chainer.Variable of shape (N, 4)
            Predicted offsets (dy, dx, dh, dw).
        t : float array of shape (N, 4)
            Target offsets.
        box : int array of shape (N,)
            Number of the default box of each row.

        Returns
        -------
        chainer.Variable of shape (N,)
            From 0 to 1 for ``'iou'``, and to 2 or a little more for the others.
        """
        xp = get_array_module(t)
        default = xp.asarray(self.default_bbox, x.dtype)[box]
        variance = xp.asarray(self.variance, x.dtype)
        variance = variance[box] if variance.ndim == 2 else variance
        if self.variance_in_target:
            variance = xp.ones_like(variance)
        truth = decode(default, t.astype(x.dtype, copy=False), variance, self.code_type)
        t_min, t_max = truth[:, :2], truth[:, 2:]

        loc = x * xp.broadcast_to(variance, x.shape)
        if self.code_type == 'center_size':
            # c = c_default + s_default · σ_c · (dy, dx),   s = s_default · exp(σ_s · (dh, dw))
            center = default[:, :2] + default[:, 2:] * loc[:, :2]
            ratio = _minimum(loc[:, 2:], xp.full((len(default), 2), MAX_LOG_RATIO, x.dtype))
            size = default[:, 2:] * F.exp(ratio)
            b_min, b_max = center - size / 2, center + size / 2
        else:
            corners = decode_corners(self.code_type, default, loc)
            b_min, b_max = corners[:, :2], corners[:, 2:]
            # A side below 0 has no area, but the penalties still have a gradient.
            center, size = (b_min + b_max) / 2, F.relu(b_max - b_min)

        epsilon = _EPSILON
        overlap = F.relu(_minimum(b_max, t_max) - _maximum(b_min, t_min))
        intersection = _product(overlap)
        t_size = t_max - t_min
        union = _product(size) + t_size[:, 0] * t_size[:, 1] - intersection
        iou = intersection / (union + epsilon)
        if self.kind == 'iou':
            return 1 - iou
        enclosing = _maximum(b_max, t_max) - _minimum(b_min, t_min)
        if self.kind == 'giou':
            area = _product(enclosing)
            return 1 - iou + (area - union) / (area + epsilon)
        distance = F.sum(F.square(center - (t_min + t_max) / 2), axis=1)
        penalty = distance / (F.sum(F.square(enclosing), axis=1) + epsilon)
        if self.kind == 'ciou':
            angle = xp.arctan2(t_size[:, 1], t_size[:, 0]) - F.arctan2(size[:, 1], size[:, 0])
            v = 4 / math.pi**2 * F.square(angle)
            alpha = v.array / (1 - iou.array + v.array + epsilon)
            penalty = penalty + alpha * v
        return 1 - iou + penalty


# Chainer's minimum and maximum cannot be differentiated twice.
def _minimum(x: chainer.Variable, t: Array) -> chainer.Variable:
    return F.where(x.array < t, x, t)


def _maximum(x: chainer.Variable, t: Array) -> chainer.Variable:
    return F.where(x.array > t, x, t)


def _product(sides: Any) -> chainer.Variable:
    """Return the areas of boxes with the given sides (N, 2)."""
    return sides[:, 0] * sides[:, 1]
