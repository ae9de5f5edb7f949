"""What the losses refuse, and how they say it."""

import chainer

from chainer_ssd._array import checks_values, get_array_module


def where_(comm):
    """The beginning of an error message: the rank, if there is more than one."""
    return '' if comm is None else f'rank {comm.rank}: '


def check_predictions(mb_locs, mb_confs, gt_shape, comm, names=('mb_locs', 'mb_confs')):
    """Refuses predictions whose shapes or dtypes disagree; NaN and inf under debug."""

    def found():  # words for an error only: a dtype's name costs more than the checks
        return ', '.join(
            f'{name} {array.shape} {array.dtype}' for name, array in zip(names, (mb_locs, mb_confs))
        )

    if mb_locs.dtype.kind != 'f' or mb_locs.dtype != mb_confs.dtype:
        raise TypeError(f'{where_(comm)}{found()}: expected floats of one dtype')
    if (
        mb_locs.ndim != 3
        or mb_confs.ndim != 3
        or mb_locs.shape[2] != 4
        or mb_locs.shape[:2] != mb_confs.shape[:2]
        or mb_confs.shape[2] < 1
    ):
        raise ValueError(f'{where_(comm)}{found()}: expected (B, K, 4) and (B, K, C)')
    if gt_shape is not None and mb_locs.shape[:2] != gt_shape:
        raise ValueError(
            f'{where_(comm)}{found()}, ground truth for (B, K) = {gt_shape}: '
            'expected the same B and K'
        )
    if chainer.config.debug:
        for name, array in zip(names, (mb_locs, mb_confs)):
            check_finite(name, array, comm)


def check_finite(name, array, comm):
    """Refuses NaN and inf, naming the first image that holds one and how many it holds."""
    xp = get_array_module(array)
    wrong = (~xp.isfinite(array)).reshape(len(array), -1).sum(axis=1)
    if wrong.any():
        image = int(xp.flatnonzero(wrong)[0])
        raise ValueError(
            f'{where_(comm)}{name}, image {image}: {int(wrong[image])} values are NaN '
            'or inf: expected finite predictions'
        )


def check_targets(gt_mb_locs, gt_mb_labels, n_class, comm):
    """Refuses targets that :func:`chainer_ssd.ops.encode` would not have made.

    Returns the flat indices of the boxes that are not background; None where values are not looked
    at.
    """
    if gt_mb_locs.dtype.kind != 'f' or gt_mb_labels.dtype.kind not in 'iu':
        raise TypeError(
            f'{where_(comm)}gt_mb_locs has dtype {gt_mb_locs.dtype}, gt_mb_labels '
            f'{gt_mb_labels.dtype}: expected floats and integers'
        )
    if gt_mb_labels.ndim != 2 or gt_mb_locs.shape != (*gt_mb_labels.shape, 4):
        raise ValueError(
            f'{where_(comm)}gt_mb_locs has shape {gt_mb_locs.shape}, gt_mb_labels '
            f'{gt_mb_labels.shape}: expected (B, K, 4) and (B, K)'
        )
    xp = get_array_module(gt_mb_locs)
    if not checks_values(xp):
        return None
    # One pass over the labels, the rest over what is not background: few boxes.
    not_background = xp.flatnonzero(gt_mb_labels != 0)
    label = gt_mb_labels.reshape(-1)[not_background]
    wrong = not_background[(label < -1) | (label >= n_class)]
    if len(wrong):
        image, box = divmod(int(wrong[0]), gt_mb_labels.shape[1])
        raise ValueError(
            f'{where_(comm)}gt_mb_labels[{image}, {box}] = {int(gt_mb_labels[image, box])}: '
            f'expected -1 (ignored), 0 (background) or a class below {n_class}, the number of '
            'columns of mb_confs'
        )
    positive = not_background[label > 0]
    finite = xp.isfinite(gt_mb_locs.reshape(-1, 4)[positive])
    if not finite.all():
        wrong = positive[~finite.all(axis=1)]
        image, box = divmod(int(wrong[0]), gt_mb_labels.shape[1])
        raise ValueError(
            f'{where_(comm)}gt_mb_locs[{image}, {box}] = '
            f'{tuple(gt_mb_locs[image, box].tolist())}: expected finite offsets'
        )
    return not_background
