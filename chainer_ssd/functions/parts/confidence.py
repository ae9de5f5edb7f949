"""Confidence losses, and the loss that ranks negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import chainer.functions as F
import numpy as np

from chainer_ssd._array import Array, get_array_module
from chainer_ssd._options import check_fraction, check_ratio, short_repr
from chainer_ssd._validation import as_array
from chainer_ssd.functions.parts._part import Part


def background_loss(mb_confs: Array, maximum: Array | None = None) -> Array:
    """Return the cross entropy of each box with the background class, which ranks negatives.

    Parameters
    ----------
    mb_confs : float array of shape (B, K, C)
        Logits, background first.
    maximum : float array of shape (B, K, 1) or None
        Maximum of each row, if it is known. Default: it is computed.

    Returns
    -------
    float array of shape (B, K)
        At least float32.

    Raises
    ------
    ValueError
        If shapes disagree.
    TypeError
        If a dtype is not integer or float, or an array is masked.
    """
    mb_confs = as_array(mb_confs, 'mb_confs')
    if mb_confs.ndim != 3 or mb_confs.shape[2] < 1:
        raise ValueError(f'mb_confs has shape {mb_confs.shape}: expected (B, K, C)')
    if maximum is not None:
        maximum = as_array(maximum, 'maximum')
        if maximum.shape != (*mb_confs.shape[:2], 1):
            expected = (*mb_confs.shape[:2], 1)
            raise ValueError(f'maximum has shape {maximum.shape}: expected {expected}')
    xp = get_array_module(mb_confs)
    # Contiguous, because the rounding of a sum depends on the memory layout.
    mb_confs = xp.ascontiguousarray(mb_confs, xp.promote_types(mb_confs.dtype, 'f'))
    # −log softmax(x)_0 = log Σ_c exp(x_c − m) − (x_0 − m),  m = max_c x_c
    shifted = mb_confs - (mb_confs.max(axis=2, keepdims=True) if maximum is None else maximum)
    background = shifted[:, :, 0].copy()
    return xp.log(xp.exp(shifted, out=shifted).sum(axis=2)) - background


class SoftmaxCrossEntropy(Part):
    """Cross entropy of softmax probabilities, exact for logits of any size.

    The loss of a box is −Σ_c w_c q_c log p_c with p = softmax(x). q is 1 for the class of the box
    and 0 otherwise, or the given share of each class. Label smoothing ε changes it to
    (1 − ε) q_c + ε / C.

    Parameters
    ----------
    class_weight : sequence of C floats or None
        Weights w, background first. The divisor of the objective does not contain them. Default:
        all 1.
    label_smoothing : float
        ε, in [0, 1]. Default: 0.

    Raises
    ------
    ValueError
        If a weight is negative, NaN or inf, or ε is not in [0, 1].

    Notes
    -----
    Liu et al. (2016), equation 3. Weights and smoothing are those of torch's ``cross_entropy``
    with ``reduction='none'``. Szegedy et al., "Rethinking the Inception Architecture" (2016),
    section 7, for label smoothing.
    """

    def __init__(
        self, class_weight: Sequence[float] | None = None, label_smoothing: float = 0.0
    ) -> None:
        if class_weight is not None:
            weights = [*class_weight]
            class_weight = [
                float(check_ratio(f'class_weight[{c}]', weight)) for c, weight in enumerate(weights)
            ]
        self.class_weight = class_weight
        self.label_smoothing = float(check_fraction('label_smoothing', label_smoothing))

    def __call__(self, x: chainer.Variable, t: Array) -> chainer.Variable:
        """Return the loss of each row.

        Parameters
        ----------
        x : chainer.Variable of shape (N, C)
            Logits.
        t : integer array of shape (N,), or float array of shape (N, C)
            Column of the class of each row, or the share of each class.

        Returns
        -------
        chainer.Variable of shape (N,)
            One loss per row.

        Raises
        ------
        ValueError
            If the number of weights is not C.
        """
        # −log softmax(x)_t = log Σ_c exp(x_c − m) − (x_t − m),  m = max_c x_c.
        # Value and gradient do not depend on m, but their rounding does.
        x = x - x.array.max(axis=1, keepdims=True)
        if self.class_weight is None and not self.label_smoothing and t.ndim == 1:
            return F.logsumexp(x, axis=1) - F.select_item(x, t.astype('i', copy=False))
        xp = get_array_module(t)
        q = _shares(t, x.shape[1], x.dtype)
        shared, own = self.weights(x.shape[1], x.dtype, xp) or (0, 1)
        # −Σ_c v_c log p_c = (Σ_c v_c) log Σ_c exp(x_c) − Σ_c v_c x_c
        v = q * own + q.sum(axis=1, keepdims=True) * shared
        return v.sum(axis=1) * F.logsumexp(x, axis=1) - F.sum(v * x, axis=1)

    def weights(self, n_class: int, dtype: Any, xp: Any = np) -> tuple[Array, Array] | None:
        """Return the factors of log p_c, or None if they are 1 for the class of the box.

        Parameters
        ----------
        n_class : int
            C.
        dtype : numpy.dtype
            Of the result.
        xp : module
            Array module of the result. Default: NumPy.

        Returns
        -------
        shared, own : float arrays of shape (C,)
            v_c = own_c q_c + shared_c, where q are the shares of a box, whose sum is 1. None
            without weights and smoothing.

        Raises
        ------
        ValueError
            If the number of weights is not C.
        """
        if self.class_weight is None and not self.label_smoothing:
            return None
        weight = xp.ones(n_class, dtype)
        if self.class_weight is not None:
            if len(self.class_weight) != n_class:
                raise ValueError(
                    f'class_weight = {short_repr(self.class_weight)} has '
                    f'{len(self.class_weight)} numbers: expected {n_class}, the number of columns '
                    'of mb_confs'
                )
            weight = xp.asarray(self.class_weight, dtype)
        smoothing = weight.dtype.type(self.label_smoothing)
        # w_c ((1 − ε) q_c + ε / C)
        return weight * smoothing / weight.dtype.type(n_class), weight * (1 - smoothing)


class SigmoidCrossEntropy(Part):
    """Sum over the classes of the binary cross entropy of the sigmoid of each logit.

    The loss of a box is Σ_c log(1 + exp(x_c)) − q_c x_c. q is 1 for the class of the box, which is
    the background column for a negative, and 0 otherwise. Or it is the given share of each class.

    Notes
    -----
    Caffe's ``conf_loss_type: LOGISTIC``. A detector that is trained so needs sigmoids in place of
    softmax when it predicts.
    """

    def __call__(self, x: chainer.Variable, t: Array) -> chainer.Variable:
        """Return the loss of each row. Arguments as those of :class:`SoftmaxCrossEntropy`.

        Parameters
        ----------
        x : chainer.Variable of shape (N, C)
            Logits.
        t : integer array of shape (N,), or float array of shape (N, C)
            Column of the class of each row, or the share of each class.

        Returns
        -------
        chainer.Variable of shape (N,)
            One loss per row.
        """
        # log(1 + exp(x)), which F.softplus computes with an overflow in its gradient
        softplus = F.logsumexp(F.stack((x, get_array_module(t).zeros_like(x.array))), axis=0)
        return F.sum(softplus - _shares(t, x.shape[1], x.dtype) * x, axis=1)


class FocalLoss(Part):
    """Cross entropy of softmax that gives less weight to boxes that are classified well.

    The loss of a box is −Σ_c a_c q_c (1 − p_c)^γ log p_c with p = softmax(x). a_c is α for
    foreground classes and 1 − α for the background. q is 1 for the class of the box and 0
    otherwise, or the given share of each class. It is made for all boxes, with
    :class:`AllNegatives`.

    Parameters
    ----------
    gamma : float
        Exponent γ, at least 0. Default: 2.
    alpha : float
        α, in [0, 1]. Default: 0.25.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 5, with softmax in place of
    sigmoid. So :meth:`chainer_ssd.MultiboxCoder.decode` fits to it.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25) -> None:
        self.gamma = float(check_ratio('gamma', gamma))
        self.alpha = float(check_fraction('alpha', alpha))

    def __call__(self, x: chainer.Variable, t: Array) -> chainer.Variable:
        """Return the loss of each row. Arguments as those of :class:`SoftmaxCrossEntropy`.

        Parameters
        ----------
        x : chainer.Variable of shape (N, C)
            Logits.
        t : integer array of shape (N,), or float array of shape (N, C)
            Column of the class of each row, or the share of each class.

        Returns
        -------
        chainer.Variable of shape (N,)
            One loss per row.
        """
        xp = get_array_module(t)
        log_p = F.log_softmax(x, axis=1)
        weight = xp.full(x.shape[1], self.alpha, x.dtype)
        weight[:1] = 1 - self.alpha
        loss = -(_shares(t, x.shape[1], x.dtype) * weight) * log_p
        if self.gamma:
            # The bound avoids the infinite derivative of a power at 0.
            others = F.clip(-F.expm1(log_p), float(xp.finfo(x.dtype).tiny), 1.0)
            loss = loss * others**self.gamma
        return F.sum(loss, axis=1)


def _shares(t: Array, n_class: int, dtype: Any) -> Array:
    """Return the share of each class (N, C)."""
    if t.ndim == 2:
        return t.astype(dtype, copy=False)
    xp = get_array_module(t)
    return (t[:, None] == xp.arange(n_class)).astype(dtype)
