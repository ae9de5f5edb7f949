"""The SSD training objective in ssd.pytorch's interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import chainer

from chainer_ssd._options import (
    check_fraction,
    check_integer,
    check_positive_number,
    check_ratio,
    short_repr,
)
from chainer_ssd._validation import check_bbox, check_default_bbox
from chainer_ssd.functions._argument_checks import (
    as_variable,
    check_communicator,
    check_predictions,
    rank_prefix,
)
from chainer_ssd.functions._ground_truth import (
    as_array,
    as_image_list,
    check_gt_label,
    check_n_image,
)
from chainer_ssd.functions._targets import (
    Targets,
    encode_ground_truths,
    match_ground_truths,
    send_arrays,
)
from chainer_ssd.functions.multibox_loss import multibox_loss
from chainer_ssd.ops import Matcher, swap_xy


class MultiBoxLoss:
    """The loss of SSD with the constructor and the call of ssd.pytorch's ``MultiBoxLoss``.

    Matching is ssd.pytorch's own. Each ground truth takes its best default box, even at IoU 0, and
    later ground truths overwrite earlier ones. Then every default box whose best IoU is at least
    ``overlap_thresh`` takes that ground truth.

    Parameters
    ----------
    num_classes : int
        Number of columns of the logits: foreground classes and the background.
    overlap_thresh : float
        Smallest IoU of a match, in [0, 1].
    prior_for_matching : object
        No effect, as in ssd.pytorch: default boxes are always matched.
    bkg_label : int
        Column of the background. Only 0 is valid. ssd.pytorch accepts other values and uses 0.
    neg_mining : object
        No effect, as in ssd.pytorch: hard negatives are always mined.
    neg_pos : float
        Negatives per positive: image i has ceil(neg_pos · n_i) hard negatives, at most K - 1.
    neg_overlap : object
        No effect, as in ssd.pytorch: there is no band between positive and negative.
    encode_target : object
        No effect, as in ssd.pytorch: targets are always encoded.
    use_gpu : object
        No effect: the loss runs on the device of the predictions. In ssd.pytorch, True moves the
        targets to the GPU.
    variance : sequence of 2 floats
        Scales of (dx, dy) and of (dw, dh). In ssd.pytorch they are part of the configuration.
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the number of positives over ranks. Then ChainerMN's averaged gradients equal the
        gradients of one process on the whole batch. Every rank must call, also one without images.

    Raises
    ------
    ValueError
        If ``bkg_label`` is not 0, or a number is out of range.
    TypeError
        If ``num_classes`` is not an integer.

    Notes
    -----
    ssd.pytorch, ``layers/modules/multibox_loss.py`` and ``layers/box_utils.py``. Two indexing
    errors that stop it on current versions of PyTorch are corrected. An image without ground truth
    is all background, where ssd.pytorch raises. To rank negatives, ssd.pytorch subtracts the
    largest logit of the batch from all logits, so that small ones underflow. Here each box has its
    own maximum.
    """

    def __init__(
        self,
        num_classes: int,
        overlap_thresh: float,
        prior_for_matching: Any,
        bkg_label: int,
        neg_mining: Any,
        neg_pos: float,
        neg_overlap: Any,
        encode_target: Any,
        use_gpu: Any = True,
        *,
        variance: Sequence[float] = (0.1, 0.2),
        comm: Any = None,
    ) -> None:
        self.num_classes = check_integer('num_classes', num_classes, 1)
        self.overlap_thresh = float(check_fraction('overlap_thresh', overlap_thresh))
        is_one_value = getattr(bkg_label, 'ndim', 0) == 0 and not isinstance(bkg_label, bool)
        if not is_one_value or bkg_label != 0:
            raise ValueError(
                f'bkg_label = {short_repr(bkg_label)}: expected 0, the only background that '
                'ssd.pytorch uses'
            )
        self.neg_pos = check_ratio('neg_pos', neg_pos)
        if not isinstance(variance, Iterable) or isinstance(variance, str):
            raise TypeError(
                f'variance = {short_repr(variance)}: expected 2 finite positive numbers'
            )
        self.variance = tuple(
            check_positive_number(f'variance[{i}]', v) for i, v in enumerate(variance)
        )
        if len(self.variance) != 2:
            raise ValueError(
                f'variance = {short_repr(variance)}: expected 2 finite positive numbers'
            )
        check_communicator(comm)
        self.comm = comm

    def __call__(
        self,
        predictions: tuple[Any, Any, Any],
        targets: Sequence[Any],
        *,
        normalizer: Any = None,
    ) -> tuple[chainer.Variable, chainer.Variable]:
        """Return both losses of a batch.

        Parameters
        ----------
        predictions : tuple
            ``(loc, conf, priors)``. Offsets (dx, dy, dw, dh) have shape (B, K, 4) and logits
            (B, K, num_classes). Both are chainer.Variable or float arrays of one dtype. Default
            boxes (cx, cy, w, h) have shape (K, 4). If there are more than K of them, the first K
            are used, as in ssd.pytorch.
        targets : list of B arrays of shape (R_i, 5)
            Rows (x_min, y_min, x_max, y_max, label) in the unit of ``priors``, which is [0, 1] in
            ssd.pytorch. Labels count foreground classes from 0 and are integers or integral floats.
        normalizer : float, callable or None
            Replaces the number of positives N, as in :func:`chainer_ssd.multibox_loss`. ssd.pytorch
            has no such argument. Default: the number of positives.

        Returns
        -------
        loss_l, loss_c : chainer.Variable, scalars
            Sum over positives of smooth L1 / N, and sum over positives and hard negatives of the
            softmax cross entropy / N. N is the number of positives in the batch. If N is 0, both
            are 0 and connected to the predictions. ssd.pytorch's are NaN there.

        Raises
        ------
        ValueError
            If shapes or the number of images disagree, or a ground truth, a label or a default
            box is not valid. The message names rank, image, row and value. Under
            ``chainer.config.debug`` also if a prediction is not finite.
        TypeError
            If a dtype is not valid.
        """
        if not isinstance(predictions, (tuple, list)) or len(predictions) != 3:
            raise TypeError(
                f'predictions = {short_repr(predictions)}: expected (loc, conf, priors)'
            )
        loc, conf, priors = predictions
        loc, conf = as_variable(loc, 'loc'), as_variable(conf, 'conf')
        check_predictions(loc.array, conf.array, None, self.comm, ('loc', 'conf'))
        if conf.shape[2] != self.num_classes:
            raise ValueError(
                f'{rank_prefix(self.comm)}conf has shape {conf.shape}: expected '
                f'{self.num_classes} columns, the value of num_classes'
            )
        device = chainer.backend.get_device_from_array(loc.array)
        with chainer.using_device(device):
            n_image, n_box, _ = loc.shape
            matched = self._make_targets(device, n_image, n_box, priors, targets)
            # multibox_loss needs no limit of K − 1 negatives. An image with hard negatives has at
            # least one positive, and so at most K − 1 negatives.
            return multibox_loss(
                loc,
                conf,
                matched.mb_locs,
                matched.mb_labels,
                self.neg_pos,
                self.comm,
                normalizer=normalizer,
            )

    def _make_targets(
        self, device: Any, n_image: int, n_box: int, priors: Any, targets: Sequence[Any]
    ) -> Targets:
        """Return the targets of a batch on ``device``, or raise if an argument is invalid."""
        where = rank_prefix(self.comm)
        priors = check_default_bbox(
            as_array(priors, f'{where}priors'), f'{where}priors', order='xy'
        )
        if len(priors) < n_box:
            raise ValueError(
                f'{where}priors has shape {priors.shape}: expected '
                f'({n_box}, 4), one for each row of loc'
            )
        default_bbox = swap_xy(device.send(priors)[:n_box])
        targets = as_image_list('targets', targets, self.comm)
        check_n_image('targets', targets, n_image, self.comm)
        bboxes, labels = [], []
        for i, target in enumerate(targets):
            name = f'{where}targets[{i}]'
            target = target.reshape(0, 5) if target.shape == (0,) else target  # the empty list
            if target.ndim != 2 or target.shape[1] != 5:
                raise ValueError(f'{name} has shape {target.shape}: expected (R, 5)')
            bbox = check_bbox(target[:, :4], name, order='xy', dtype=default_bbox.dtype)
            label = check_gt_label(target[:, 4], len(target), self.num_classes - 1, name)
            bboxes.append(bbox)
            labels.append(label)
        bboxes, labels = send_arrays(device, bboxes), send_arrays(device, labels)
        matcher = Matcher(default_bbox, self.overlap_thresh, 'argmax')
        index = match_ground_truths(matcher, bboxes, self.comm, stacklevel=3)
        return encode_ground_truths(default_bbox, bboxes, labels, index, self.variance, self.comm)
