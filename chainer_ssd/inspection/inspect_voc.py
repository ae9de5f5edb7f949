"""Inspection of a data set in Pascal VOC's layout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from chainer_ssd._options import check_fraction
from chainer_ssd.inspection.inspect_records import inspect_records
from chainer_ssd.inspection.records import ImageRecord, read_voc_records
from chainer_ssd.inspection.report import Report


def inspect_voc(
    root: str | os.PathLike[str],
    model: Any,
    train_split: str = 'trainval',
    test_split: str | None = 'test',
    label_names: Sequence[str] | None = None,
    iou_thresh: float = 0.5,
    reads_pixels: bool = True,
) -> Report:
    """Find the faults of a data set in Pascal VOC's layout, without stopping at the first one.

    Parameters
    ----------
    root : str or path
        Folder that holds Annotations/, ImageSets/Main/ and JPEGImages/.
    model : SSD
        The model to train. Its default boxes are compared with the objects.
    train_split, test_split : str
        Lists in ImageSets/Main/. ``test_split`` may be None.
    label_names : sequence of str, optional
        The classes in the order of their labels. Default: the names in the training split, sorted.
    iou_thresh : float
        IoU with a default box from which on an object can be matched.
    reads_pixels : bool
        Whether the pixels of all images are decoded, which finds truncated and equal images.
        Default: True. False reads headers only, and is much faster.

    Returns
    -------
    Report
        The findings and the figures.

    Raises
    ------
    OSError, ValueError
        If a list cannot be read, or an option is out of its range.
    TypeError
        If ``label_names`` is not a sequence of str.

    Examples
    --------
    >>> from chainer_ssd import SSDMini                            # doctest: +SKIP
    >>> report = inspect_voc('path/to/BCCD', SSDMini(3))           # doctest: +SKIP
    >>> print(report.to_text())                                    # doctest: +SKIP
    """
    check_fraction('iou_thresh', iou_thresh)
    train, findings = read_voc_records(root, train_split)
    test: list[ImageRecord] = []
    if test_split is not None:
        test, more = read_voc_records(root, test_split)
        # An image in both lists has one annotation with its faults.
        findings = list(dict.fromkeys([*findings, *more]))
    source = os.path.join(os.fspath(root), 'ImageSets', 'Main', f'{train_split}.txt')
    return inspect_records(
        os.fspath(root), source, train, test, findings, model, label_names, iou_thresh, reads_pixels
    )
