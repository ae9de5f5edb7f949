"""Checks of predictions and targets that several losses share."""

from __future__ import annotations

from typing import Any

import chainer

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import short_repr
from chainer_ssd._validation import as_array


def rank_prefix(comm: Any) -> str:
    """Return the start of an error message: the rank, if there is a communicator."""
    return '' if comm is None else f'rank {comm.rank}: '


def check_communicator(comm: Any) -> None:
    """Raise ``TypeError`` unless ``comm`` is None or has a rank and a size."""
    if comm is not None and not (hasattr(comm, 'rank') and hasattr(comm, 'size')):
        raise TypeError(f'comm = {short_repr(comm)}: expected a communicator or None')


def as_variable(x: Any, name: str) -> chainer.Variable:
    """Return predictions as a Variable, or raise if they are no array or a masked one.

    Parameters
    ----------
    x : chainer.Variable, array or list
        Predictions.
    name : str
        Name of the argument in messages.
    """
    if isinstance(x, chainer.Variable):
        as_array(x.array, name)
        return x
    return chainer.as_variable(as_array(x, name))


def as_target(x: Any, name: str) -> Array:
    """Return the array of targets, or raise. Parameters as those of :func:`as_variable`."""
    return as_array(x.array if isinstance(x, chainer.Variable) else x, name)


def check_predictions(
    mb_locs: Array,
    mb_confs: Array,
    gt_shape: tuple[int, ...] | None,
    comm: Any,
    names: tuple[str, str] = ('mb_locs', 'mb_confs'),
) -> None:
    """Raise unless shapes and dtypes of predictions agree.

    Parameters
    ----------
    mb_locs, mb_confs : arrays
        Predictions. Under ``chainer.config.debug`` they must be finite.
    gt_shape : tuple or None
        (B, K) of the ground truth, if it is known.
    comm : communicator or None
        Its rank is named in messages.
    names : tuple of str
        Names of both predictions in messages.
    """

    def shapes() -> str:  # for messages only, because str(dtype) takes longer than the checks
        return ', '.join(
            f'{name} {array.shape} {array.dtype}' for name, array in zip(names, (mb_locs, mb_confs))
        )

    if mb_locs.dtype.kind != 'f' or mb_locs.dtype != mb_confs.dtype:
        raise TypeError(f'{rank_prefix(comm)}{shapes()}: expected floats of one dtype')
    if (
        mb_locs.ndim != 3
        or mb_confs.ndim != 3
        or mb_locs.shape[2] != 4
        or mb_locs.shape[:2] != mb_confs.shape[:2]
        or mb_confs.shape[2] < 1
    ):
        raise ValueError(f'{rank_prefix(comm)}{shapes()}: expected (B, K, 4) and (B, K, C)')
    if gt_shape is not None and mb_locs.shape[:2] != gt_shape:
        raise ValueError(
            f'{rank_prefix(comm)}{shapes()}, ground truth for (B, K) = {gt_shape}: '
            'expected the same B and K'
        )
    if chainer.config.debug:
        for name, array in zip(names, (mb_locs, mb_confs)):
            _check_finite(name, array, comm)


def check_targets(gt_mb_locs: Array, gt_mb_labels: Array, n_class: int, comm: Any) -> Array | None:
    """Return the flat indices of boxes that are not background, or raise if targets are invalid.

    Parameters
    ----------
    gt_mb_locs, gt_mb_labels : arrays
        Targets. Offsets of positive boxes must be finite.
    n_class : int
        Number of classes C. Labels must be in -1 ... C - 1.
    comm : communicator or None
        Its rank is named in messages.

    Returns
    -------
    int array or None
        None where array values are not checked.
    """
    if gt_mb_locs.dtype.kind != 'f' or gt_mb_labels.dtype.kind not in 'iu':
        raise TypeError(
            f'{rank_prefix(comm)}gt_mb_locs has dtype {gt_mb_locs.dtype}, gt_mb_labels '
            f'{gt_mb_labels.dtype}: expected floats and integers'
        )
    if gt_mb_labels.ndim != 2 or gt_mb_locs.shape != (*gt_mb_labels.shape, 4):
        raise ValueError(
            f'{rank_prefix(comm)}gt_mb_locs has shape {gt_mb_locs.shape}, gt_mb_labels '
            f'{gt_mb_labels.shape}: expected (B, K, 4) and (B, K)'
        )
    xp = get_array_module(gt_mb_locs)
    if not checks_values(xp):
        return None
    # One pass over all labels. The other checks read the few boxes that are not background.
    not_background = xp.flatnonzero(gt_mb_labels != 0)
    label = gt_mb_labels.reshape(-1)[not_background]
    invalid = not_background[(label < -1) | (label >= n_class)]
    if len(invalid):
        image, box = divmod(int(invalid[0]), gt_mb_labels.shape[1])
        raise ValueError(
            f'{rank_prefix(comm)}gt_mb_labels[{image}, {box}] = {int(gt_mb_labels[image, box])}: '
            f'expected -1 (ignored), 0 (background) or a class below {n_class}, the number of '
            'columns of mb_confs'
        )
    positive = not_background[label > 0]
    finite = xp.isfinite(gt_mb_locs.reshape(-1, 4)[positive])
    if not finite.all():
        invalid = positive[~finite.all(axis=1)]
        image, box = divmod(int(invalid[0]), gt_mb_labels.shape[1])
        raise ValueError(
            f'{rank_prefix(comm)}gt_mb_locs[{image}, {box}] = '
            f'{tuple(gt_mb_locs[image, box].tolist())}: expected finite offsets'
        )
    return not_background


