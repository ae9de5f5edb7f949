"""The steps of PaddlePaddle's ``ssd_loss`` before the loss: match and encode."""

from __future__ import annotations

import numbers
from typing import Any

from chainer_ssd._array import Array, checks_values, get_array_module
from chainer_ssd._options import short_repr
from chainer_ssd._validation import as_array as as_numeric_array
from chainer_ssd._validation import check_bbox, check_column, raise_for_row
from chainer_ssd.functions._argument_checks import rank_prefix
from chainer_ssd.functions._ground_truth import (
    as_array,
    check_gt_label,
    split_column,
    split_images,
)
from chainer_ssd.functions._targets import (
    Targets,
    create_matcher,
    encode_ground_truths,
    match_ground_truths,
    send_arrays,
)
from chainer_ssd.ops import corner_to_center, swap_xy


def make_targets(
    device: Any,
    n_image: int,
    n_box: int,
    n_class: int,
    gt_box: Any,
    gt_label: Any,
    gt_lens: Any,
    prior_box: Any,
    prior_box_var: Any,
    background_label: int,
    overlap_threshold: float,
    match_type: str,
    neg_overlap: float | None,
    comm: Any,
    gt_difficult: Any = None,
    index: Any = None,
    stacklevel: int = 1,
) -> Targets:
    """Return the targets of a batch, or raise if an argument is invalid.

    ``mb_labels`` holds columns of ``confidence``, rotated so that the background is 0: label l
    stands for column (l + background_label) mod C. Ignored boxes have -1.

    Parameters
    ----------
    device : chainer.backend.Device
        Device of the targets.
    n_image, n_box, n_class : int
        N, Np and C of the predictions.
    gt_box, gt_label, gt_lens, gt_difficult, prior_box, prior_box_var, background_label, comm
        As :func:`chainer_ssd.ssd_loss` takes them.
    overlap_threshold, match_type, neg_overlap
        Options of :func:`chainer_ssd.match`.
    index
        Matches, if they are known.
    stacklevel : int
        Of warnings, seen from the caller of this function.
    """
    where = rank_prefix(comm)
    is_integer = isinstance(background_label, numbers.Integral)
    if not is_integer or isinstance(background_label, bool) or not 0 <= background_label < n_class:
        raise ValueError(
            f'{where}background_label = {short_repr(background_label)}: expected one of '
            f'the {n_class} columns of confidence'
        )
    prior = check_bbox(
        as_array(prior_box, f'{where}prior_box'), f'{where}prior_box', order='xy', allow_empty=True
    )
    prior = device.send(prior)
    xp = get_array_module(prior)
    if len(prior) != n_box:
        raise ValueError(
            f'{where}prior_box has shape {prior.shape} and location '
            f'{(n_image, n_box, 4)}: expected {n_box} default boxes'
        )
    variance = xp.ones(4, 'f')
    if prior_box_var is not None:
        variance = as_numeric_array(prior_box_var, f'{where}prior_box_var')
        variance = device.send(variance)
    _check_variance(variance, prior, where)

    gt_bboxes, gt_labels = split_images(gt_box, gt_label, gt_lens, n_image, comm)
    gt_difficults: list[Array | None] = [None] * n_image
    if gt_difficult is not None:
        gt_difficults = [*split_column('gt_difficult', gt_difficult, gt_lens, n_image, comm)]
        for i, difficult in enumerate(gt_difficults):
            name = f'{where}gt_difficult[{i}]'
            difficult = check_column(difficult, len(gt_bboxes[i]), name, 'b', 'bool')
            gt_difficults[i] = difficult.astype(bool, copy=False)
        gt_difficults = [*send_arrays(device, gt_difficults)]
    for i in range(n_image):
        bbox = check_bbox(gt_bboxes[i], f'{where}gt_box[{i}]', order='xy', dtype=prior.dtype)
        label = check_gt_label(
            gt_labels[i], len(bbox), n_class, f'{where}gt_label[{i}]', background_label
        )
        gt_bboxes[i] = bbox
        # Columns 0 ... C - 1 become foreground classes 0 ... C - 2, which the encoder expects.
        gt_labels[i] = (label - background_label) % n_class - 1
    gt_bboxes, gt_labels = send_arrays(device, gt_bboxes), send_arrays(device, gt_labels)

    prior = swap_xy(prior)
    if index is None:
        matcher = create_matcher(prior, overlap_threshold, match_type, neg_overlap)
        index = match_ground_truths(matcher, gt_bboxes, comm, gt_difficults, stacklevel + 1)
    else:
        index = device.send(as_numeric_array(index, f'{where}index', 'iu', 'integers'))
        if index.shape != (n_image, n_box):
            raise ValueError(
                f'{where}index has shape {index.shape}: expected {(n_image, n_box)}, (N, Np) of '
                'the predictions'
            )
    return encode_ground_truths(
        corner_to_center(prior), gt_bboxes, gt_labels, index, swap_xy(variance), comm
    )


def _check_variance(variance: Array, prior: Array, where: str) -> None:
    if variance.shape not in ((4,), prior.shape):
        raise ValueError(
            f'{where}prior_box_var has shape {variance.shape}: expected '
            f'{prior.shape} as prior_box, or (4,)'
        )
    xp = get_array_module(variance)
    if checks_values(xp):
        rows = variance.reshape(-1, 4)
        valid = (rows > 0).all(axis=1) & xp.isfinite(rows).all(axis=1)
        raise_for_row(f'{where}prior_box_var', rows, valid, 'finite positive numbers')
