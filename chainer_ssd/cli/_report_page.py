"""The page report.html and the file suspicious_labels.json, of a training and an evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chainer

from chainer_ssd._files import read_json, replace_file, write_json
from chainer_ssd.inspection import (
    DetectorReport,
    detect_images_of,
    inspect_detector,
    write_detector_html,
)

PAGE_FILE, LABELS_FILE, LOG_FILE = 'report.html', 'suspicious_labels.json', 'log'
#: Training images whose labels are searched. It bounds the time at the end of a training.
MAX_TRAIN_IMAGES = 1000


def write_report_page(out: str, report: DetectorReport, model: Any, result: str) -> None:
    """Write the page and the suspicious labels.

    Parameters
    ----------
    out : str
        Folder to write to.
    report : DetectorReport
        What they show.
    model : SSD
        The detector.
    result : str
        Folder of the training. The page shows the curves of its log, if it has one.
    """
    write_json(os.path.join(out, LABELS_FILE), report.describe_suspicious())
    page = write_detector_html(
        report, model if hasattr(model, 'coder') else None, title=result, log=read_log(result)
    )
    with replace_file(os.path.join(out, PAGE_FILE)) as file:
        file.write(page.encode('utf-8', 'surrogateescape'))


def report_training(
    out: str,
    model: chainer.Chain,
    train: Sequence[tuple] | None,
    test: Sequence[tuple],
    label_names: Sequence[str],
    n_trained: int,
    use_07_metric: bool = False,
    skips_bad_images: bool = False,
) -> None:
    """Detect once more in the test images, search the labels, and write the page.

    Parameters
    ----------
    out : str
        Folder of the training.
    model : chainer.Chain
        The trained model, with the thresholds of an evaluation.
    train : sequence of tuples or None
        Training images without augmentation. None: their labels are not searched.
    test : sequence of tuples
        Test images.
    label_names : sequence of str
        The classes.
    n_trained : int
        Number of images that the training has processed. A short trial searches no more labels.
    use_07_metric : bool
        Whether the average precision is the one of VOC 2007.
    skips_bad_images : bool
        Whether images that cannot be read are left out. They are named elsewhere.
    """
    skip: Callable[[int, Exception], None] | None = _ignore if skips_bad_images else None
    try:
        images = [detect_images_of(model, test, 'test', on_unreadable=skip)]
        if train is not None:
            n_image = max(1, min(n_trained, MAX_TRAIN_IMAGES))
            images.append(detect_images_of(model, train, 'training', n_image, skip))
        report = inspect_detector(images[0], label_names, images[1:], use_07_metric=use_07_metric)
        write_report_page(out, report, model, out)
    except ImportError as error:
        print(f'{PAGE_FILE} is not written: {error}')


def read_log(folder: str) -> list[Mapping[str, Any]]:
    """Return the entries of a training's log, or none where there is no readable log."""
    try:
        log = read_json(os.path.join(folder, LOG_FILE))
    except (OSError, ValueError):
        return []
    return [entry for entry in log if isinstance(entry, dict)] if isinstance(log, list) else []


def _ignore(i: int, error: Exception) -> None:
    """Leave out an image that the evaluation has named."""
