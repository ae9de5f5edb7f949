"""The figures of a detector on its page: curves, average precision, confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.inspection._line_chart import Curve, line_chart
from chainer_ssd.inspection._page_head import css_color, escape
from chainer_ssd.inspection.detector_report import DetectorReport

#: Classes with a row, with a curve, and in the matrix, and confusions of more classes.
_MAX_ROWS, _MAX_CURVES, _MAX_MATRIX, _MAX_CONFUSIONS = 200, 12, 25, 30
_MAX_OPACITY = 0.65  # of a cell, so that its number stays readable
_MAX_POINTS = 400  # of a curve
_LOSSES = ('main/loss', 'main/loss/loc', 'main/loss/conf')
_MEAN_AP = 'validation/main/map'


def training_curves(log: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the loss and the mAP over the iterations, or nothing without a log."""
    charts = []
    colors = ['var(--bar)', '#e69f00', '#009e73']
    losses = [_logged(log, key, color) for key, color in zip(_LOSSES, colors)]
    losses = [curve for curve in losses if curve.x]
    if losses:
        charts.append(line_chart(losses, 'iteration', 'loss'))
    mean_ap = _logged(log, _MEAN_AP, 'var(--bar)')
    if mean_ap.x:
        curve = mean_ap._replace(name='mAP of the test images')
        charts.append(line_chart([curve], 'iteration', 'mean average precision', 1))
    if charts:
        yield '<h2>Training</h2><div class="charts">'
        yield from charts
        yield '</div>'


