"""Base class of the extensions that measure a detector."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np
from chainer.training.extensions import Evaluator

from chainer_ssd._options import check_label_names
from chainer_ssd.distributed import Communicator, from_rank_0, raise_together
from chainer_ssd.evaluation import (
    check_dataset,
    check_single_pass,
    detect_batches,
    detect_dataset,
)
from chainer_ssd.extensions._class_keys import class_keys

_N_DETECTION_COLUMN = 3  # bbox, label and score


class BoxEvaluator(Evaluator):
    """Trainer extension that detects in all images of a data set and reports figures.

    A subclass computes the figures in ``_compute``. All arguments are checked at construction,
    before anything is predicted.
    """

    #: Example of the data set, by the number of its columns.
    example_columns: dict[int, str]
    #: Key of the mean over the classes.
    mean_key: str

    def __init__(
        self,
        iterator: Any,
        target: chainer.Link,
        label_names: Sequence[str] | None,
        comm: Communicator | None,
    ) -> None:
        self.label_names = None if label_names is None else check_label_names(label_names)
        self.class_keys = class_keys(self.label_names or ())
        self.comm = comm
        self._has_warned = False
        super().__init__(self._check_iterator(iterator), target)
        main = self._targets.get('main') if isinstance(self._targets, dict) else self._targets
        if not callable(getattr(main, 'predict', None)):
            raise TypeError(
                f'target is of type {type(main).__name__}: expected a link with a method '
                'predict(imgs)'
            )

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

        Warns
        -----
        UserWarning
            Once, if there is no ground truth that counts. The mean is then NaN.
        """
        target = self.get_target('main')
        columns: Any
        if self.comm is not None:
            iterator = self._iterators.get('main')
            columns = detect_dataset(
                target, None if iterator is None else iterator.dataset, self.comm
            )
        else:
            iterator = self._iterators['main']
            if hasattr(iterator, 'reset'):
                iterator.reset()
            else:
                iterator = copy.copy(iterator)
            images: list[tuple] = []
            for image in detect_batches(target, iterator):
                self._check_columns(len(image))
                self._check_names_of(len(images), image[_N_DETECTION_COLUMN + 1])
                images.append(image)
            self._check_number_of_images(len(images))
            columns = list(zip(*images))
        report = self._report(columns) if self.comm is None else self._report_of_rank_0(columns)
        observation: dict[str, float] = {}
        with chainer.reporter.report_scope(observation):
            chainer.report(report, target)
        return observation

    def _compute(self, columns: Any) -> dict[str, Any]:
        """Return the figures to report. A figure of each class is an array, not a number."""
        raise NotImplementedError

    def _report(self, columns: Any) -> dict[str, float]:
        self._check_columns(len(columns))
        report: dict[str, float] = {}
        for key, figure in self._compute(columns).items():
            if not getattr(figure, 'ndim', 0):
                report[key] = figure
                continue
            if self.label_names is None:
                continue
            if len(figure) > len(self.label_names):
                raise ValueError(
                    f'label {len(figure) - 1} occurs: expected one of the '
                    f'{len(self.label_names)} label_names'
                )
            values = dict(enumerate(figure.tolist()))
            for label, name in enumerate(self.class_keys):
                report[f'{key}/{name}'] = values.get(label, math.nan)
        if math.isnan(report[self.mean_key]) and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f'{self.mean_key} is NaN: none of {len(columns[0])} images has a ground truth that '
                'counts. Without objects, or with difficult ones only, a detector cannot be '
                'measured',
                stacklevel=4,
            )
        return report

    def _report_of_rank_0(self, columns: Any) -> dict[str, float]:
        report, error = None, None
        try:
            if columns is not None and len(columns[0]):
                report = self._report(columns)
        except Exception as raised:
            error = raised
        raise_together(self.comm, error)
        report = from_rank_0(self.comm, report)
        self._check_number_of_images(0 if report is None else 1)
        return report

    def _check_number_of_images(self, n_image: int) -> None:
        if not n_image:
            raise ValueError(
                f'{type(self).__name__}: the data set holds no image, so the detector cannot be '
                'measured. Expected one image or more'
            )

    def _check_columns(self, n_column: int) -> None:
        n_column -= _N_DETECTION_COLUMN - 1  # the image is replaced by its detections
        if n_column not in self.example_columns:
            raise ValueError(
                f'examples have {n_column} columns: expected '
                + ' or '.join(self.example_columns.values())
            )

    def _check_names_of(self, i: int, label: Any) -> None:
        """Raise at the first image with a label that has no name, not after the last one."""
        label = np.asarray(label)
        if self.label_names is None or not label.size or label.dtype.kind not in 'iu':
            return
        if label.max() >= len(self.label_names):
            raise ValueError(
                f'label {label.max()} occurs in image {i}: expected one of the '
                f'{len(self.label_names)} label_names'
            )

    def _check_iterator(self, iterator: Any) -> dict[str, Any]:
        if iterator is None:
            if self.comm is None or not self.comm.rank:
                raise ValueError('iterator is None: expected an iterator, on rank 0 at least')
            return {}
        iterators = iterator if isinstance(iterator, dict) else {'main': iterator}
        main = iterators.get('main')
        if not isinstance(main, chainer.dataset.Iterator):
            raise TypeError(
                f'iterator is of type {type(main).__name__}: expected a Chainer iterator, for '
                'example SerialIterator(dataset, 1, repeat=False, shuffle=False)'
            )
        check_single_pass(main)
        dataset: Any = getattr(main, 'dataset', None)
        if self.comm is not None:  # the ranks test the number of images together, in evaluate
            check_dataset(dataset, 'iterator.dataset')
        elif hasattr(dataset, '__len__'):
            self._check_number_of_images(len(dataset))
        return iterators