def check_shares(gt_mb_locs: Array, gt_mb_labels: Array, n_class: int, comm: Any) -> None:
    """Raise if targets with the share of each class are invalid.

    Parameters
    ----------
    gt_mb_locs : array of shape (B, K, 4)
        Offsets of boxes with a foreground share must be finite.
    gt_mb_labels : array of shape (B, K, C)
        Shares must be finite and at least 0.
    n_class : int
        Number of classes C.
    comm : communicator or None
        Its rank is named in messages.
    """
    where = rank_prefix(comm)
    if gt_mb_locs.dtype.kind != 'f' or gt_mb_labels.dtype.kind != 'f':
        raise TypeError(
            f'{where}gt_mb_locs has dtype {gt_mb_locs.dtype}, gt_mb_labels of shape '
            f'{gt_mb_labels.shape} {gt_mb_labels.dtype}: expected floats'
        )
    if gt_mb_labels.shape[2] != n_class:
        raise ValueError(
            f'{where}gt_mb_labels has shape {gt_mb_labels.shape}: expected (B, K), or the share of '
            f'each class (B, K, {n_class})'
        )
    if gt_mb_locs.shape != (*gt_mb_labels.shape[:2], 4):
        raise ValueError(
            f'{where}gt_mb_locs has shape {gt_mb_locs.shape}, gt_mb_labels {gt_mb_labels.shape}: '
            'expected (B, K, 4) and (B, K, C)'
        )
    xp = get_array_module(gt_mb_locs)
    if not checks_values(xp):
        return
    valid = (xp.isfinite(gt_mb_labels) & (gt_mb_labels >= 0)).all(axis=2)
    _raise_for_box(f'{where}gt_mb_labels', gt_mb_labels, valid, 'finite shares >= 0')
    positive = (gt_mb_labels[:, :, 1:] > 0).any(axis=2)
    valid = xp.isfinite(gt_mb_locs).all(axis=2) | ~positive
    _raise_for_box(f'{where}gt_mb_locs', gt_mb_locs, valid, 'finite offsets')


def check_box_weight(box_weight: Any, shape: tuple[int, int], comm: Any) -> Array:
    """Return the weights of boxes as an array, or raise if they are invalid.

    Parameters
    ----------
    box_weight : array
        Finite numbers of at least 0.
    shape : tuple of int
        (B, K).
    comm : communicator or None
        Its rank is named in messages.
    """
    name = f'{rank_prefix(comm)}box_weight'
    box_weight = as_target(box_weight, name)
    if box_weight.shape != shape:
        raise ValueError(f'{name} has shape {box_weight.shape}: expected (B, K) = {shape}')
    xp = get_array_module(box_weight)
    if checks_values(xp):
        valid = xp.isfinite(box_weight) & (box_weight >= 0)
        _raise_for_box(name, box_weight, valid, 'a finite number >= 0')
    return box_weight


def _raise_for_box(name: str, values: Array, valid: Array, expected: str) -> None:
    """Raise for the first box (B, K) that is not valid, with its values."""
    if not valid.all():
        image, box = (int(i[0]) for i in get_array_module(valid).nonzero(~valid))
        raise ValueError(
            f'{name}[{image}, {box}] = {values[image, box].tolist()}: expected {expected}'
        )


def _check_finite(name: str, array: Array, comm: Any) -> None:
    """Raise if predictions hold NaN or inf: names the first such image and their number there."""
    xp = get_array_module(array)
    n_invalid = (~xp.isfinite(array)).reshape(len(array), -1).sum(axis=1)
    if n_invalid.any():
        image = int(xp.flatnonzero(n_invalid)[0])
        raise ValueError(
            f'{rank_prefix(comm)}{name}, image {image}: {int(n_invalid[image])} values are NaN '
            'or inf: expected finite predictions'
        )
