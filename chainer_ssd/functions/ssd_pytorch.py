"""The SSD training objective in ssd.pytorch's interface."""

import math
import numbers

import chainer

from chainer_ssd._options import check_ratio
from chainer_ssd.functions._arguments import check_predictions, where_
from chainer_ssd.functions._targets import (
    as_array,
    check_default_box,
    check_gt_bbox,
    check_gt_label,
    check_images,
    make_targets,
    swap_xy,
)
from chainer_ssd.functions.multibox_loss import multibox_loss
from chainer_ssd.ops.matching import Matcher


class MultiBoxLoss:
    """The objective of SSD with the constructor and the call of ssd.pytorch's ``MultiBoxLoss``.

    Matching is ssd.pytorch's own: each ground truth claims its best default box, later ones
    overwriting earlier ones, and even if it overlaps nothing; then every default box takes its best
    ground truth from ``overlap_thresh`` on.

    Parameters
    ----------
    num_classes : int
        Columns of the logits: foreground classes and the background.
    overlap_thresh : float
        Least IoU of a match, in [0, 1].
    prior_for_matching : object
        Changes nothing, here as in ssd.pytorch: default boxes are always what is matched.
    bkg_label : int
        0, the column of the background. ssd.pytorch keeps any other value and goes on with 0;
        here it is an error.
    neg_mining : object
        Changes nothing, here as in ssd.pytorch: hard negatives are always mined.
    neg_pos : float
        Negatives for each positive: ceil(neg_pos · n_i) in image i, at most K - 1.
    neg_overlap : object
        Changes nothing, here as in ssd.pytorch: there is no band between positive and negative.
    encode_target : object
        Changes nothing, here as in ssd.pytorch: targets are always encoded.
    use_gpu : object
        Changes nothing: the arrays say where they are (in ssd.pytorch True moves the targets to
        the GPU).
    variance : sequence of 2 floats
        Scales of (dx, dy) and of (dw, dh); in ssd.pytorch an entry of its configuration.
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the number of positives over ranks, so that ChainerMN's averaged gradients are
        those of one process on the whole batch. Every rank must call, also one without images.

    Raises
    ------
    ValueError
        If ``bkg_label`` is not 0, or a number is out of its range.

    Notes
    -----
    ssd.pytorch, ``layers/modules/multibox_loss.py`` and ``layers/box_utils.py``, with the two
    indexing faults mended that stop it on today's PyTorch. An image without ground truth, which
    stops ssd.pytorch, is all background here. ssd.pytorch shifts all logits by the batch's
    largest where it ranks negatives, so that small ones underflow; here each box has its own.
    """

    def __init__(
        self,
        num_classes,
        overlap_thresh,
        prior_for_matching,
        bkg_label,
        neg_mining,
        neg_pos,
        neg_overlap,
        encode_target,
        use_gpu=True,
        *,
        variance=(0.1, 0.2),
        comm=None,
    ):
        if not isinstance(num_classes, numbers.Integral) or num_classes < 1:
            raise ValueError(f'num_classes = {num_classes!r}: expected a positive integer')
        if not isinstance(overlap_thresh, numbers.Real) or not 0 <= overlap_thresh <= 1:
            raise ValueError(f'overlap_thresh = {overlap_thresh!r}: expected a number in [0, 1]')
        if bkg_label != 0:
            raise ValueError(
                f'bkg_label = {bkg_label!r}: expected 0, the only background that ssd.pytorch knows'
            )
        check_ratio('neg_pos', neg_pos)
        if len(variance) != 2 or not all(0 < v < math.inf for v in variance):
            raise ValueError(f'variance = {variance!r}: expected 2 positive numbers')
        self.num_classes, self.overlap_thresh = num_classes, float(overlap_thresh)
        self.neg_pos, self.variance, self.comm = neg_pos, variance, comm

    def __call__(self, predictions, targets):
        """The losses of a batch.

        Parameters
        ----------
        predictions : tuple
            ``(loc, conf, priors)``: offsets (dx, dy, dw, dh) of shape (B, K, 4) and logits of
            shape (B, K, num_classes), chainer.Variable or float array of one dtype; default
            boxes (cx, cy, w, h) of shape (K, 4), of which more than K may be handed over: the
            first K count, as in ssd.pytorch.
        targets : list of B arrays of shape (R_i, 5)
            Rows (x_min, y_min, x_max, y_max, label) in the unit of ``priors``, [0, 1] in
            ssd.pytorch; labels count foreground classes from 0 and are whole numbers.

        Returns
        -------
        loss_l, loss_c : chainer.Variable, scalars
            Sum over positives of smooth L1 / N, and sum over positives and hard negatives of the
            softmax cross entropy / N, where N is the number of positives in the batch. Both 0,
            connected to the predictions, where N is 0 (NaN in ssd.pytorch).

        Raises
        ------
        ValueError
            If shapes or the number of images disagree, or a ground truth, a label or a default
            box is not valid (the message names rank, image, row and value); under
            ``chainer.config.debug`` also if a prediction is not finite.
        TypeError
            If dtypes are not what they should be.
        """
        loc, conf, priors = predictions
        loc, conf = chainer.as_variable(loc), chainer.as_variable(conf)
        check_predictions(loc.array, conf.array, None, self.comm, ('loc', 'conf'))
        if conf.shape[2] != self.num_classes:
            raise ValueError(
                f'{where_(self.comm)}conf has shape {conf.shape}: expected '
                f'{self.num_classes} columns, as num_classes says'
            )
        device = chainer.backend.get_device_from_array(loc.array)
        with chainer.using_device(device):
            matched = self._match(device, *loc.shape[:2], priors, targets)
            # Past the matching the two interfaces are one: the cap of K − 1 negatives is never
            # reached, since with one positive there are no more.
            return multibox_loss(
                loc, conf, matched.mb_locs, matched.mb_labels, self.neg_pos, self.comm
            )

    def _match(self, device, n_image, n_box, priors, targets):
        """The targets of a batch on ``device``; index and mb_labels as ``ops`` has them."""
        priors = check_default_box('priors', as_array(priors), self.comm, centered=True)
        if len(priors) < n_box:
            raise ValueError(
                f'{where_(self.comm)}priors has shape {priors.shape}: expected '
                f'({n_box}, 4), one for each row of loc'
            )
        default_bbox = swap_xy(device.send(priors)[:n_box])
        targets = list(map(as_array, targets))
        check_images('targets', targets, n_image, self.comm)
        bboxes, labels = [], []
        for i, target in enumerate(targets):
            target = target.reshape(0, 5) if target.shape == (0,) else target  # the empty list
            if target.ndim != 2 or target.shape[1] != 5:
                raise ValueError(
                    f'{where_(self.comm)}targets[{i}] has shape {target.shape}: expected (R, 5)'
                )
            name = f'targets[{i}]'
            bboxes.append(
                device.send(check_gt_bbox(name, target[:, :4], default_bbox.dtype, self.comm))
            )
            labels.append(
                device.send(
                    check_gt_label(name, target[:, 4], len(target), self.num_classes - 1, self.comm)
                )
            )
        matcher = Matcher(default_bbox, self.overlap_thresh, 'argmax')
        return make_targets(matcher, default_bbox, bboxes, labels, self.variance, self.comm)
