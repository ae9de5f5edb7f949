"""The SSD training objective in PaddlePaddle's interface."""

import numbers
import warnings
from typing import Any, NamedTuple

import chainer
import chainer.functions as F

from chainer_ssd._array import get_array_module
from chainer_ssd._options import check_ratio
from chainer_ssd.distributed import PositiveCount
from chainer_ssd.functions._arguments import check_predictions, where_
from chainer_ssd.functions._targets import (
    as_array,
    check_default_box,
    check_gt_bbox,
    check_gt_label,
    check_rows,
    make_targets,
    split_images,
    swap_xy,
)
from chainer_ssd.functions.objective import huber_loss, select, softmax_cross_entropy
from chainer_ssd.ops import corner_to_center, hard_example_mining, hard_negative_mining
from chainer_ssd.ops.matching import Matcher

_CHOICES = {
    'match_type': ('per_prediction', 'bipartite'),
    'mining_type': ('max_negative', 'hard_example'),
    'neg_overlap_mode': ('paddle', 'caffe'),
    'reduce': ('no', 'image', 'sum'),
}

#: Below this IoU Paddle and Caffe take nothing, whatever the threshold.
_MIN_IOU = 1e-6


def ssd_loss(
    location,
    confidence,
    gt_box,
    gt_label,
    prior_box,
    prior_box_var=None,
    background_label=0,
    overlap_threshold=0.5,
    neg_pos_ratio=3.0,
    neg_overlap=0.5,
    loc_loss_weight=1.0,
    conf_loss_weight=1.0,
    match_type='per_prediction',
    mining_type='max_negative',
    normalize=True,
    sample_size=None,
    *,
    gt_lens=None,
    reduce='no',
    neg_overlap_mode='paddle',
    mine_with_loc_loss=False,
    comm=None,
):
    """Matching, hard example mining, encoding and loss of SSD, as PaddlePaddle's ``ssd_loss``.

    Boxes are (x_min, y_min, x_max, y_max), in any unit that ``gt_box`` and ``prior_box`` share.
    Per argument: what it is; where PaddlePaddle 1.8.5 does otherwise than its document says, or
    we otherwise than it does, that too.

    Parameters
    ----------
    location : chainer.Variable or float array of shape (N, Np, 4)
        Predicted offsets (dx, dy, dw, dh); Paddle's document calls them (xmin, ymin, xmax, ymax).
        (Np, 4) is one image: so Paddle's example has it, while Paddle itself raises. Paddle
        documents float32 and float64, and fails on float64; here float16, too, is right.
    confidence : chainer.Variable or float array of shape (N, Np, C) or (Np, C)
        Predicted class logits, in the dtype of ``location``. Paddle's CPU softmax takes logits
        that lie more than 64 below the largest for 64 below; here they count as they are.
    gt_box : list of N arrays of shape (R_i, 4), or array of shape (Ng, 4) with ``gt_lens``
        Ground truths; Paddle's is a LoDTensor of shape (Ng, 4). For one image the array alone
        will do, and an array (N, R, 4) is a list of its images. Cast to the dtype of
        ``prior_box``. An image without any is all background (Paddle raises).
    gt_label : list of N arrays of shape (R_i,) or (R_i, 1), or one array as ``gt_box``
        Columns of ``confidence``, never shifted by one: integers, or integral floats as in
        Paddle's document.
    prior_box : float array of shape (Np, 4)
        Default boxes.
    prior_box_var : float array of shape (Np, 4) or (4,), or None
        Variances of (dx, dy, dw, dh). None, the documented default: all 1; Paddle raises.
    background_label : int
        Column of the background. A ``gt_label`` equal to it is an error here; Paddle trains it.
    overlap_threshold : float
        With ``match_type='per_prediction'``, a default box left by the bipartite matching takes
        the ground truth of largest IoU if that is at least this (and 1e-6, as in Paddle and
        Caffe). A number in [0, 1].
    neg_pos_ratio : float
        With ``mining_type='max_negative'``, negatives for each positive: in image i
        floor(neg_pos_ratio · n_i), multiplied in float32, as Paddle and Caffe do without saying.
    neg_overlap : float
        Documented as the largest overlap of a negative. In Paddle it has no effect, since the
        overlap it looks at is 0 for every unmatched box; see ``neg_overlap_mode``.
    loc_loss_weight, conf_loss_weight : float
        Weights of the localisation and the confidence loss.
    match_type : {'per_prediction', 'bipartite'}
        ``'bipartite'`` stops after each ground truth has its best free default box.
    mining_type : {'max_negative', 'hard_example'}
        ``'max_negative'``: the unmatched boxes of largest confidence loss. ``'hard_example'``: of
        all boxes the ``sample_size`` of largest loss, per image; matched boxes that are not
        among them are released to neither side. Paddle's ``ssd_loss`` refuses the latter with
        ValueError; its operator ``mine_hard_examples`` and Caffe define it.
    normalize : bool
        Documented as division by the number of output locations; Paddle divides, and so do we, by
        the number of matched boxes of the whole batch after mining. Where that is 0, Paddle's
        loss is NaN; ours is 0, connected to the predictions.
    sample_size : int or None
        Boxes that ``'hard_example'`` keeps in each image; it must be given there, and is not
        looked at elsewhere.
    gt_lens : sequence of N integers or None
        Numbers of ground truths per image, where ``gt_box`` and ``gt_label`` are one array each:
        what the LoD says in Paddle.
    reduce : {'no', 'image', 'sum'}
        ``'no'``: one loss for each box, (N · Np, 1), as documented; ``'image'``: their sums (N, 1),
        as Paddle in fact returns them; ``'sum'``: the scalar to train on.
    neg_overlap_mode : {'paddle', 'caffe'}
        ``'paddle'``: ``neg_overlap`` changes nothing; a warning says so if it is not the default.
        ``'caffe'``: with ``mining_type='max_negative'``, unmatched boxes whose best IoU is at
        least ``neg_overlap`` are never negatives.
    mine_with_loc_loss : bool
        Whether ``'hard_example'`` ranks by the sum of both losses, unweighted, as Caffe does, and
        Paddle's operator if it is given ``LocLoss``; else by the confidence loss alone.
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the normaliser over ranks, so that ChainerMN's averaged gradients are those of
        one process on the whole batch, also with ``normalize=False`` (there by the number of
        ranks). Every rank must call, also one whose batch has no image.

    Returns
    -------
    chainer.Variable
        (N · Np, 1), (N, 1) or a scalar, see ``reduce``: conf_loss_weight · softmax cross entropy +
        loc_loss_weight · smooth L1 of the boxes selected, over the normaliser. float16
        predictions give float32 losses.

    Raises
    ------
    ValueError
        If a choice is unknown, ``sample_size`` is missing or an option out of range, shapes or
        numbers of images disagree, or a ground truth, a label or a default box is not valid (the
        message names rank, image, row and value); under ``chainer.config.debug`` also if a
        prediction is not finite.
    TypeError
        If dtypes are not what they should be.

    Notes
    -----
    The five steps of Paddle's document: IoU and bipartite matching; target labels and their
    confidence loss; mining; targets; the weighted sum. What Paddle does was read in
    ``fluid/layers/detection.py`` and the operators it calls, and run; what Caffe does, in
    ``bbox_util.cpp`` of its ssd branch. With ``neg_overlap_mode='caffe'`` (and, for hard examples,
    ``mine_with_loc_loss=True``) losses, matches and negatives are Caffe's.
    """
    _check_choices(
        match_type=match_type,
        mining_type=mining_type,
        reduce=reduce,
        neg_overlap_mode=neg_overlap_mode,
    )
    _check_share('overlap_threshold', overlap_threshold)
    _check_share('neg_overlap', neg_overlap)
    check_ratio('neg_pos_ratio', neg_pos_ratio)
    check_ratio('loc_loss_weight', loc_loss_weight)
    check_ratio('conf_loss_weight', conf_loss_weight)
    if mining_type == 'hard_example' and (
        not isinstance(sample_size, numbers.Integral) or sample_size <= 0
    ):
        raise ValueError(
            f"sample_size = {sample_size!r}: mining_type='hard_example' expects a positive integer"
        )
    band = neg_overlap_mode == 'caffe' and mining_type == 'max_negative'
    if neg_overlap != 0.5 and not band:
        warnings.warn(
            f'neg_overlap = {neg_overlap} changes nothing, as in PaddlePaddle: it needs '
            "neg_overlap_mode='caffe' and mining_type='max_negative'",
            stacklevel=2,
        )
    location, confidence = chainer.as_variable(location), chainer.as_variable(confidence)
    if location.ndim == confidence.ndim == 2:
        location, confidence = F.expand_dims(location, 0), F.expand_dims(confidence, 0)
    check_predictions(location.array, confidence.array, None, comm, ('location', 'confidence'))

    device = chainer.backend.get_device_from_array(location.array)
    with chainer.using_device(device):
        targets = paddle_targets(
            device,
            *location.shape[:2],
            confidence.shape[2],
            gt_box,
            gt_label,
            gt_lens,
            prior_box,
            prior_box_var,
            background_label,
            float(overlap_threshold),
            match_type,
            float(neg_overlap) if band else None,
            comm,
        )
        column = (targets.mb_labels + background_label) % confidence.shape[2]
        mined = mine(
            location.array,
            confidence.array,
            targets,
            column,
            mining_type,
            neg_pos_ratio,
            sample_size,
            mine_with_loc_loss,
        )
        n = _normalizer(mined.positive, normalize, comm)
        if n == 0:  # hard examples without one match, on any rank
            n, mined = 1.0, Mined(mined.positive, mined.hard_negative & False)

        xp = get_array_module(column)
        selected = mined.positive | mined.hard_negative
        conf_loss = softmax_cross_entropy(select(confidence, selected), column[selected])
        loc = select(location, mined.positive)
        loc_loss = huber_loss(loc, targets.mb_locs[mined.positive])
        loss = xp.zeros(column.size, loc.dtype)
        for weight, mask, rows in (
            (conf_loss_weight, selected, conf_loss),
            (loc_loss_weight, mined.positive, loc_loss),
        ):
            loss = F.scatter_add(loss, xp.flatnonzero(mask), float(weight) / n * rows)
        if reduce == 'no':
            return F.reshape(loss, (column.size, 1))
        if reduce == 'image':
            return F.sum(F.reshape(loss, column.shape), axis=1, keepdims=True)
        return F.sum(loss)


