"""The result of an inspection, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from chainer_ssd.images import printable_name
from chainer_ssd.inspection.class_checks import ClassCount
from chainer_ssd.inspection.coverage import Coverage
from chainer_ssd.inspection.finding import Finding
from chainer_ssd.inspection.kinds import ERROR, KINDS, NOTE, WARNING

_MAX_LISTED = 5  # findings of one kind in the text


class Report(NamedTuple):
    """The result of an inspection.

    Attributes
    ----------
    root : str
        The folder of the data set.
    n_train, n_test : int
        Number of images of each split.
    classes : list of ClassCount
        The classes in the order of their labels.
    findings : list of Finding
        The faults, errors first.
    coverage : Coverage
        How well the default boxes fit the training objects.
    sides : list of float
        Square root of each training object's area, in pixels of the model's input.
    model : str
        The model and its input size, in words.
    """

    root: str
    n_train: int
    n_test: int
    classes: list[ClassCount]
    findings: list[Finding]
    coverage: Coverage
    sides: list[float]
    model: str

    @property
    def is_fit(self) -> bool:
        """Whether the data set can be trained on: it has no error."""
        return not any(finding.level == ERROR for finding in self.findings)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Return the findings of each kind that occurs, errors first.

        Returns
        -------
        dict
            Lists of findings by kind.
        """
        result = {}
        for level in (ERROR, WARNING, NOTE):
            for kind, each in KINDS.items():
                found = [finding for finding in self.findings if finding.kind == kind]
                if found and each.level == level:
                    result[kind] = found
        return result

    def to_text(self) -> str:
        """Return the report as lines for a terminal.

        Returns
        -------
        str
            Several lines. No name in it holds a control character.
        """
        return '\n'.join(self._lines())

    def to_short_text(self) -> str:
        """Return one line with the numbers of errors and warnings, and the coverage.

        Returns
        -------
        str
            One line.
        """
        n_error, n_warning = (
            sum(finding.level == level for finding in self.findings) for level in (ERROR, WARNING)
        )
        return f'{n_error} errors, {n_warning} warnings. {describe_coverage(self.coverage)}'

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON.

        Returns
        -------
        dict
            Numbers, texts and lists. A figure that does not exist is None.
        """
        coverage = self.coverage
        return {
            'root': self.root,
            'is_fit': self.is_fit,
            'images': {'train': self.n_train, 'test': self.n_test},
            'classes': [count._asdict() for count in self.classes],
            'model': self.model,
            'coverage': {
                'objects': coverage.n_object,
                'fraction': None if math.isnan(coverage.fraction) else coverage.fraction,
                'best_box_scale': coverage.best_scale,
                'best_fraction': (
                    None if math.isnan(coverage.best_fraction) else coverage.best_fraction
                ),
                'fit_boxes_fraction': (
                    None if math.isnan(coverage.fit_fraction) else coverage.fit_fraction
                ),
                'unmatched': [
                    {'image': image, 'bbox': list(box)} for image, box in coverage.unmatched
                ],
            },
            'findings': [
                {'level': finding.level, **finding._asdict()} for finding in self.findings
            ],
        }

    def _lines(self) -> Iterator[str]:
        root = printable_name(self.root, 300)
        yield f'{root}: {self.n_train} training images, {self.n_test} test images'
        yield from describe_classes(self.classes)
        yield f'{self.model}: {describe_coverage(self.coverage)}'
        for kind, findings in self.by_kind().items():
            each = KINDS[kind]
            yield ''
            yield f'{each.level}: {kind}, {len(findings)}: {each.meaning}. {each.advice}'
            for finding in findings[:_MAX_LISTED]:
                yield f'  {finding.file}: {finding.text}'
            if len(findings) > _MAX_LISTED:
                yield f'  and {len(findings) - _MAX_LISTED} more'
        yield ''
        yield 'fit to train on' if self.is_fit else 'NOT fit to train on: mend the errors first'


def describe_classes(classes: Sequence[ClassCount]) -> Iterator[str]:
    """Yield one line for each class with its numbers."""
    for count in classes:
        text = f'  {printable_name(count.name)}: {count.n_train} training objects in '
        text += f'{count.n_image} images, {count.n_test} test objects'
        yield text + (f', {count.n_difficult} difficult' if count.n_difficult else '')


def describe_coverage(coverage: Coverage) -> str:
    """Return a sentence about the default boxes."""
    if not coverage.n_object:
        return 'no object to compare with the default boxes'
    text = f'default boxes can match {coverage.fraction:.1%} of {coverage.n_object} objects'
    if coverage.fitting_helps:
        text += f', and {coverage.fit_fraction:.1%} with --fit-boxes'
    elif coverage.helps:
        text += f', and {coverage.best_fraction:.1%} with --box-scale {coverage.best_scale:g}'
    return text