def _logged(log: Sequence[Mapping[str, Any]], key: str, color: str) -> Curve:
    """Return a value of a log over the iterations. Entries of another form are left out."""
    points = [
        (entry['iteration'], entry[key])
        for entry in log
        if all(_is_number(entry.get(name)) for name in ('iteration', key))
    ]
    points = points[:: max(1, -(-len(points) // _MAX_POINTS))]
    return Curve(key, [x for x, _ in points], [y for _, y in points], color)


def ap_table(report: DetectorReport, names: Sequence[str]) -> Iterator[str]:
    """Yield the figures of each class."""
    summary = report.summary
    yield '<h2 id="ap">Average precision</h2><div class="scroll"><table class="figures">'
    yield '<tr><th>class</th>'
    columns = ['AP', 'objects', 'best F1', 'precision', 'recall', 'at score']
    areas = [area for area, each in summary['by_area'].items() if each['n_truth']]
    ious = list(summary['by_iou'])
    columns += [f'AP {area}' for area in areas] + [f'AP@{iou}' for iou in ious]
    for column in columns:
        yield f'<th class="number">{column}</th>'
    yield '</tr>'
    for name, (key, each) in list(zip(names, summary['classes'].items()))[:_MAX_ROWS]:
        best = each['best_f1'] or {}
        keys = 'f1', 'precision', 'recall', 'score_thresh'
        figures = [format_figure(each['ap'], 4), str(each['n_truth'])]
        figures += [format_figure(best.get(figure)) for figure in keys]
        figures += [format_figure(summary['by_area'][area]['ap'][key]) for area in areas]
        figures += [format_figure(summary['by_iou'][iou]['ap'][key]) for iou in ious]
        yield f'<tr><td>{escape(name)}</td>{number_cells(figures)}</tr>'
    means = [format_figure(summary['map'], 4), '', '', '', '', '']
    means += [format_figure(summary['by_area'][area]['map']) for area in areas]
    means += [format_figure(summary['by_iou'][iou]['map']) for iou in ious]
    yield f'<tr><td><b>mean</b></td>{number_cells(means)}</tr></table></div>'
    if len(names) > _MAX_ROWS:
        yield f'<p>and {len(names) - _MAX_ROWS} more classes</p>'
    yield '<p class="soft">small: up to 32² square pixels. medium: up to 96². large: beyond. '
    yield 'AP@0.3: at an IoU of 0.3, where inexact boxes count as found.</p>'
    if 'coco' in summary:
        figures = [f'{name} {format_figure(value)}' for name, value in summary['coco'].items()]
        yield f'<p>COCO: {escape(", ".join(figures))}</p>'


def precision_recall(report: DetectorReport, names: Sequence[str]) -> str:
    """Return the curves of the classes with most objects."""
    prec, rec = report.curves
    counts = [each['n_truth'] for each in report.summary['classes'].values()]
    drawn = [label for label, recall in enumerate(rec) if recall is not None and len(recall)]
    drawn = sorted(sorted(drawn, key=lambda label: -counts[label])[:_MAX_CURVES])
    curves = [
        Curve(names[label], *_sample(prec[label], rec[label]), css_color(label)) for label in drawn
    ]
    title = 'precision that is still reached at a recall or beyond'
    if len(drawn) < len(names):
        title += f', of the {len(drawn)} classes with most objects'
    return '<h2>Precision over recall</h2>' + line_chart(curves, 'recall', title, 1)


def _sample(prec: Any, rec: Any) -> tuple[Sequence[float], Sequence[float]]:
    """Return recalls in steps of 0.01, and the precision that is still reached at each."""
    reached: Array = np.maximum.accumulate(np.nan_to_num(prec)[::-1])[::-1]
    recall = np.arange(101) / 100
    at = np.searchsorted(rec, recall - 1e-9)
    precision = np.append(reached, 0)[at]
    n_reached = int(np.count_nonzero(at < len(rec)))
    end = min(n_reached + 1, len(recall))
    return recall[:end].tolist(), precision[:end].tolist()


def confusion_matrix(report: DetectorReport, names: Sequence[str]) -> Iterator[str]:
    """Yield the confusion matrix, or the most frequent confusions of many classes."""
    yield '<h2 id="confusion">Confusion matrix</h2>'
    confusion = report.summary['confusion_matrix']
    if confusion is None:
        yield '<p>Too many classes.</p>'
        return
    matrix = np.array(confusion['matrix'])
    all_names = [*names, 'background']
    if len(names) > _MAX_MATRIX:
        yield '<p>The most frequent confusions of two classes:</p><div class="scroll"><table>'
        yield '<tr><th>label</th><th>detected as</th><th class="number">number</th></tr>'
        pairs = matrix[:-1, :-1].copy()
        np.fill_diagonal(pairs, 0)
        for flat in np.argsort(-pairs, axis=None, kind='stable')[:_MAX_CONFUSIONS].tolist():
            truth, found = divmod(flat, len(names))
            if not pairs[truth, found]:
                break
            yield f'<tr><td>{escape(names[truth])}</td><td>{escape(names[found])}</td>'
            yield f'<td class="number">{pairs[truth, found]}</td></tr>'
        yield '</table></div>'
        return
    yield '<div class="scroll"><table class="matrix"><tr><th>label \\ detected as</th>'
    yield ''.join(f'<th>{escape(name)}</th>' for name in all_names) + '</tr>'
    sums = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for name, row, fractions in zip(all_names, matrix.tolist(), (matrix / sums).tolist()):
        yield f'<tr><th>{escape(name)}</th>'
        for count, fraction in zip(row, fractions):
            yield f'<td style="--a:{_MAX_OPACITY * fraction:.2f}">{count or ""}</td>'
        yield '</tr>'
    yield '</table></div><p class="soft">Row: the label. Column: the detection, at the score of'
    yield 'each class with the best F1. Last column: missed. Last row: false detections.</p>'


def number_cells(texts: Sequence[str]) -> str:
    """Return cells of a table that hold numbers."""
    return ''.join(f'<td class="number">{text}</td>' for text in texts)


def format_figure(value: float | None, n_digit: int = 3) -> str:
    """Return a figure, or a dash where there is none."""
    return '-' if value is None else f'{value:.{n_digit}f}'


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
