"""Whether the default boxes suit the objects."""

import math

import chainer
import numpy as np
from chainer.training import Extension

from chainer_ssd.distributed import gather_values
from chainer_ssd.ops import bbox_iou, center_to_corner

_N_OCTAVE = 16  # sides up to 65,536 pixels


class MatchReport(Extension):
    """Trainer extension that reports how the ground truths of a data set meet the default boxes.

    Matching does not depend on the weights, so a sample says it all: each call reads some examples,
    the next ones of the data set, and reports over them:

    - ``match/n_truth``: ground truths per image.
    - ``match/n_positive``: default boxes assigned to them, per image. Few: the loss hears little.
    - ``match/hard_negative``: share of the negatives that hard negative mining selects.
    - ``match/unmatched``: share of the ground truths that no default box is assigned to: the
      training never sees them.
    - ``match/recall``: share of the ground truths that are assigned a default box of IoU >=
      ``iou_thresh``. The others have at best what bipartite matching finds: a box that suits them
      badly, whose offsets are large. More or other default boxes raise this.

    All but ``hard_negative`` are also reported for each class of size that occurs, as
    ``match/recall/16-32px``: ground truths whose side √(h · w) is at least 16 and less than 32
    pixels of the network's input. A class that is frequent (``n_truth``) and has few boxes
    (``n_positive``) or a low recall is where default boxes are missing. The classes are sizes, not
    feature maps, so that two sets of default boxes can be compared.

    Called without a trainer it returns the same figures in a dict: default boxes can be chosen
    before anything is trained.

    Parameters
    ----------
    dataset : sequence
        Examples ``(img, bbox, label, index)`` as :class:`chainer_ssd.MatchTransform` returns them,
        after augmentation, with the default boxes below.
    default_bbox : float32 array of shape (K, 4)
        (cy, cx, h, w) in pixels of the network's input.
    iou_thresh : float
        From which IoU on a default box suits.
    k : float
        Hard negatives for each positive, as the loss has it.
    n_sample : int
        Examples in a call, over all ranks, 1 or more. A call reads them in the main process: some
        milliseconds each.
    comm : chainermn.CommunicatorBase, optional
        Every rank extends its trainer with this; each reads its part, and all report the figures
        of all.

    Raises
    ------
    ValueError
        If ``n_sample`` is less than 1, or the data set is empty.

    Notes
    -----
    Liu et al. (2016), section 2.2, "Matching strategy" and "Choosing scales and aspect ratios for
    default boxes". Difficult ground truths, which are never assigned, count as unmatched: hand in a
    data set without them.
    """

    trigger = 1, 'epoch'
    priority = chainer.training.PRIORITY_WRITER

    def __init__(self, dataset, default_bbox, iou_thresh=0.5, k=3, n_sample=100, comm=None):
        if n_sample < 1 or not len(dataset):
            raise ValueError(
                f'n_sample = {n_sample}, dataset holds {len(dataset)} examples: '
                'expected 1 or more of both'
            )
        self.dataset, self.iou_thresh, self.k, self.comm = dataset, iou_thresh, k, comm
        self.n_sample = math.ceil(n_sample / (1 if comm is None else comm.size))
        self._corners = center_to_corner(chainer.backends.cuda.to_cpu(default_bbox))
        self._position = 0

    def __call__(self, trainer=None):
        """Reads some examples and reports. A collective call where there is a communicator.

        Returns
        -------
        dict of str to float
            What is reported.
        """
        images = [
            self._count(*self.dataset[(self._position + i) % len(self.dataset)])
            for i in range(self.n_sample)
        ]
        self._position = (self._position + self.n_sample) % len(self.dataset)
        ranks = gather_values(self.comm, tuple(map(sum, zip(*images))))
        by_size, n_negative, n_hard_negative = map(sum, zip(*ranks))
        n_image = self.n_sample * len(ranks)

        figures = {
            'match/hard_negative': n_hard_negative / max(n_negative, 1),
            **_figures('', by_size.sum(axis=0), n_image),
        }
        for octave in np.flatnonzero(by_size[:, 0]).tolist():
            name = f'/{2**octave}-{2 ** (octave + 1)}px'
            figures.update(_figures(name, by_size[octave], n_image))
        chainer.report(figures)
        return figures

    def serialize(self, serializer):
        """Saves or loads where the next sample begins."""
        self._position = serializer('position', self._position)

    def _count(self, img, bbox, label, index):
        """Of one image by size: ground truths, those with a box, with one that suits, boxes; then
        negatives, and hard ones."""
        box = np.flatnonzero(index >= 0)
        truth = index[box]
        best_iou = np.full(len(bbox), -1.0)
        iou = bbox_iou(self._corners[box], bbox)[np.arange(len(box)), truth]
        np.maximum.at(best_iou, truth, iou)
        by_truth = np.stack(
            [
                np.ones(len(bbox), int),
                best_iou >= 0,
                best_iou >= self.iou_thresh,
                np.bincount(truth, minlength=len(bbox)),
            ],
            axis=1,
        )
        side = np.sqrt(np.prod(bbox[:, 2:] - bbox[:, :2], axis=1))
        octave = np.log2(np.maximum(side, 1)).astype(int).clip(0, _N_OCTAVE - 1)
        by_size = np.zeros((_N_OCTAVE, 4), int)
        np.add.at(by_size, octave, by_truth)
        n_negative = int((index == -1).sum())
        return by_size, n_negative, min(math.ceil(self.k * len(box)), n_negative)


def _figures(name, counts, n_image):
    n_truth, n_matched, n_suited, n_positive = counts.tolist()
    n = n_truth or math.nan
    return {
        f'match/n_truth{name}': n_truth / n_image,
        f'match/n_positive{name}': n_positive / n_image,
        f'match/unmatched{name}': 1 - n_matched / n,
        f'match/recall{name}': n_suited / n,
    }
