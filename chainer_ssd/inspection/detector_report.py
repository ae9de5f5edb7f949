"""What a trained detector does on images with labels: figures, errors, suspicious labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_integer, check_label_names
from chainer_ssd.evaluation import (
    DetectionError,
    SuspiciousLabel,
    best_score_thresholds,
    check_dataset,
    detect_batches,
    find_detection_errors,
    find_suspicious_labels,
    readable_examples,
    summarize_detections,
)
from chainer_ssd.images import printable_name

_N_COLUMN = 5  # without the flags
_MAX_NAME_LETTERS = 300
_MAX_LISTED = 1000  # suspicious labels in JSON


class DetectedImages(NamedTuple):
    """The detections of a model in images with labels.

    Attributes
    ----------
    name : str
        What images these are, for example ``'test'``.
    dataset : sequence of tuples
        The data set.
    positions : list of int
        Number of each image in ``dataset``.
    columns : list of lists
        ``pred_bboxes``, ``pred_labels``, ``pred_scores``, ``gt_bboxes`` and ``gt_labels``, with one
        array per image, and ``gt_difficults`` if the examples have it.
    """

    name: str
    dataset: Any
    positions: list[int]
    columns: list[list[Array]]

    def describe(self, i: int) -> str:
        """Return the file of an image if the data set names it, else its number.

        Parameters
        ----------
        i : int
            Number of the image in ``columns``.

        Returns
        -------
        str
            One printable line.
        """
        files = getattr(self.dataset, 'image_files', None)
        position = self.positions[i]
        text = f'{self.name} image {position}' if files is None else str(files[position])
        return printable_name(text, _MAX_NAME_LETTERS)


class DetectorReport(NamedTuple):
    """Figures, errors and suspicious labels of a detector.

    Attributes
    ----------
    label_names : tuple of str
        The classes.
    test : DetectedImages
        The images that the figures and the errors refer to.
    summary : dict
        The figures, see :func:`chainer_ssd.summarize_detections`.
    curves : tuple of two lists
        Precision and recall of each class.
    missed, false_detections : list of DetectionError
        All errors, see :func:`chainer_ssd.evaluation.find_detection_errors`, at the score threshold
        of each class with the best F1.
    suspicious : list of tuples
        Each ``DetectedImages`` that was searched, with its suspicious labels, see
        :func:`chainer_ssd.evaluation.find_suspicious_labels`.
    """

    label_names: tuple[str, ...]
    test: DetectedImages
    summary: dict[str, Any]
    curves: tuple[list[Array | None], list[Array | None]]
    missed: list[DetectionError]
    false_detections: list[DetectionError]
    suspicious: list[tuple[DetectedImages, list[SuspiciousLabel]]]

    def describe_suspicious(self) -> list[dict[str, Any]]:
        """Return the suspicious labels for JSON, at most 1,000 of each set of images.

        Returns
        -------
        list of dict
            With ``images``, ``image``, ``kind``, ``bbox``, ``name``, ``other_name``, ``row`` and
            ``suspicion``. Boxes are (y_min, x_min, y_max, x_max) in pixels.
        """
        return [
            {
                'images': images.name,
                'image': images.describe(each.image),
                'kind': each.kind,
                'bbox': [round(side, 2) for side in each.bbox],
                'name': self.label_names[each.label],
                'other_name': (
                    None if each.other_label is None else self.label_names[each.other_label]
                ),
                'row': each.row,
                'suspicion': round(each.suspicion, 4),
            }
            for images, found in self.suspicious
            for each in found[:_MAX_LISTED]
        ]


def detect_images_of(
    model: Any,
    dataset: Sequence[tuple],
    name: str = 'test',
    max_images: int | None = None,
    on_unreadable: Callable[[int, Exception], None] | None = None,
) -> DetectedImages:
    """Return the detections of a model in the images of a data set.

    Parameters
    ----------
    model : object with a method ``predict``
        See :func:`chainer_ssd.detect_dataset`. Use its preset ``'evaluate'``.
    dataset : sequence of tuples
        Examples ``(img, bbox, label)`` or ``(img, bbox, label, difficult)``.
    name : str
        What images these are.
    max_images : int, optional
        Largest number of images. A larger data set gives every n-th image, so that the time is
        bounded. Default: all images.
    on_unreadable : callable, optional
        Called with the number in ``dataset`` and the error of each image that cannot be read, which
        is then left out. Default: the error is raised.

    Returns
    -------
    DetectedImages
        The detections.

    Raises
    ------
    ValueError
        If no image can be read, an example has less than three columns, or ``max_images`` is below
        1. Without ``on_unreadable`` as the data set.
    TypeError
        If ``dataset`` is not a sequence, or ``max_images`` is not an integer.
    """
    check_dataset(dataset)
    chosen = list(range(len(dataset)))
    if max_images is not None and len(chosen) > check_integer('max_images', max_images, 1):
        chosen = np.linspace(0, len(dataset) - 1, max_images).round().astype(int).tolist()
    unreadable: set[int] = set()

    def leave_out(i: int, error: Exception) -> None:
        if on_unreadable is None:
            raise error
        on_unreadable(chosen[i], error)
        unreadable.add(chosen[i])

    images = list(detect_batches(model, readable_examples(_Chosen(dataset, chosen), leave_out)))
    if not images:
        raise ValueError(f'none of {len(chosen)} images can be read ({name})')
    positions = [position for position in chosen if position not in unreadable]
    return DetectedImages(name, dataset, positions, [list(column) for column in zip(*images)])


def inspect_detector(
    test: DetectedImages,
    label_names: Sequence[str],
    others: Sequence[DetectedImages] = (),
    *,
    use_07_metric: bool = False,
) -> DetectorReport:
    """Return what a detector does well and badly, and which labels it contradicts.

    Parameters
    ----------
    test : DetectedImages
        Images that the detector was not trained on. They give the figures and the errors.
    label_names : sequence of str
        Names of all classes, in the order of the labels.
    others : sequence of DetectedImages
        Further images whose labels are searched, such as those of the training. The labels of
        ``test`` are always searched.
    use_07_metric : bool
        See :func:`chainer_ssd.eval_detection_voc`.

    Returns
    -------
    DetectorReport
        For :func:`write_detector_html`.

    Raises
    ------
    ValueError, TypeError
        As :func:`chainer_ssd.summarize_detections`.

    Examples
    --------
    >>> model = load_detector('result')                             # doctest: +SKIP
    >>> model.use_preset('evaluate')                                # doctest: +SKIP
    >>> test = detect_images_of(model, dataset)                     # doctest: +SKIP
    >>> report = inspect_detector(test, model.label_names)          # doctest: +SKIP
    >>> page = write_detector_html(report, model)                   # doctest: +SKIP
    """
    names = check_label_names(label_names)
    columns: Any = [*test.columns, None][: _N_COLUMN + 1]
    summary, curves = summarize_detections(*columns, label_names=names, use_07_metric=use_07_metric)
    missed, false_detections = find_detection_errors(
        *columns, n_class=len(names), score_thresh=best_score_thresholds(summary)
    )
    suspicious = []
    for images in (test, *others):
        arguments: Any = [*images.columns, None][: _N_COLUMN + 1]
        suspicious.append((images, find_suspicious_labels(*arguments)))
    return DetectorReport(names, test, summary, curves, missed, false_detections, suspicious)


class _Chosen(Sequence):
    """Some examples of a data set, read on access."""

    def __init__(self, dataset: Sequence[tuple], positions: Sequence[int]) -> None:
        self._dataset, self._positions = dataset, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, i: Any) -> Any:
        return self._dataset[self._positions[i]]
