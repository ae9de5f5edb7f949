"""Inspection of images and objects that were read already, whatever their format is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from chainer_ssd._options import check_label_names
from chainer_ssd.inspection.box_checks import check_boxes
from chainer_ssd.inspection.class_checks import check_classes, count_classes
from chainer_ssd.inspection.coverage import measure_coverage
from chainer_ssd.inspection.finding import Finding
from chainer_ssd.inspection.image_checks import check_images, find_equal_images
from chainer_ssd.inspection.kinds import KINDS
from chainer_ssd.inspection.records import ImageRecord
from chainer_ssd.inspection.report import Report


def inspect_records(
    root: str,
    source: str,
    train: Sequence[ImageRecord],
    test: Sequence[ImageRecord],
    findings: list[Finding],
    model: Any,
    label_names: Sequence[str] | None,
    iou_thresh: float,
    reads_pixels: bool,
    val: Sequence[ImageRecord] = (),
) -> Report:
    """Return the report on two splits.

    Parameters
    ----------
    root : str
        The data set, for the report.
    source : str
        File for findings that belong to no other file.
    train, test : sequences of ImageRecord
        The splits.
    findings : list of Finding
        What was found while the files were read.
    model, label_names, iou_thresh, reads_pixels
        As for :func:`inspect_voc`.
    val : sequence of ImageRecord
        Images that a model is chosen by. They count in neither split, and have the same faults.
    """
    if label_names is None:
        label_names = sorted({each.name for record in train for each in record.objects})
    label_names = check_label_names(label_names)
    others = [*test, *val]
    sizes, digests = check_images([*train, *others], findings, reads_pixels)
    names = {record.name for record in train}
    for record in (*train, *(each for each in others if each.name not in names)):
        size = sizes.get(record.image_file, record.annotated_size)
        findings += check_boxes(record, size, len(model.coder.default_bbox))
    findings += find_equal_images(digests, train, others)
    counts = count_classes(train, test, label_names)
    findings += check_classes(counts, train, test, source, val)
    order = list(KINDS)
    findings.sort(key=lambda finding: (order.index(finding.kind), finding.file))
    return Report(
        root,
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
