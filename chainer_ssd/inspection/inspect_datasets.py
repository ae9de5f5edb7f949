"""Inspection of data sets in any format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from chainer_ssd._options import check_fraction
from chainer_ssd.datasets import ChosenSplit, FoundDataset, choose_splits
from chainer_ssd.inspection.finding import Finding, make_finding
from chainer_ssd.inspection.inspect_records import inspect_records
from chainer_ssd.inspection.records import ImageRecord, read_records
from chainer_ssd.inspection.report import Report


def inspect_datasets(
    found: Sequence[FoundDataset],
    model: Any,
    choices: Sequence[Mapping[str, ChosenSplit]] | None = None,
    label_names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    iou_thresh: float = 0.5,
    reads_pixels: bool = True,
) -> Report:
    """Find the faults of data sets in any format, without stopping at the first one.

    Parameters
    ----------
    found : sequence of FoundDataset
        What :func:`chainer_ssd.datasets.find_dataset` returns.
    model : SSD
        The model to train. Its default boxes are compared with the objects.
    choices : sequence of dict, optional
        Which images are trained and tested on: ``DataSplits.choices``. Default: those of
        :func:`chainer_ssd.datasets.choose_splits`, and nothing is held out.
    label_names : sequence of str, optional
        The classes of the data, in the order of their labels. Default: those that the data sets
        declare, or the names in all images, sorted.
    classes : sequence of str, optional
        The classes to use. Objects of others are left out. Default: all.
    iou_thresh : float
        IoU with a default box from which on an object can be matched.
    reads_pixels : bool
        Whether the pixels of all images are decoded, which finds truncated and equal images.
        Default: True.

    Returns
    -------
    Report
        The findings and the figures.

    Raises
    ------
    OSError, ValueError
        If a list or the JSON file of a split cannot be read, or an option is out of its range.
    TypeError
        If ``label_names`` is not a sequence of str.

    Examples
    --------
    >>> from chainer_ssd import SSDMini                                     # doctest: +SKIP
    >>> from chainer_ssd.datasets import find_dataset                       # doctest: +SKIP
    >>> report = inspect_datasets([find_dataset('path/to/bolts')], SSDMini(3))  # doctest: +SKIP
    """
    check_fraction('iou_thresh', iou_thresh)
    if choices is None:
        choices = choose_splits(found)
    findings: list[Finding] = []
    read: dict[tuple[int, str], list[ImageRecord]] = {}
    parts: dict[str, list[ImageRecord]] = {'train': [], 'val': [], 'test': []}
    for number, choice in enumerate(choices):
        for part, (split, images) in choice.items():
            if (number, split) not in read:
                read[number, split], more = _read_with_unique_names(found[number], split)
                findings += more
            records = read[number, split]
            if images is not None:
                records = _select(found[number].path, records, images)
            parts[part] += records
    # An image of two splits has one annotation with its faults.
    findings = list(dict.fromkeys(findings))
    root = ', '.join(each.path for each in found)
    everything = [record for records in parts.values() for record in records]
    if label_names is None:
        label_names = _find_names(found, everything)
    if classes is not None:
        findings += _find_unknown(label_names, everything)
        parts = {part: _keep_classes(records, classes) for part, records in parts.items()}
        label_names = classes
    return inspect_records(
        root,
        found[0].path,
        parts['train'],
        parts['test'],
        findings,
        model,
        label_names,
        iou_thresh,
        reads_pixels,
        parts['val'],
    )


def _read_with_unique_names(
    found: FoundDataset, split: str
) -> tuple[list[ImageRecord], list[Finding]]:
    """Return the records of a split, whose names are those of no image in another folder."""
    records, findings = read_records(found, split)
    return [
        record._replace(name=record.image_file or f'{record.annotation_file} {record.name}')
        for record in records
    ], findings


def _select(path: str, records: Sequence[ImageRecord], images: Sequence[str]) -> list[ImageRecord]:
    root = path if os.path.isdir(path) else os.path.dirname(path) or '.'
    wanted = set(images)
    return [
        record
        for record in records
        if os.path.relpath(record.image_file or root, root).replace(os.sep, '/') in wanted
    ]


def _find_names(found: Sequence[FoundDataset], records: Sequence[ImageRecord]) -> list[str]:
    used = {each.name for record in records for each in record.objects}
    declared = list(dict.fromkeys(name for each in found for name in each.label_names or ()))
    return declared + sorted(used.difference(declared))


def _find_unknown(label_names: Sequence[str], records: Sequence[ImageRecord]) -> list[Finding]:
    """Return one finding for each class that is not among the given ones."""
    first = {each.name: record for record in records[::-1] for each in record.objects}
    return [
        make_finding(
            'unknown class', record.annotation_file, f'{name} is not given', record.image_file
        )
        for name, record in sorted(first.items())
        if name not in label_names
    ]


def _keep_classes(records: Sequence[ImageRecord], classes: Sequence[str]) -> list[ImageRecord]:
    return [
        record._replace(objects=tuple(each for each in record.objects if each.name in classes))
        for record in records
    ]
