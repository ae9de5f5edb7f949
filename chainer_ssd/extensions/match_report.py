"""How well the default boxes fit the ground truths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import chainer
import numpy as np
from chainer.training import Extension

from chainer_ssd._array import Array
from chainer_ssd._options import check_fraction, check_integer
from chainer_ssd._validation import check_default_bbox
from chainer_ssd.distributed import Communicator, gather_values, raise_together
from chainer_ssd.evaluation import check_dataset
from chainer_ssd.extensions._matched_example import read_matched_example, warn_of_other_boxes
from chainer_ssd.functions import HardNegative
from chainer_ssd.ops import bbox_iou, center_to_corner

_N_OCTAVE = 16  # sides up to 65,536 pixels


class MatchReport(Extension):
    """Trainer extension that reports how well the default boxes fit the ground truths.

    Matching does not depend on the weights, so a sample of the data set is enough. Each call reads
    the next ``n_sample`` examples of the data set and reports their figures:

    - ``match/n_truth``: ground truths per image.
    - ``match/n_positive``: default boxes assigned to them, per image. If there are few, the loss
      has few positives.
    - ``match/hard_negative``: fraction of the negatives that hard negative mining selects. Only
      with a ``k``.
    - ``match/unmatched``: fraction of the ground truths without a default box. Training ignores
      them.
    - ``match/recall``: fraction of the ground truths with a default box of IoU >= ``iou_thresh``.
      The others have at most a default box from bipartite matching, with a low IoU and large
      offsets. More or other default boxes raise the recall.

    All but ``hard_negative`` are also reported for each class of size that occurs. For example,
    ``match/recall/16-32px`` is the recall of ground truths of 16 to 32 pixels of the network's
    input. Their side √(h · w) is at least 16 and less than 32. If a class is frequent
    (``n_truth``) but has few boxes (``n_positive``) or a low recall, it needs more default
    boxes. The classes are sizes and not feature maps, so that two sets of default boxes can be
    compared.

    Called without a trainer, it returns the same figures in a dict. So default boxes can be chosen
    before training.

    Parameters
    ----------
    dataset : sequence
        Examples ``(img, bbox, label, index)`` as :class:`chainer_ssd.MatchTransform` returns them,
        after augmentation, with the default boxes below.
    default_bbox : float32 array of shape (K, 4)
        (cy, cx, h, w) in pixels of the network's input.
    iou_thresh : float
        Minimum IoU of a default box that fits, in [0, 1].
    k : float or None
        Hard negatives per positive, as in the loss. None, if another rule selects them.
    n_sample : int
        Examples per call, over all ranks, 1 or more. Every example is read in the main process,
        which takes some milliseconds.
    comm : chainermn.CommunicatorBase, optional
        Every rank extends its trainer with this extension. Each rank reads its part of the
        sample, and all report the figures of the whole.
    min_negatives : int
        Smallest number of hard negatives of an image, as in the loss. Default: 0.

    Raises
    ------
    ValueError
        If ``n_sample`` is less than 1, the data set is empty, ``k`` is negative, ``iou_thresh`` is
        outside [0, 1], or ``default_bbox`` is not valid. On a call: if an example is not ``(img,
        bbox, label, index)``, or ``index`` does not fit ``default_bbox``.
    TypeError
        If ``n_sample`` is not an integer, ``dataset`` not a sequence, or ``default_bbox`` not
        numbers.
    RuntimeError
        On a call with ``comm``, on every rank: if one rank cannot read an example.

    Warns
    -----
    UserWarning
        On a call, once: if a ground truth has default boxes, but not the one with the largest IoU.
        The examples were then matched with other default boxes.

    Notes
    -----
    Liu et al. (2016), section 2.2, "Matching strategy" and "Choosing scales and aspect ratios for
    default boxes". Difficult ground truths are never assigned, so they count as unmatched. Pass a
    data set without them.
    """

    trigger = 1, 'epoch'
    priority = chainer.training.PRIORITY_WRITER

    def __init__(
        self,
        dataset: Sequence[tuple],
        default_bbox: Array,
        iou_thresh: float = 0.5,
        k: float | None = 3,
        n_sample: int = 100,
        comm: Communicator | None = None,
        min_negatives: int = 0,
    ) -> None:
        check_integer('n_sample', n_sample, 1)
        check_dataset(dataset)
        if not len(dataset):
            raise ValueError('dataset is empty: expected one example or more')
        default_bbox = check_default_bbox(chainer.backends.cuda.to_cpu(default_bbox))
        self.dataset, self.comm = dataset, comm
        self.iou_thresh = check_fraction('iou_thresh', iou_thresh)
        self._mining = None if k is None else HardNegative(k, minimum=min_negatives)
        self.n_sample = math.ceil(n_sample / (1 if comm is None else comm.size))
        self._corners = center_to_corner(default_bbox)
        self._position = 0
        self._has_warned = False

    def __call__(self, trainer: chainer.training.Trainer | None = None) -> dict[str, float]:
        """Read the next examples and report. A collective call if there is a communicator.

        Parameters
        ----------
        trainer : chainer.training.Trainer, optional
            Not used.

        Returns
        -------
        dict of str to float
            The reported figures.
        """
        images: list[tuple[Array, int, int]] = []
        error: Exception | None = None
        try:
            for i in range(self.n_sample):
                images.append(self._count((self._position + i) % len(self.dataset)))
        except Exception as raised:
            if self.comm is None:
                raise
            error = raised
        if self.comm is not None:
            raise_together(self.comm, error)
        self._position = (self._position + self.n_sample) % len(self.dataset)
        ranks = gather_values(self.comm, _sum_columns(images))
        by_size, n_negative, n_hard_negative = _sum_columns(ranks)
        n_image = self.n_sample * len(ranks)

        figures = _figures('', by_size.sum(axis=0), n_image)
        if self._mining is not None:
            figures['match/hard_negative'] = n_hard_negative / max(n_negative, 1)
        for octave in np.flatnonzero(by_size[:, 0]).tolist():
            name = f'/{2**octave}-{2 ** (octave + 1)}px'
            figures.update(_figures(name, by_size[octave], n_image))
        chainer.report(figures)
        return figures

    def serialize(self, serializer: chainer.Serializer) -> None:
        """Save or load the position of the next sample.

        Parameters
        ----------
        serializer : chainer.Serializer
            Reads or writes the position.
        """
        self._position = serializer('position', self._position)

    def _count(self, position: int) -> tuple[Array, int, int]:
        """Return the counts of one image.

        Returns
        -------
        by_size : int array of shape (_N_OCTAVE, 4)
            For each size the ground truths, those with a default box, those with one that fits,
            and their default boxes.
        n_negative, n_hard_negative : int
            Numbers of negatives and of hard negatives.
        """
        bbox, index = read_matched_example(self.dataset, position, len(self._corners))
        positives = np.flatnonzero(index >= 0)
        rows = index[positives]
        best_iou = np.full(len(bbox), -1.0)
        iou = bbox_iou(self._corners[positives], bbox)[np.arange(len(positives)), rows]
        np.maximum.at(best_iou, rows, iou)
        if not self._has_warned:
            self._has_warned = warn_of_other_boxes(position, self._corners, bbox, index)
        by_ground_truth = np.stack(
            [
                np.ones(len(bbox), int),
                best_iou >= 0,
                best_iou >= self.iou_thresh,
                np.bincount(rows, minlength=len(bbox)),
            ],
            axis=1,
        )
        side = np.sqrt(np.prod(bbox[:, 2:] - bbox[:, :2], axis=1))
        octave = np.log2(np.maximum(side, 1)).astype(int).clip(0, _N_OCTAVE - 1)
        by_size = np.zeros((_N_OCTAVE, 4), int)
        np.add.at(by_size, octave, by_ground_truth)
        n_negative = int((index == -1).sum())
        if self._mining is None:
            return by_size, n_negative, 0
        limit = self._mining.count(np.array([len(positives)]), np.array([n_negative]))
        return by_size, n_negative, int(limit[0])


def _sum_columns(rows: Sequence[tuple]) -> tuple:
    return tuple(map(sum, zip(*rows)))


def _figures(suffix: str, counts: Array, n_image: int) -> dict[str, float]:
    n_truth, n_matched, n_fitting, n_positive = counts.tolist()
    n = n_truth or math.nan
    return {
        f'match/n_truth{suffix}': n_truth / n_image,
        f'match/n_positive{suffix}': n_positive / n_image,
        f'match/unmatched{suffix}': 1 - n_matched / n,
        f'match/recall{suffix}': n_fitting / n,
    }
