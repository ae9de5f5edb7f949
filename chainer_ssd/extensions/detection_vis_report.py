"""Detections beside ground truths while a Trainer runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np
from chainer.backends import cuda

from chainer_ssd._array import Array
from chainer_ssd._options import check_number
from chainer_ssd._validation import raise_for_row
from chainer_ssd.distributed import Communicator
from chainer_ssd.extensions._vis_report import VisReport
from chainer_ssd.visualizations import draw_detection


class DetectionVisReport(VisReport):
    """Trainer extension that draws the detections of a model beside the ground truths.

    It writes a picture of each image of a data set, or of the first ``n_image``, into the trainer's
    folder, see :func:`chainer_ssd.draw_detection`. It does not disturb training: the model runs in
    test mode, no iterator advances, and the random generators are restored.

    Parameters
    ----------
    iterator : chainer.dataset.Iterator or sequence
        A data set, or an iterator over it, of examples ``(img, bbox, label)`` or ``(img, bbox,
        label, difficult)``, see :class:`chainer_ssd.DetectionEvaluator`. Difficult ground truths
        are drawn like any other.
    target : chainer.Link
        ``target.predict(imgs)`` returns three lists: the bboxes, labels and scores of every image.
    label_names : sequence of str, optional
        Names of the classes, in the order of the labels.
    filename : str
        File name with ``{iteration}`` and ``{index}``, which become the trainer's iteration and
        the number of the image. Without ``{iteration}``, each picture replaces the last one. The
        suffix selects the format.
    n_image : int, optional
        Number of images from the beginning of the data set, 1 or more. Default: all images, as in
        ChainerCV. A picture takes some 50 ms, so a number helps for a large data set.
    score_thresh : float
        Minimum score of a detection that is drawn. A model with the preset ``'evaluate'`` returns
        many detections of low scores.
    comm : chainermn.CommunicatorBase, optional
        Rank 0 draws, the others do nothing. No rank waits for another.

    Raises
    ------
    ValueError
        If ``filename``, ``n_image`` or ``score_thresh`` is not as described, or a name stands
        twice.
    TypeError
        If ``iterator`` is neither a data set nor an iterator over one, ``n_image`` is not an
        integer, or ``label_names`` is not a sequence of str.
    ImportError
        If Pillow or matplotlib is missing (``pip install "chainer_ssd[data,plot]"``).
    RuntimeError
        On a call: if a picture cannot be drawn, for example because a score is NaN. The message
        names the image and the cause.

    Warns
    -----
    UserWarning
        Once, if a picture cannot be written. The message names the file and the cause.

    Notes
    -----
    ChainerCV's ``DetectionVisReport`` has the first four parameters.
    """

    def __init__(
        self,
        iterator: Any,
        target: chainer.Link,
        label_names: Sequence[str] | None = None,
        filename: str = 'detection_iter={iteration}_idx={index}.jpg',
        n_image: int | None = None,
        score_thresh: float = 0.6,
        comm: Communicator | None = None,
    ) -> None:
        super().__init__(iterator, label_names, filename, n_image, comm)
        self.target, self.score_thresh = target, check_number('score_thresh', score_thresh)

    def draw(self, example: tuple) -> Array:
        """Return the picture of one example.

        Parameters
        ----------
        example : tuple
            An example of the data set.

        Returns
        -------
        uint8 array of shape (3, H, W)
            See :func:`chainer_ssd.draw_detection`.
        """
        img, gt_bbox, gt_label = example[:3]
        bbox, label, score = (cuda.to_cpu(column[0]) for column in self.target.predict([img]))
        raise_for_row('score', score, np.isfinite(score), 'a finite number')
        drawn = score >= self.score_thresh
        return draw_detection(
            img, bbox[drawn], label[drawn], score[drawn], gt_bbox, gt_label, self.label_names
        )
