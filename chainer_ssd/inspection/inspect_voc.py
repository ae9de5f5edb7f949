"""Inspection of a data set in Pascal VOC's layout."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from chainer_ssd._options import check_fraction, check_label_names
from chainer_ssd.inspection.box_checks import check_boxes
from chainer_ssd.inspection.class_checks import check_classes, count_classes
from chainer_ssd.inspection.coverage import measure_coverage
from chainer_ssd.inspection.image_checks import check_images, find_equal_images
from chainer_ssd.inspection.kinds import KINDS
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
    if label_names is None:
        label_names = sorted({each.name for record in train for each in record.objects})
    label_names = check_label_names(label_names)
    sizes, digests = check_images([*train, *test], findings, reads_pixels)
    names = {record.name for record in train}
    for record in (*train, *(each for each in test if each.name not in names)):
        size = sizes.get(record.image_file, record.annotated_size)
        findings += check_boxes(record, size, len(model.coder.default_bbox))
    findings += find_equal_images(digests, train, test)
    counts = count_classes(train, test, label_names)
    findings += check_classes(counts, train, test, source)
    order = list(KINDS)
    findings.sort(key=lambda finding: (order.index(finding.kind), finding.file))
    return Report(
        os.fspath(root),
        len(train),
        len(test),
        counts,
        findings,
        measure_coverage(train, sizes, model, iou_thresh),
        _measure_sides(train, sizes, model.insize),
        f'{type(model).__name__} with an input of {model.insize} pixels',
    )


def _measure_sides(
    records: Sequence[ImageRecord], sizes: dict[str, tuple[float, float]], insize: int
) -> list[float]:
    """Return the square root of each object's area in pixels of the input."""
    sides = []
    for record in records:
        if record.image_file in sizes:
            height, width = sizes[record.image_file]
            for each in record.objects:
                y_min, x_min, y_max, x_max = each.bbox
                area = (y_max - y_min) * (x_max - x_min) * insize**2 / (height * width)
                sides.append(math.sqrt(max(area, 0)))
    return sides
