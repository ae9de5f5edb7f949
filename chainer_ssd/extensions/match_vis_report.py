"""Matched default boxes and hard negatives while a Trainer runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np
from chainer.backends import cuda

from chainer_ssd._array import Array
from chainer_ssd.distributed import Communicator
from chainer_ssd.extensions._vis_report import VisReport
from chainer_ssd.functions import Batch, background_loss
from chainer_ssd.ops import encode
from chainer_ssd.visualizations import draw_match


class MatchVisReport(VisReport):
    """Trainer extension that draws the matching and the hard negatives of training images.

    It writes a picture of each of the first examples of the training pipeline into the trainer's
    folder. The picture shows the ground truths with their matched default boxes, scale by scale,
    and those without any. It also shows the negatives that :func:`chainer_ssd.multibox_loss` mines
    with the current weights. See :func:`chainer_ssd.draw_match`.

    It does not disturb training: no iterator advances, and the random generators are restored. The
    model runs in test mode, so batch normalisation uses its running statistics. In the loss itself
    it uses those of the batch.

    Parameters
    ----------
    iterator : chainer.dataset.Iterator or sequence
        A data set, or an iterator over it, of examples ``(img, bbox, label, index)`` as
        :class:`chainer_ssd.MatchTransform` returns them, after augmentation: the training set
        before :class:`chainer_ssd.EncodeTransform`. Over
        :class:`chainer_ssd.RandomTransformDataset`, every call draws the same augmented images.
    chain : MultiboxTrainChain
        ``chain.model`` with its ``coder``, and ``chain.objective`` with its mining.
    label_names : sequence of str, optional
        Names of the classes, in the order of the labels.
    filename, comm
        See :class:`chainer_ssd.DetectionVisReport`.
    n_image : int, optional
        Number of images from the beginning of the data set, 1 or more. Default: 2. None: all.

    Raises
    ------
    ValueError, TypeError, ImportError, RuntimeError
        See :class:`chainer_ssd.DetectionVisReport`.

    Warns
    -----
    UserWarning
        See :class:`chainer_ssd.DetectionVisReport`.
    """

    def __init__(
        self,
        iterator: Any,
        chain: Any,
        label_names: Sequence[str] | None = None,
        filename: str = 'match_iter={iteration}_idx={index}.png',
        n_image: int | None = 2,
        comm: Communicator | None = None,
    ) -> None:
        super().__init__(iterator, label_names, filename, n_image, comm)
        self.chain = chain

    def draw(self, example: tuple) -> Array:
        """Return the picture of one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label, index)``.

        Returns
        -------
        uint8 array of shape (3, H, W)
            See :func:`chainer_ssd.draw_match`.
        """
        img, bbox, label, index = example
        model, coder = self.chain.model, self.chain.model.coder
        output = model(model.device.send(np.asarray(img, np.float32)[None]))
        mb_locs, mb_confs = (chainer.as_variable(cuda.to_cpu(x.array)) for x in output)
        default_bbox = cuda.to_cpu(coder.default_bbox)
        mb_loc, mb_label = encode(default_bbox, bbox, label, index, coder.variance)
        objective = self.chain.objective
        batch = Batch(
            mb_locs,
            mb_confs,
            mb_loc[None],
            mb_label[None],
            objective.localization,
            objective.confidence,
        )
        _, negative = objective.mining(batch)
        return draw_match(
            img,
            bbox,
            label,
            index,
            default_bbox,
            coder.scale,
            negative[0],
            background_loss(mb_confs.array)[0],
            self.label_names,
        )
