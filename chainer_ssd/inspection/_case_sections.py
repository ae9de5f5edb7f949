"""Errors and suspicious labels on the page of a detector, each with its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chainer_ssd.images import printable_name
from chainer_ssd.inspection._case_pictures import Case, CasePictures
from chainer_ssd.inspection._figure_sections import number_cells
from chainer_ssd.inspection._page_head import css_color, escape
from chainer_ssd.inspection.detector_report import DetectorReport

_MIN_IOU = 0.05  # that is worth a remark
_MAX_COLORS = 25
_NAME_LETTERS = 40
_KINDS = {
    'missing label': 'a confident detection where no label is',
    'swapped class': 'a confident detection of another class',
    'repeated label': 'two labels on one object',
    'denied label': 'nothing is detected, whatever the score',
}


def case_sections(
    report: DetectorReport, names: Sequence[str], pictures: CasePictures, max_pictures: int
) -> Iterator[str]:
    """Yield the missed objects, the false detections and the suspicious labels.

    The suspicious labels get their pictures first, because no other page shows them.
    """
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
        if drawn:
            yield _class_legend(names)
        yield '<div class="cases">'
        yield from drawn
        yield '</div>'


def _class_legend(names: Sequence[str]) -> str:
    """Return the colours of the boxes in the pictures."""
    out = ['<p class="legend">']
    for label, name in enumerate(names[:_MAX_COLORS]):
        out.append(f'<span><i style="background:{css_color(label)}"></i>{escape(name)}</span> ')
    return ''.join([*out, '</p>'])


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
        cells = number_cells([str(count) for count in counts])
        yield f'<tr><td>{kind}</td><td>{meaning}</td>{cells}</tr>'
    yield '</table></div>'
