"""Faults of image files: damage, size, rotation, and equal pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from chainer_ssd.datasets import decide_orientation
from chainer_ssd.images import hash_pixels, read_header
from chainer_ssd.inspection.finding import Finding, make_finding
from chainer_ssd.inspection.records import ImageRecord

Size = tuple[float, float]


def check_images(
    records: Sequence[ImageRecord], findings: list[Finding], reads_pixels: bool = True
) -> tuple[dict[str, Size], dict[str, str]]:
    """Add the faults of image files to ``findings``.

    Parameters
    ----------
    records : sequence of ImageRecord
        The images, also of several splits.
    findings : list of Finding
        Receives the faults.
    reads_pixels : bool
        Whether the pixels are decoded, one image at a time. False: headers only.

    Returns
    -------
    sizes : dict
        (H, W) of each image file in the coordinates of its boxes.
    digests : dict
        Hash of the pixels of each image file that can be read.
    """
    sizes: dict[str, Size] = {}
    digests: dict[str, str] = {}
    readable = []
    for record in {each.image_file: each for each in records if each.image_file}.values():
        try:
            sizes[record.image_file] = read_header(record.image_file).size
            if reads_pixels:
                digests[record.image_file] = hash_pixels(record.image_file)
            readable.append(record)
        except (MemoryError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            findings.append(make_finding('unreadable image', record.image_file, reason))
            sizes.pop(record.image_file, None)
    findings.extend(_check_orientation(readable, sizes))
    return sizes, digests


def find_equal_images(
    digests: Mapping[str, str], train: Sequence[ImageRecord], test: Sequence[ImageRecord]
) -> Iterator[Finding]:
    """Yield images that stand in both splits, and equal images in one split."""
    train_names = {record.name for record in train}
    first: dict[str, tuple[str, str]] = {}
    for split, records in (('training', train), ('test', test)):
        for record in records:
            file = record.image_file or record.annotation_file
            if split == 'test' and record.name in train_names:
                text = f'{record.name} is in both lists'
                yield make_finding('image in both splits', file, text, record.image_file)
                continue
            digest = digests.get(record.image_file)
            if digest is None:
                continue
            other_split, other = first.setdefault(digest, (split, record.image_file))
            if other == record.image_file:
                continue
            kind = 'repeated image' if other_split == split else 'image in both splits'
            text = f'the same pixels as {other} of the {other_split} split'
            yield make_finding(kind, file, text, record.image_file)


def _check_orientation(records: Sequence[ImageRecord], sizes: dict[str, Size]) -> Iterator[Finding]:
    """Yield unclear rotations and wrong sizes. Changes ``sizes`` of images that are turned."""
    files = [record.image_file for record in records]
    boxes = [
        np.array([each.bbox for each in record.objects], np.float32).reshape(-1, 4)
        for record in records
    ]
    decision = decide_orientation(files, [each.annotated_size for each in records], boxes)
    undecided = set(decision.undecided)
    for record, is_turned in zip(records, decision.applies):
        file = record.image_file
        is_unclear = file in undecided
        if is_turned and read_header(file).orientation >= 5:
            sizes[file] = sizes[file][::-1]
        if is_unclear:
            text = f'EXIF orientation {read_header(file).orientation}'
            yield make_finding('unclear rotation', file, text, file)
        size = record.annotated_size
        if size is not None and not is_unclear and tuple(size) != tuple(sizes[file]):
            text = f'(H, W) is {sizes[file]}, {tuple(size)} in its annotation'
            yield make_finding('wrong size', file, text, file)
