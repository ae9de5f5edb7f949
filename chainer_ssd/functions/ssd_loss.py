"""The SSD training objective in PaddlePaddle's interface."""

from __future__ import annotations

import warnings
from typing import Any

import chainer
import chainer.functions as F

from chainer_ssd._array import Array, get_array_module
from chainer_ssd._options import (
    check_choice,
    check_flag,
    check_fraction,
    check_ratio,
)
from chainer_ssd.functions._argument_checks import (
    as_variable,
    check_communicator,
    check_predictions,
)
from chainer_ssd.functions._normalizer import choose_normalizer
from chainer_ssd.functions._paddle_steps import make_targets
from chainer_ssd.functions.multibox_objective import MultiboxObjective
from chainer_ssd.functions.parts.batch import Batch
from chainer_ssd.functions.parts.mining import HardExample, HardNegative
from chainer_ssd.functions.parts.normalizers import MatchesAfterMining


def ssd_loss(
    location: chainer.Variable | Array,
    confidence: chainer.Variable | Array,
    gt_box: Any,
    gt_label: Any,
    prior_box: Array,
    prior_box_var: Array | None = None,
    background_label: int = 0,
    overlap_threshold: float = 0.5,
    neg_pos_ratio: float = 3.0,
    neg_overlap: float = 0.5,
    loc_loss_weight: float = 1.0,
    conf_loss_weight: float = 1.0,
    match_type: str = 'per_prediction',
    mining_type: str = 'max_negative',
    normalize: bool = True,
    sample_size: int | None = None,
    *,
    gt_lens: Any = None,
    gt_difficult: Any = None,
    reduce: str = 'no',
    neg_overlap_mode: str = 'paddle',
    mine_with_loc_loss: bool = False,
    index: Array | None = None,
    comm: Any = None,
    normalizer: Any = None,
) -> chainer.Variable:
    """Return the loss of SSD with the arguments and the numbers of PaddlePaddle's ``ssd_loss``.

    The function matches, mines and encodes. Boxes are (x_min, y_min, x_max, y_max), in any unit
    that ``gt_box`` and ``prior_box`` share. Each argument lists where PaddlePaddle 1.8.5 differs
    from its document, and where this function differs from PaddlePaddle.

    Parameters
    ----------
    location : chainer.Variable or float array of shape (N, Np, 4)
        Predicted offsets (dx, dy, dw, dh). Paddle's document calls them (xmin, ymin, xmax, ymax).
        (Np, 4) is one image, as in Paddle's example, where Paddle itself raises. Paddle documents
        float32 and float64 and fails on float64. Here float16 is supported, too.
    confidence : chainer.Variable or float array of shape (N, Np, C) or (Np, C)
        Predicted class logits, in the dtype of ``location``. Paddle's CPU softmax clips logits
        that are more than 64 below the largest. Here they are not clipped.
    gt_box : list of N arrays of shape (R_i, 4), or array of shape (Ng, 4) with ``gt_lens``
        Ground truths, cast to the dtype of ``prior_box``. Paddle's is a LoDTensor of shape
        (Ng, 4). One array is enough for one image. An array (N, R, 4) is a list of its images.
        An image without ground truth is all background. Paddle raises there.
    gt_label : list of N arrays of shape (R_i,) or (R_i, 1), or one array as ``gt_box``
        Columns of ``confidence``, not shifted by one. Integers, or integral floats as in Paddle's
        document.
    prior_box : float array of shape (Np, 4)
        Default boxes.
    prior_box_var : float array of shape (Np, 4) or (4,), or None
        Variances of (dx, dy, dw, dh). Default: all 1, as documented. Paddle raises without them.
    background_label : int
        Column of the background. A ``gt_label`` equal to it is an error here. Paddle trains it.
    overlap_threshold : float
        A number in [0, 1]. With ``match_type='per_prediction'``, a default box left by the
        bipartite matching takes the ground truth with the largest IoU, if that is at least this.
        The IoU must also be at least 1e-6, as in Paddle and Caffe.
    neg_pos_ratio : float
        With ``mining_type='max_negative'``, image i has floor(neg_pos_ratio · n_i) negatives. The
        product is a float32, as in Paddle and Caffe, which do not document it.
    neg_overlap : float
        Documented as the largest overlap of a negative. In Paddle it has no effect, because Paddle
        sets the overlap of every unmatched box to 0. See ``neg_overlap_mode``.
    loc_loss_weight, conf_loss_weight : float
        Weights of the localization and the confidence loss.
    match_type : {'per_prediction', 'bipartite'}
        ``'bipartite'`` stops after each ground truth has its best free default box.
    mining_type : {'max_negative', 'hard_example'}
        ``'max_negative'`` selects the unmatched boxes with the largest confidence loss.
        ``'hard_example'`` selects, per image, the ``sample_size`` boxes with the largest loss.
        Matched boxes that it does not select are neither positive nor negative. Paddle's
        ``ssd_loss`` raises ValueError for it. Paddle's operator ``mine_hard_examples`` and Caffe
        define it.
    normalize : bool
        Documented as a division by the number of output locations. Paddle and this function
        divide by the number of matched boxes of the whole batch after mining. If that is 0,
        Paddle's loss is NaN. Here it is 0, connected to the predictions.
    sample_size : int or None
        Number of boxes that ``'hard_example'`` keeps in each image. Required there, not used
        elsewhere.
    gt_lens : sequence of N integers or None
        Number of ground truths of each image, if ``gt_box`` and ``gt_label`` are one array each.
        It replaces Paddle's LoD.
    gt_difficult : list of N bool arrays of shape (R_i,), or one array as ``gt_box``, or None
        Ground truths that are never matched, such as VOC's difficult ones. Unmatched boxes that
        overlap one by ``overlap_threshold`` are neither positive nor negative. Paddle has no such
        argument. Default: none is difficult.
    reduce : {'no', 'image', 'sum'}
        ``'no'`` returns one loss for each box, (N · Np, 1), as documented. ``'image'`` returns
        their sums (N, 1), as Paddle does. ``'sum'`` returns the scalar to train on.
    neg_overlap_mode : {'paddle', 'caffe'}
        With ``'paddle'``, ``neg_overlap`` has no effect, and a value other than the default warns.
        With ``'caffe'`` and ``mining_type='max_negative'``, unmatched boxes whose best IoU is at
        least ``neg_overlap`` are never negatives.
    mine_with_loc_loss : bool
        Whether ``'hard_example'`` ranks by the unweighted sum of both losses. Caffe does, and so
        does Paddle's operator with ``LocLoss``. Default: by the confidence loss alone.
    index : integer array of shape (N, Np), or None
        Matches that :func:`chainer_ssd.functions.ssd_match` has computed. The loss then does not
        match, and the options of the matching have no effect. Default: the loss matches.
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the normalizer over ranks. Then ChainerMN's averaged gradients equal the
        gradients of one process on the whole batch. With ``normalize=False`` the normalizer is
        one by the number of ranks. Every rank must call, also one whose batch has no image. The
        call blocks until all ranks have made it, and a communicator compares only whether all
        ranks train or evaluate.
    normalizer : float, callable or None
        Replaces the number of matched boxes, as in :func:`chainer_ssd.multibox_loss`. Default: the
        number of matched boxes.

    Returns
    -------
    chainer.Variable
        Shape (N · Np, 1), (N, 1) or (), see ``reduce``. The weighted sum of softmax cross entropy
        and smooth L1 of the selected boxes, divided by the normalizer. float16 predictions give
        float32 losses.

    Raises
    ------
    ValueError
        If an option is not valid, or ``sample_size`` is missing. If shapes or numbers of images
        disagree. If a ground truth, a label or a default box is not valid. The message names rank,
        image, row and value. Under ``chainer.config.debug`` also if a prediction is not finite. If
        ``normalizer`` is negative, NaN or inf, is 0 although boxes match, or is given with
        ``normalize=False``.
    TypeError
        If a dtype is not valid, ``sample_size`` is not an integer, or ``normalizer`` is no number.

    Warns
    -----
    UserWarning
        If ``neg_overlap`` has no effect and is not the default.

    Notes
    -----
    Paddle's document has five steps: IoU and bipartite matching, target labels and their
    confidence loss, mining, targets, and the weighted sum. What Paddle does was read in
    ``fluid/layers/detection.py`` and its operators, and measured. What Caffe does was read in
    ``bbox_util.cpp`` of its ssd branch. With ``neg_overlap_mode='caffe'``, losses, matches and
    negatives are Caffe's. Hard examples also need ``mine_with_loc_loss=True`` for that.
    """
    check_choice('match_type', match_type, ('per_prediction', 'bipartite'))
    check_choice('mining_type', mining_type, ('max_negative', 'hard_example'))
    check_choice('reduce', reduce, ('no', 'image', 'sum'))
    check_choice('neg_overlap_mode', neg_overlap_mode, ('paddle', 'caffe'))
    check_fraction('overlap_threshold', overlap_threshold)
    check_fraction('neg_overlap', neg_overlap)
    check_ratio('neg_pos_ratio', neg_pos_ratio)
    check_ratio('loc_loss_weight', loc_loss_weight)
    check_ratio('conf_loss_weight', conf_loss_weight)
    check_communicator(comm)
    check_flag('normalize', normalize)
    if normalizer is not None and not normalize:
        raise ValueError('normalizer has no effect with normalize=False: expected one of them')
    if not normalize:
        normalizer = 1.0 if comm is None else 1.0 / comm.size
    count = choose_normalizer(comm, normalizer)
    check_flag('mine_with_loc_loss', mine_with_loc_loss)
    mining: Any = HardNegative(neg_pos_ratio, 'floor', by='own class')
    if mining_type == 'hard_example':
        if sample_size is None:
            raise ValueError("sample_size = None: mining_type='hard_example' needs an integer >= 1")
        mining = HardExample(sample_size, mine_with_loc_loss)
    objective = MultiboxObjective(mining=mining, normalizer=MatchesAfterMining())
    has_band = neg_overlap_mode == 'caffe' and mining_type == 'max_negative'
    if neg_overlap != 0.5 and not has_band:
        warnings.warn(
            f'neg_overlap = {neg_overlap} has no effect, as in PaddlePaddle: it needs '
            "neg_overlap_mode='caffe' and mining_type='max_negative'",
            stacklevel=2,
        )
    location = as_variable(location, 'location')
    confidence = as_variable(confidence, 'confidence')
    if location.ndim == confidence.ndim == 2:
        location, confidence = F.expand_dims(location, 0), F.expand_dims(confidence, 0)
    check_predictions(location.array, confidence.array, None, comm, ('location', 'confidence'))

    device = chainer.backend.get_device_from_array(location.array)
    n_image, n_box, n_class = confidence.shape
    with chainer.using_device(device):
        targets = make_targets(
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
            float(overlap_threshold),
            match_type,
            float(neg_overlap) if has_band else None,
            comm,
            gt_difficult,
            index,
            stacklevel=2,
        )
        # Background first, as the labels of the targets.
        logits = confidence
        if background_label:
            parts = confidence[:, :, background_label:], confidence[:, :, :background_label]
            logits = F.concat(parts, axis=2)
        batch = Batch(
            location,
            logits,
            targets.mb_locs,
            targets.mb_labels,
            objective.localization,
            objective.confidence,
        )
        positive, negative, divisor = objective.select(batch, count)
        selected = positive | negative
        xp = get_array_module(positive)
        loss = xp.zeros(positive.size, xp.promote_types(location.dtype, 'f'))
        for weight, mask, rows in (
            (conf_loss_weight, selected, batch.confidence_rows(selected)),
            (loc_loss_weight, positive, batch.localization_rows(positive)),
        ):
            loss = F.scatter_add(loss, xp.flatnonzero(mask), float(weight) / divisor * rows)
        if reduce == 'no':
            return F.reshape(loss, (positive.size, 1))
        if reduce == 'image':
            return F.sum(F.reshape(loss, positive.shape), axis=1, keepdims=True)
        return F.sum(loss)
