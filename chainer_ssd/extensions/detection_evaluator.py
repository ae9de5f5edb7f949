"""Average precision while a Trainer runs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import chainer

from chainer_ssd._options import check_flag
from chainer_ssd.distributed import Communicator
from chainer_ssd.evaluation import eval_detection_voc
from chainer_ssd.extensions._box_evaluator import BoxEvaluator

_IOU_THRESH = 0.5


class DetectionEvaluator(BoxEvaluator):
    """Trainer extension that reports the average precision of a detector, as Pascal VOC defines it.

    It reports ``map`` and, with ``label_names``, ``ap/<name>`` of each class. A Trainer observes
    them as ``validation/main/map`` and so on. A class without a ground truth has NaN and is left
    out of the mean. :func:`chainer_ssd.eval_detection_voc` computes the figures.

    Called without a trainer, it returns the same figures in a dict. The arguments are checked at
    construction, before anything is predicted.

    Parameters
    ----------
    iterator : chainer.dataset.Iterator or None
        One pass (``repeat=False, shuffle=False``) over examples ``(img, bbox, label)`` or
        ``(img, bbox, label, difficult)``. bbox (R, 4) is (y_min, x_min, y_max, x_max) in pixels,
        and label an int array (R,). difficult is a bool array (R,): objects that need not be
        found. With ``comm``, it may be None on all ranks but rank 0, which then reads all images.
    target : chainer.Link
        ``target.predict(imgs)`` returns three lists: the bboxes, labels and scores of every image.
        Its score threshold should be low (``use_preset('evaluate')``), because a high one lowers
        the average precision.
    use_07_metric : bool
        Whether to use the 11-point mean of VOC 2007 instead of the area under the curve.
    label_names : sequence of str, optional
        Names of the classes, in the order of the labels. In a key, control characters are escaped
        and long names are shortened, see the attribute ``class_keys``.
    comm : chainermn.CommunicatorBase, optional
        Every rank evaluates together, on the same data set. Each rank detects in its part of the
        images, one image at a time. Rank 0 computes the figures once from all detections, and
        every rank reports them. They equal those of one process.

    Attributes
    ----------
    class_keys : tuple of str
        For each class the name in its key, ``ap/<name>``. Empty without ``label_names``.

    Raises
    ------
    ValueError
        If ``iterator`` repeats, because evaluation would not end. If it is None without ``comm``
        or on rank 0. If a name stands twice in ``label_names``. If the data set holds no image:
        with ``comm`` on evaluation and on every rank. On evaluation: if a label has no name, or as
        :func:`chainer_ssd.eval_detection_voc`.
    TypeError
        If ``iterator`` is not a Chainer iterator, ``target`` has no ``predict``,
        ``use_07_metric`` is neither False nor True, or ``label_names`` is not a sequence of str.
    RuntimeError
        On evaluation, on every rank: if one rank cannot detect in an image, or if not every image
        comes from exactly one rank.

    Warns
    -----
    UserWarning
        On evaluation, once: if no ground truth counts. The mean is then NaN.
    DeprecationWarning
        If ``label_names`` is the third argument, as in earlier versions.

    Notes
    -----
    The arguments are those of ChainerCV's ``DetectionVOCEvaluator``. It reports what that class
    reports, under the same names, but on every rank.
    """

    example_columns = {3: '(img, bbox, label)', 4: '(img, bbox, label, difficult)'}
    mean_key = 'map'

    def __init__(
        self,
        iterator: Any,
        target: chainer.Link,
        use_07_metric: bool = False,
        label_names: Sequence[str] | None = None,
        comm: Communicator | None = None,
    ) -> None:
        if isinstance(use_07_metric, (list, tuple)) and isinstance(label_names, (bool, type(None))):
            warnings.warn(
                'label_names is the fourth argument of DetectionEvaluator, after use_07_metric: '
                'pass label_names=...',
                DeprecationWarning,
                stacklevel=2,
            )
            use_07_metric, label_names = bool(label_names), use_07_metric
        self.use_07_metric = check_flag('use_07_metric', use_07_metric)
        super().__init__(iterator, target, label_names, comm)

    def _compute(self, columns: Any) -> dict[str, Any]:
        difficults = columns[5] if len(columns) > 5 else None
        return eval_detection_voc(*[*columns[:5], difficults, _IOU_THRESH, self.use_07_metric])
