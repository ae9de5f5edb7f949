"""Matching as a step of the data pipeline."""

from chainer_ssd._validation import check_bbox
from chainer_ssd.ops import Matcher


class MatchTransform:
    """Assigns default boxes to the ground truths of an example.

    For :class:`chainer.datasets.TransformDataset`; :class:`EncodeTransform` follows.

    Parameters
    ----------
    default_bbox : float32 array of shape (K, 4)
        (cy, cx, h, w) in pixels of the image that comes in.
    iou_thresh : float
        IoU from which a default box takes its best ground truth.
    **options
        ``match_type`` and ``neg_overlap`` of :func:`chainer_ssd.match`.
    """

    def __init__(self, default_bbox, iou_thresh=0.5, **options):
        self.match = Matcher(default_bbox, iou_thresh, **options)

    def __call__(self, example):
        """Matches one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label)`` or ``(img, bbox, label, difficult)``: img float32 (3, H, W),
            bbox (R, 4) = (y_min, x_min, y_max, x_max) in pixels, label int (R,) counted from 0,
            difficult bool (R,): ground truths that are never assigned.

        Returns
        -------
        tuple
            ``(img, bbox, label, index)``; index int32 (K,): the row of the assigned ground truth,
            -1 for background, -2 for ignored.

        Raises
        ------
        ValueError
            If a ground truth is not finite or has no area (the message names its row), or shapes
            disagree.
        """
        img, bbox, label, *ignore = example
        bbox = check_bbox(bbox)
        if len(label) != len(bbox):
            raise ValueError(f'{len(bbox)} boxes and {len(label)} labels: expected as many')
        return img, bbox, label, self.match(bbox, *ignore)
