"""A detector with PaddlePaddle's objective, ready for a Chainer Updater."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.functions import ssd_loss, ssd_match
from chainer_ssd.links._count_before_model import counting, create_count
from chainer_ssd.ops import center_to_corner, swap_xy


class SSDLossChain(chainer.Chain):
    """Training chain of a model and :func:`chainer_ssd.ssd_loss`.

    The loss matches and encodes by itself, so the chain takes ground truths instead of targets.
    Use :class:`chainer_ssd.links.GroundTruthConverter` as the converter of the updater. The chain
    reports ``loss``.

    Parameters
    ----------
    model : chainer.Link
        ``model(imgs)`` returns ``mb_locs`` (B, K, 4) = (dy, dx, dh, dw) and ``mb_confs``
        (B, K, C), background first. ``model.coder`` is a :class:`chainer_ssd.MultiboxCoder`.
    comm : chainermn.CommunicatorBase, chainer_ssd.distributed.PositiveCount or None
        Averages the number of matches over ranks, see :func:`chainer_ssd.ssd_loss`. The chain
        matches and sends the number before the model runs. With ``mining_type='hard_example'`` the
        number depends on the predictions, so the loss sends it after the mining. The chain also
        compares the numbers of updates of the ranks. Default: one process.
    **options
        Further options of :func:`chainer_ssd.ssd_loss`, such as ``neg_pos_ratio``.

    Attributes
    ----------
    comm : chainer_ssd.distributed.PositiveCount or None
        The count over ranks.
    """

    def __init__(self, model: chainer.Link, comm: Any = None, **options: Any) -> None:
        super().__init__()
        self.comm, self.options = create_count(comm, self), options
        self.prior_box = swap_xy(center_to_corner(model.coder.default_bbox))
        self.prior_box_var = np.repeat(np.array(model.coder.variance, 'f'), 2)
        with self.init_scope():
            self.model = model

    def forward(
        self,
        imgs: Array,
        bboxes: Sequence[Array],
        labels: Sequence[Array],
        difficults: Sequence[Array] | None = None,
        normalizer: Any = None,
    ) -> chainer.Variable:
        """Return the loss of a batch.

        Parameters
        ----------
        imgs : float32 array of shape (B, 3, H, W)
            Images, RGB, 0 to 255.
        bboxes : sequence of B arrays of shape (R, 4)
            Ground truths (y_min, x_min, y_max, x_max) in pixels of the images.
        labels : sequence of B integer arrays of shape (R,)
            Foreground classes, counted from 0.
        difficults : sequence of B bool arrays of shape (R,), or None
            Ground truths that are neither positive nor background. Default: none.
        normalizer : float, callable or None
            Replaces the number of matches, as in :class:`chainer_ssd.MultiboxTrainChain`.

        Returns
        -------
        chainer.Variable, scalar
            The sum of both losses over the number of matches.

        Raises
        ------
        ValueError, TypeError
            As :func:`chainer_ssd.ssd_loss`. If the model holds ChainerMN's own
            ``MultiNodeBatchNormalization``, every rank raises if their batches have different
            sizes.
        RanksOutOfStepError
            On every rank, if the ranks are at different iterations or in different modes.
        """
        gt_box = [swap_xy(bbox) for bbox in bboxes]
        index, count = None, normalizer
        if normalizer is not None:
            mb_locs, mb_confs = self.model(imgs)
        elif self._count_follows_from_labels():
            index = self._match(gt_box, difficults)
            with counting(self.comm, (index >= 0).sum(), self.model, imgs) as count:
                mb_locs, mb_confs = self.model(imgs)
        else:
            with counting(self.comm, 0, self.model, imgs) as compare_ranks:
                mb_locs, mb_confs = self.model(imgs)
            if callable(compare_ranks):
                compare_ranks()
        loss = ssd_loss(
            swap_xy(mb_locs),
            mb_confs,
            gt_box,
            [np.asarray(label) + 1 for label in labels],
            self.prior_box,
            self.prior_box_var,
            gt_difficult=difficults,
            reduce='sum',
            index=index,
            comm=self.comm,
            normalizer=count,
            **self.options,
        )
        chainer.report({'loss': loss}, self)
        return loss

    def _count_follows_from_labels(self) -> bool:
        mines_examples = self.options.get('mining_type', 'max_negative') == 'hard_example'
        return self.options.get('normalize', True) and not mines_examples

    def _match(self, gt_box: Sequence[Array], difficults: Sequence[Array] | None) -> Array:
        has_band = self.options.get('neg_overlap_mode', 'paddle') == 'caffe'
        with chainer.using_device(self.device):
            return ssd_match(
                [self.device.send(bbox) for bbox in gt_box],
                self.device.send(self.prior_box),
                self.options.get('overlap_threshold', 0.5),
                self.options.get('match_type', 'per_prediction'),
                self.options.get('neg_overlap', 0.5) if has_band else None,
                gt_difficult=None
                if difficults is None
                else [self.device.send(difficult) for difficult in difficults],
                comm=self.comm,
            )


class GroundTruthConverter(chainer.dataset.Converter):
    """Converter of a Chainer updater that makes batches for :class:`SSDLossChain`.

    Images become one array. Boxes and labels stay lists with one array per image.
    """

    def __call__(
        self, batch: Sequence[tuple[Array, ...]], device: chainer.backend.Device
    ) -> tuple[Any, ...]:
        """Convert a batch.

        Parameters
        ----------
        batch : sequence of tuples
            Examples ``(img, bbox, label)`` or ``(img, bbox, label, difficult)``, whose images have
            one shape.
        device : chainer.backend.Device
            Device that receives the images.

        Returns
        -------
        imgs : float32 array of shape (B, 3, H, W)
            Images on ``device``.
        bboxes, labels : lists of B arrays
            Ground truths of each image, on the CPU. The flags ``difficult`` follow if the examples
            have them.

        Raises
        ------
        ValueError
            If examples have another number of entries, or not all the same.
        """
        lengths = {len(example) for example in batch}
        if len(lengths) > 1 or not lengths <= {3, 4}:
            raise ValueError(
                f'examples have {sorted(lengths)} entries: expected (img, bbox, label) or '
                '(img, bbox, label, difficult), all alike'
            )
        imgs, *columns = zip(*batch)
        return (device.send(np.stack(imgs)), *map(list, columns))
