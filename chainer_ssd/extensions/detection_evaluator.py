"""Average precision while a Trainer runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
from chainer.training.extensions import Evaluator

from chainer_ssd._options import check_label_names
from chainer_ssd.distributed import Communicator, from_rank_0
from chainer_ssd.evaluation import detect_batches, detect_dataset, eval_detection_voc


class DetectionEvaluator(Evaluator):
    """Trainer extension that reports the average precision of a detector, as Pascal VOC defines it.

    It reports ``map`` and, with ``label_names``, ``ap/<name>`` of each class. A Trainer observes
    them as ``validation/main/map`` and so on. A class without a ground truth has NaN and is left
    out of the mean. :func:`chainer_ssd.eval_detection_voc` computes the figures.

    Called without a trainer, it returns the same figures in a dict.

    Parameters
    ----------
    iterator : chainer.iterators.SerialIterator or any other with ``reset``
        One pass (``repeat=False, shuffle=False``) over examples ``(img, bbox, label)`` or
        ``(img, bbox, label, difficult)``. bbox (R, 4) is (y_min, x_min, y_max, x_max) in pixels,
        and label an int array (R,). difficult is a bool array (R,): objects that need not be
        found.
    target : chainer.Link
        ``target.predict(imgs)`` returns three lists: the bboxes, labels and scores of every image.
        Its score threshold should be low (``use_preset('evaluate')``), because a high one lowers
        the average precision.
    label_names : sequence of str, optional
        Names of the classes, in the order of the labels.
    use_07_metric : bool
        Whether to use the 11-point mean of VOC 2007 instead of the area under the curve.
    comm : chainermn.CommunicatorBase, optional
        Every rank evaluates together, on the same data set. Each rank detects in its part of the
        images, one image at a time. Rank 0 computes the figures once from all detections, and
        every rank reports them. They equal those of one process.

    Raises
    ------
    ValueError
        If a name stands twice in ``label_names``. On evaluation: if a label has no name, or as
        :func:`chainer_ssd.eval_detection_voc`.
    TypeError
        If ``label_names`` is not a sequence of str.
    RuntimeError
        On evaluation, on every rank: if not every image comes from exactly one rank.

    Notes
    -----
    It reports what ChainerCV's ``DetectionVOCEvaluator`` reports, under the same names.
    """

    def __init__(
        self,
        iterator: Any,
        target: chainer.Link,
        label_names: Sequence[str] | None = None,
        use_07_metric: bool = False,
        comm: Communicator | None = None,
    ) -> None:
        super().__init__(iterator, target)
        self.label_names = None if label_names is None else check_label_names(label_names)
        self.use_07_metric, self.comm = use_07_metric, comm

    def evaluate(self) -> dict[str, float]:
        """Detect the objects of all images and compute the figures.

        Returns
        -------
        dict
            The observation.

        Raises
        ------
        ValueError, RuntimeError
            See the class.
        """
        iterator, target = self.get_iterator('main'), self.get_target('main')
        columns: Any
        if self.comm is None:
            iterator.reset()
            columns = list(zip(*detect_batches(target, iterator))) or [()] * 5
        else:
            columns = detect_dataset(target, iterator.dataset, self.comm)
        report = from_rank_0(self.comm, None if columns is None else self._compute(columns))
        observation: dict[str, float] = {}
        with chainer.reporter.report_scope(observation):
            chainer.report(report, target)
        return observation

    def _compute(self, columns: Any) -> dict[str, float]:
        options: dict[str, Any] = {'use_07_metric': self.use_07_metric}
        result = eval_detection_voc(*columns, **options)
        report = {'map': result['map']}
        if self.label_names is not None:
            ap = dict(enumerate(result['ap']))
            if len(ap) > len(self.label_names):
                raise ValueError(
                    f'label {len(ap) - 1} occurs: expected one of the '
                    f'{len(self.label_names)} label_names'
                )
            for label, name in enumerate(self.label_names):
                report[f'ap/{name}'] = ap.get(label, float('nan'))
        return report
