"""What a detector does well and badly, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_integer
from chainer_ssd.evaluation import best_score_thresholds
from chainer_ssd.images import printable_name
from chainer_ssd.inspection._case_pictures import Case, CasePictures, embedded_images
from chainer_ssd.inspection._line_chart import Curve, line_chart
from chainer_ssd.inspection._page_head import css_color, escape, page_head
from chainer_ssd.inspection.detector_report import DetectorReport

_MAX_ROWS, _MAX_CURVES, _MAX_MATRIX, _MAX_CONFUSIONS = 200, 12, 25, 30
_MAX_OPACITY = 0.65  # of a cell, so that its number stays readable
_MAX_POINTS = 400  # of a curve
_MAX_TEXT_BYTES = 600_000  # of the page without its images
_NAME_LETTERS = 40
_MIN_IOU = 0.05  # that is worth a remark
_LOSSES = ('main/loss', 'main/loss/loc', 'main/loss/conf')
_MEAN_AP = 'validation/main/map'
_KINDS = {
    'missing label': 'a confident detection where no label is',
    'swapped class': 'a confident detection of another class',
    'repeated label': 'two labels on one object',
    'denied label': 'nothing is detected, whatever the score',
}

_STYLE = """
.legend { font-size: .8rem; color: var(--soft); } .legend span { margin-right: .8rem; }
.legend i { display: inline-block; width: .9rem; height: .25rem; margin: 0 .3rem .2rem 0; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
.matrix { width: auto; } .matrix td { text-align: right; padding: .3rem .6rem;
  background: rgb(var(--cell) / var(--a)); } .matrix th { padding: .3rem .6rem; }
.matrix th, .matrix td { border: 1px solid var(--line); }
.figures td:first-child { min-width: 5.5rem; }
.cases { display: grid; gap: .8rem; grid-auto-flow: row dense;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
.case[open] { grid-column: 1 / -1; border-top: 2px solid var(--line);
  border-bottom: 2px solid var(--line); padding: .6rem 0; }
.case summary { cursor: pointer; list-style: none; font-size: .8rem; color: var(--soft);
  overflow-wrap: anywhere; } .case summary::-webkit-details-marker { display: none; }
.case summary svg { display: block; border-radius: .3rem;
  background: var(--panel); }
.case[open] summary svg { max-width: 12rem; }
.case summary:focus-visible { outline: 2px solid var(--bar); }
.views { display: grid; gap: .8rem; margin-top: .6rem;
  grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
.views svg { display: block; border-radius: .3rem; background: var(--panel); }
.store { position: absolute; width: 0; height: 0; }
rect.box, rect.focus, rect.halo, path.matched { fill: none; vector-effect: non-scaling-stroke; }
rect.box { stroke-width: 2; } rect.focus { stroke-width: 2.5; } rect.halo { stroke-width: 5; }
path.matched { stroke-width: 1.5; } path.other { opacity: .3; }
svg text.name { fill: #fff; stroke: #000; stroke-width: .2em;
  paint-order: stroke; }
nav { font-size: .9rem; margin: .6rem 0; } nav a { margin-right: .9rem; color: var(--bar); }
"""


def write_detector_html(
    report: DetectorReport,
    model: Any = None,
    *,
    title: str = 'Detector',
    log: Sequence[Mapping[str, Any]] = (),
    max_pictures: int = 72,
    max_bytes: int = 3_000_000,
) -> str:
    """Return a report on a detector as an HTML page without any other file.

    The page has the curves of the training, the average precision of each class, precision over
    recall, the confusion matrix, the missed ground truths that cost most, the surest false
    detections, and suspicious labels. A thumbnail opens three pictures: the labels, the
    detections, and the default boxes that are matched to the labels. The page has no script, and
    loads nothing.

    Parameters
    ----------
    report : DetectorReport
        What :func:`inspect_detector` returns.
    model : SSD, optional
        The detector. Without it, the pictures of default boxes are left out.
    title : str
        Heading of the page, for example the folder of the detector.
    log : sequence of mappings
        Entries of Chainer's ``LogReport``: the file ``log`` of a training. Without any, the page
        has no curves of the training.
    max_pictures : int
        Largest number of thumbnails. Default: 72. Lower it for a smaller page.
    max_bytes : int
        Largest size of the page. Pictures that find no place are left out. At least 1,000,000.

    Returns
    -------
    str
        The page. All names in it are escaped. The same report gives the same page.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If a number is not an integer.
    ImportError
        If Pillow or OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """
    check_integer('max_pictures', max_pictures)
    check_integer('max_bytes', max_bytes, 1_000_000)
    names = [printable_name(name, _NAME_LETTERS) for name in report.label_names]
    pictures = CasePictures(
        names, best_score_thresholds(report.summary), model, max_bytes - _MAX_TEXT_BYTES
    )
    cases = list(_case_sections(report, names, pictures, max_pictures))
    shown = escape(printable_name(title, 400))
    parts = [
        page_head(f'Detector {shown}', _STYLE),
        f'<h1>Detector report</h1><p class="path">{shown}</p>',
        *_overview(report),
        *_training_curves(log),
        *_ap_table(report, names),
        _curves(report, names),
        *_confusion(report, names),
        *embedded_images(pictures.embedded),
        *cases,
        '</body></html>',
    ]
    return '\n'.join(parts) + '\n'


def _overview(report: DetectorReport) -> Iterator[str]:
    summary = report.summary
    yield f'<p class="verdict note">mAP {_figure(summary["map"], 4)}</p>'
    metric = ', at the 11 recalls of VOC 2007' if summary['use_07_metric'] else ''
    name = escape(printable_name(report.test.name, _NAME_LETTERS))
    yield f'<p>{summary["n_image"]} images ({name}), at an IoU of 0.5{metric}.'
    yield f'{len(report.missed)} objects are missed and {len(report.false_detections)} detections'
    yield 'are false, at the score of each class with the best F1.</p>'
    links = {
        'ap': 'Average precision',
        'confusion': 'Confusion matrix',
        'missed': 'Missed objects',
        'false': 'False detections',
        'suspicious': 'Suspicious labels',
    }
    yield '<nav>' + ''.join(f'<a href="#{key}">{text}</a>' for key, text in links.items())
    yield '</nav>'


def _training_curves(log: Sequence[Mapping[str, Any]]) -> Iterator[str]:
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


def _ap_table(report: DetectorReport, names: Sequence[str]) -> Iterator[str]:
    summary = report.summary
    yield '<h2 id="ap">Average precision</h2><div class="scroll"><table class="figures">'
    yield '<tr><th>class</th>'
    columns = 'AP', 'objects', 'best F1', 'precision', 'recall', 'at score'
    areas = [area for area, each in summary['by_area'].items() if each['n_truth']]
    for column in (*columns, *(f'AP {area}' for area in areas)):
        yield f'<th class="number">{column}</th>'
    yield '</tr>'
    for name, (key, each) in list(zip(names, summary['classes'].items()))[:_MAX_ROWS]:
        best = each['best_f1'] or {}
        keys = 'f1', 'precision', 'recall', 'score_thresh'
        figures = [_figure(each['ap'], 4), str(each['n_truth'])]
        figures += [_figure(best.get(figure)) for figure in keys]
        figures += [_figure(summary['by_area'][area]['ap'][key]) for area in areas]
        yield f'<tr><td>{escape(name)}</td>{_number_cells(figures)}</tr>'
    means = [_figure(summary['map'], 4), '', '', '', '', '']
    means += [_figure(summary['by_area'][area]['map']) for area in areas]
    yield f'<tr><td><b>mean</b></td>{_number_cells(means)}</tr></table></div>'
    if len(names) > _MAX_ROWS:
        yield f'<p>and {len(names) - _MAX_ROWS} more classes</p>'
    yield '<p class="soft">small: up to 32² square pixels. medium: up to 96². large: beyond.</p>'
    if 'coco' in summary:
        figures = [f'{name} {_figure(value)}' for name, value in summary['coco'].items()]
        yield f'<p>COCO: {escape(", ".join(figures))}</p>'


def _curves(report: DetectorReport, names: Sequence[str]) -> str:
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


def _confusion(report: DetectorReport, names: Sequence[str]) -> Iterator[str]:
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


def _case_sections(
    report: DetectorReport, names: Sequence[str], pictures: CasePictures, max_pictures: int
) -> Iterator[str]:
    n_suspicious = sum(len(found) for _, found in report.suspicious)
    third = max_pictures // 3
    cards = [_draw(pictures, _suspicious_cases(report, names), max_pictures - 2 * third)]
    cards.insert(0, _draw(pictures, _false_cases(report, names), third))
    cards.insert(0, _draw(pictures, _missed_cases(report, names), third))
    headings = (
        ('missed', 'Missed objects that cost most', len(report.missed)),
        ('false', 'Surest false detections', len(report.false_detections)),
        ('suspicious', 'Suspicious labels', n_suspicious),
    )
    notes = (
        'A class with few objects loses more average precision by each. The mAP rises by at most '
        'the figure if the object is found.',
        'By falling score. The reason of each is the first that fits.',
        'Labels that the detector contradicts. They are not always wrong. Look at each.',
    )
    for (key, heading, n_all), note, drawn in zip(headings, notes, cards):
        yield f'<h2 id="{key}">{heading}</h2>'
        yield f'<p class="soft">{note} {len(drawn)} of {n_all} are shown.</p>'
        if key == 'suspicious':
            yield from _suspicious_counts(report)
        yield '<div class="cases">'
        yield from drawn
        yield '</div>'


def _draw(pictures: CasePictures, cases: Iterator[Case], n_max: int) -> list[str]:
    drawn: list[str] = []
    n_failed = 0
    for case in cases:
        if len(drawn) == n_max or n_failed > n_max:
            break
        card = pictures.draw(case)
        if card is None:
            n_failed += 1
        else:
            drawn.append(card)
    return drawn


def _missed_cases(report: DetectorReport, names: Sequence[str]) -> Iterator[Case]:
    for each in report.missed:
        text = f'{names[each.label]}: {each.map_cost:.4f} of mAP'
        if each.other_label is not None:
            text += f', taken for {names[each.other_label]}'
        elif each.iou >= _MIN_IOU:
            text += f', largest IoU {each.iou:.2f}'
        yield Case(report.test, each.image, each.bbox, each.label, True, text)


def _false_cases(report: DetectorReport, names: Sequence[str]) -> Iterator[Case]:
    for each in report.false_detections:
        text = f'{names[each.label]} {each.score:.2f}: {each.kind}'
        if each.other_label is not None:
            text += f', is {names[each.other_label]}'
        yield Case(report.test, each.image, each.bbox, each.label, False, text)


def _suspicious_cases(report: DetectorReport, names: Sequence[str]) -> Iterator[Case]:
    """Yield the most suspicious labels of each kind in turn."""
    queues: list[list[Case]] = []
    for kind in _KINDS:
        found = [
            (images, each)
            for images, labels in report.suspicious
            for each in labels
            if each.kind == kind
        ]
        found.sort(key=lambda pair: -pair[1].suspicion)
        queue = []
        for images, each in found:
            text = f'{kind}: {names[each.label]}'
            if each.other_label is not None:
                relation = 'detected as' if kind == 'swapped class' else 'beside'
                text += f', {relation} {names[each.other_label]}'
            text += f', {each.suspicion:.2f} ({printable_name(images.name, _NAME_LETTERS)})'
            is_ground_truth = each.row is not None
            queue.append(Case(images, each.image, each.bbox, each.label, is_ground_truth, text))
        queues.append(queue[::-1])
    while any(queues):
        for queue in queues:
            if queue:
                yield queue.pop()


def _suspicious_counts(report: DetectorReport) -> Iterator[str]:
    yield '<div class="scroll"><table><tr><th>kind</th><th>meaning</th>'
    for images, _ in report.suspicious:
        yield f'<th class="number">{escape(printable_name(images.name, _NAME_LETTERS))}</th>'
    yield '</tr>'
    for kind, meaning in _KINDS.items():
        counts = [sum(each.kind == kind for each in found) for _, found in report.suspicious]
        cells = _number_cells([str(count) for count in counts])
        yield f'<tr><td>{kind}</td><td>{meaning}</td>{cells}</tr>'
    yield '</table></div>'


def _number_cells(texts: Sequence[str]) -> str:
    return ''.join(f'<td class="number">{text}</td>' for text in texts)


def _figure(value: float | None, n_digit: int = 3) -> str:
    return '-' if value is None else f'{value:.{n_digit}f}'


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
