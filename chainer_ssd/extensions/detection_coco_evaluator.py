"""Average precision and recall, as COCO defines them, while a Trainer runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._extras import require
from chainer_ssd.distributed import Communicator
from chainer_ssd.evaluation import eval_detection_coco
from chainer_ssd.extensions._box_evaluator import BoxEvaluator


class DetectionCOCOEvaluator(BoxEvaluator):
    """Trainer extension that reports the average precision and recall of COCO.

    It reports the means of :func:`chainer_ssd.eval_detection_coco` under the same keys, for example
    ``map/iou=0.50:0.95/area=all/max_dets=100``. With ``label_names``, it also reports the figures
    of each class, for example ``ap/iou=0.50:0.95/area=all/max_dets=100/<name>``. A Trainer observes
    them with ``validation/main/`` before the key.

    Called without a trainer, it returns the same figures in a dict. The arguments are checked at
    construction, before anything is predicted.

    Parameters
    ----------
    iterator : chainer.dataset.Iterator or None
        One pass (``repeat=False, shuffle=False``) over examples ``(img, bbox, label)``,
        ``(img, bbox, label, area)``, ``(img, bbox, label, crowd)`` or
        ``(img, bbox, label, area, crowd)``. bbox and label are those of
        :class:`chainer_ssd.DetectionEvaluator`. area is a float array (R,) of square pixels, and
        crowd a bool array (R,). The dtype tells them apart where only one is there. With areas, it
        reports the figures of small, medium and large objects too.
    target, label_names, comm
        See :class:`chainer_ssd.DetectionEvaluator`.

    Attributes
    ----------
    class_keys : tuple of str
        See :class:`chainer_ssd.DetectionEvaluator`.

    Raises
    ------
    ImportError
        If pycocotools is missing (``pip install "chainer_ssd[eval]"``).
    ValueError, TypeError, RuntimeError
        See :class:`chainer_ssd.DetectionEvaluator` and :func:`chainer_ssd.eval_detection_coco`.

    Warns
    -----
    UserWarning
        On evaluation, once: if no ground truth counts. The means are then NaN.

    Notes
    -----
    The arguments and keys are those of ChainerCV's class of this name. Flags such as VOC's
    difficult are taken as crowds.
    """

    example_columns = {
        3: '(img, bbox, label)',
        4: '(img, bbox, label, area or crowd)',
        5: '(img, bbox, label, area, crowd)',
    }
    mean_key = 'map/iou=0.50:0.95/area=all/max_dets=100'

    def __init__(
        self,
        iterator: Any,
        target: chainer.Link,
        label_names: Sequence[str] | None = None,
        comm: Communicator | None = None,
    ) -> None:
        require('pycocotools.cocoeval', 'eval')  # now, not at the first evaluation
        super().__init__(iterator, target, label_names, comm)

    def _compute(self, columns: Any) -> dict[str, Any]:
        areas, crowds = None, None
        extra = columns[5:]
        if len(extra) == 2:
            areas, crowds = extra
        elif extra and _are_flags(extra[0]):
            crowds = extra[0]
        elif extra:
            areas = extra[0]
        result = eval_detection_coco(*[*columns[:5], areas, crowds])
        return {key: result[key] for key in result if key not in ('coco_eval', 'existent_labels')}


def _are_flags(column: Sequence[Any]) -> bool:
    return any(np.asarray(each).dtype == bool for each in column)