class Mined(NamedTuple):
    """The boxes (N, Np) that stay matched, and those that speak for the background."""

    positive: Any
    hard_negative: Any


def paddle_targets(
    device,
    n_image,
    n_box,
    n_class,
    gt_box,
    gt_label,
    gt_lens,
    prior_box,
    prior_box_var,
    background_label,
    overlap_threshold,
    match_type,
    neg_overlap,
    comm,
):
    """The targets of a batch, with classes counted from the background round: a label of
    ``mb_labels`` that is 0 or more stands for column (label + background_label) mod C."""
    if not isinstance(background_label, numbers.Integral) or not 0 <= background_label < n_class:
        raise ValueError(
            f'{where_(comm)}background_label = {background_label!r}: expected one of '
            f'the {n_class} columns of confidence'
        )
    prior = device.send(check_default_box('prior_box', as_array(prior_box), comm))
    xp = get_array_module(prior)
    if len(prior) != n_box:
        raise ValueError(
            f'{where_(comm)}prior_box has shape {prior.shape} and location '
            f'{(n_image, n_box, 4)}: expected {n_box} default boxes'
        )
    variance = xp.ones(4, 'f') if prior_box_var is None else device.send(as_array(prior_box_var))
    if variance.shape not in ((4,), prior.shape):
        raise ValueError(
            f'{where_(comm)}prior_box_var has shape {variance.shape}: expected '
            f'{prior.shape} as prior_box, or (4,)'
        )
    rows = variance.reshape(-1, 4)
    check_rows('prior_box_var', rows, rows > 0, 'positive numbers', comm)

    gt_bboxes, gt_labels = split_images(gt_box, gt_label, gt_lens, n_image, comm)
    for i in range(n_image):
        bbox = check_gt_bbox(f'gt_box[{i}]', gt_bboxes[i], prior.dtype, comm)
        label = check_gt_label(
            f'gt_label[{i}]', gt_labels[i], len(bbox), n_class, comm, background_label
        )
        gt_bboxes[i] = device.send(bbox)
        # Classes round from the background on, so foreground from 0 on, as encode wants it.
        gt_labels[i] = device.send((label - background_label) % n_class - 1)

    prior = swap_xy(prior)
    matcher = Matcher.of_corners(prior, max(overlap_threshold, _MIN_IOU), match_type, neg_overlap)
    return make_targets(
        matcher, corner_to_center(prior), gt_bboxes, gt_labels, swap_xy(variance), comm
    )


def mine(
    location,
    confidence,
    targets,
    column,
    mining_type,
    neg_pos_ratio,
    sample_size,
    mine_with_loc_loss,
):
    """Which boxes of a batch enter the loss, from arrays."""
    xp = get_array_module(location)
    positive, ignored = targets.mb_labels > 0, targets.mb_labels < 0
    with chainer.no_backprop_mode():
        rows = confidence.reshape(column.size, confidence.shape[2])
        rows = chainer.as_variable(rows.astype(xp.promote_types(rows.dtype, 'f'), copy=False))
        loss = softmax_cross_entropy(rows, column.ravel()).array.reshape(column.shape)
        if mine_with_loc_loss:
            loc = select(chainer.as_variable(location), positive)
            loss[positive] += huber_loss(loc, targets.mb_locs[positive]).array

    if mining_type == 'hard_example':
        selected = hard_example_mining(loss, sample_size)
        return Mined(positive & selected, selected & ~positive)
    # floor(ratio · n_i), in float32; one that asks for more than there are asks for all
    ratio = xp.float32(min(neg_pos_ratio, column.shape[1]))
    n_negative = xp.floor(ratio * positive.sum(axis=1).astype('f')).astype('l')
    return Mined(positive, hard_negative_mining(loss, positive, n_negative, ignored))


def _normalizer(positive, normalize, comm):
    if not normalize:
        return 1.0 if comm is None else 1.0 / comm.size
    n = float(positive.sum())
    return n if comm is None else PositiveCount.of(comm).mean(n)


def _check_choices(**choices):
    for name, choice in choices.items():
        if choice not in _CHOICES[name]:
            raise ValueError(f'{name} = {choice!r}: expected one of {_CHOICES[name]}')


def _check_share(name, value):
    if not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ValueError(f'{name} = {value!r}: expected a number in [0, 1]')
