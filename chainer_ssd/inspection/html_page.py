"""The result of an inspection as one self-contained HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence

import numpy as np

from chainer_ssd.images import encode_jpeg, printable_name, read_image, resize_image
from chainer_ssd.inspection._page_head import escape, page_head
from chainer_ssd.inspection.class_checks import ClassCount
from chainer_ssd.inspection.finding import Finding
from chainer_ssd.inspection.kinds import KINDS
from chainer_ssd.inspection.report import Report, describe_coverage
from chainer_ssd.visualizations import draw_bbox

_SIDE = 320  # of a picture, in pixels
_MIN_HALF_SIDE = 4  # of a box without area, in pixels of the picture
_MAX_ROWS = 200  # of one kind of finding
_N_BAR = 12


def write_html(report: Report, max_pictures: int = 24) -> str:
    """Return the report as an HTML page without any other file.

    Parameters
    ----------
    report : Report
        What :func:`inspect_voc` returns.
    max_pictures : int
        Largest number of pictures of faulty images. Default: 24. Lower it for a smaller page.

    Returns
    -------
    str
        The page. All names in it are escaped.
    """
    return '\n'.join(_lines(report, max_pictures)) + '\n'


def _lines(report: Report, max_pictures: int) -> Iterator[str]:
    root = escape(printable_name(report.root, 400))
    yield page_head(f'Data set {root}')
    yield f'<h1>Data set inspection</h1><p class="path">{root}</p>'
    verdict = 'Fit to train on' if report.is_fit else 'Not fit to train on: mend the errors first'
    yield f'<p class="verdict {"fit" if report.is_fit else "unfit"}">{verdict}</p>'
    yield f'<p>{report.n_train} training images, {report.n_test} test images.</p>'
    yield from _summary(report)
    yield '<h2>Classes</h2>'
    yield _class_chart(report.classes)
    yield '<h2>Sizes of the objects and default boxes</h2>'
    yield f'<p>{escape(report.model)}: {escape(describe_coverage(report.coverage))}.</p>'
    yield _size_chart(report.sides)
    pictures = list(_pictures(report, max_pictures))
    if pictures:
        yield '<h2>Pictures of faults</h2><div class="pictures">'
        yield from pictures
        yield '</div>'
    yield '<h2>All findings</h2>'
    for kind, findings in report.by_kind().items():
        yield from _table(kind, findings)
    if not report.findings:
        yield '<p>None.</p>'
    yield '</body></html>'


def _summary(report: Report) -> Iterator[str]:
    found = report.by_kind()
    if not found:
        return
    yield '<h2>Findings</h2><div class="scroll"><table><tr><th>level</th><th>finding</th>'
    yield '<th class="number">number</th><th>what to do</th></tr>'
    for kind, findings in found.items():
        each = KINDS[kind]
        yield f'<tr><td>{_level(kind)}</td><td>{kind}: {escape(each.meaning)}</td>'
        yield f'<td class="number">{len(findings)}</td><td>{escape(each.advice)}</td></tr>'
    yield '</table></div>'


def _table(kind: str, findings: Sequence[Finding]) -> Iterator[str]:
    yield f'<h3>{_level(kind)} {kind} ({len(findings)})</h3><div class="scroll"><table>'
    for finding in findings[:_MAX_ROWS]:
        yield f'<tr><td>{escape(finding.file)}</td><td>{escape(finding.text)}</td></tr>'
    yield '</table></div>'
    if len(findings) > _MAX_ROWS:
        yield f'<p>and {len(findings) - _MAX_ROWS} more</p>'


def _pictures(report: Report, max_pictures: int) -> Iterator[str]:
    """Yield figures, in turn of each kind, and then of objects that cannot be matched."""
    queues: list[list[tuple[str, str, Sequence[float] | None]]] = [
        [(f'{kind}: {finding.text}', finding.image, finding.box) for finding in findings]
        for kind, findings in report.by_kind().items()
        if kind not in ('unreadable image', 'image without objects')
    ]
    lost: list[tuple[str, str, Sequence[float] | None]] = [
        ('no default box matches', image, box) for image, box in report.coverage.unmatched
    ]
    queues = [[each for each in queue if each[1]] for queue in (*queues, lost)]
    n_picture = 0
    while n_picture < max_pictures and any(queues):
        for queue in queues:
            if not queue or n_picture == max_pictures:
                continue
            caption, file, box = queue.pop(0)
            data = _thumbnail(file, box)
            if data is None:
                continue
            n_picture += 1
            yield f'<figure><img alt="{escape(caption)}" src="data:image/jpeg;base64,{data}">'
            name = escape(printable_name(file, 400))
            yield f'<figcaption>{name}<br>{escape(caption)}</figcaption></figure>'


def _thumbnail(file: str, box: Sequence[float] | None) -> str | None:
    """Return a small picture as base64, or None if the image cannot be read."""
    try:
        img = read_image(file, dtype=np.uint8)
    except (MemoryError, OSError, ValueError):
        return None
    zoom = min(1, _SIDE / max(img.shape[1:]))
    height, width = (max(1, round(side * zoom)) for side in img.shape[1:])
    img = resize_image(img, (height, width))
    if box is not None:
        y_min, x_min, y_max, x_max = np.array(box) * zoom
        corners = np.sort([(y_min, x_min), (y_max, x_max)], axis=0)  # a box may be inverted
        grown = corners + [[-_MIN_HALF_SIDE], [_MIN_HALF_SIDE]] * (corners[0] == corners[1])
        img = draw_bbox(img, [grown.ravel()])
    return base64.b64encode(encode_jpeg(img)).decode()


def _class_chart(classes: Sequence[ClassCount]) -> str:
    rows = classes[:60]
    largest = max([count.n_train for count in rows], default=0) or 1
    out = io.StringIO()
    out.write(f'<svg viewBox="0 0 640 {24 * len(rows) + 4}" role="img" aria-label="class balance">')
    for i, count in enumerate(rows):
        y, width = 24 * i, 360 * count.n_train / largest
        name = printable_name(count.name, 24)
        out.write(f'<text x="0" y="{y + 16}" font-size="13">{escape(name)}</text>')
        out.write(f'<rect x="190" y="{y + 4}" width="{width:.1f}" height="15" fill="#4a7ab5"/>')
        out.write(
            f'<text x="{196 + width:.1f}" y="{y + 16}" font-size="12" fill="#555">'
            f'{count.n_train}</text>'
        )
    out.write('</svg>')
    if len(classes) > len(rows):
        out.write(f'<p>and {len(classes) - len(rows)} more classes</p>')
    return out.getvalue()


def _size_chart(sides: Sequence[float]) -> str:
    """Return a histogram of object sizes on a logarithmic axis."""
    if not sides:
        return '<p>No object.</p>'
    edges = np.geomspace(4, 1024, _N_BAR + 1)
    counts, _ = np.histogram(np.clip(sides, edges[0], edges[-1] * 0.999), edges)
    out = io.StringIO()
    out.write('<svg viewBox="0 0 640 200" role="img" aria-label="sizes of objects">')
    for i, count in enumerate(counts.tolist()):
        x, height = 20 + 50 * i, 140 * count / max(counts.max(), 1)
        out.write(
            f'<rect x="{x}" y="{160 - height:.1f}" width="46" height="{height:.1f}" '
            f'fill="#6aa06a"/><text x="{x + 23}" y="{155 - height:.1f}" font-size="11" '
            f'text-anchor="middle" fill="#555">{count or ""}</text>'
            f'<text x="{x}" y="176" font-size="11" text-anchor="middle">{edges[i]:.0f}</text>'
        )
    out.write('<text x="320" y="195" font-size="12" text-anchor="middle" fill="#555">')
    out.write('square root of the area, in pixels of the input</text></svg>')
    return out.getvalue()


def _level(kind: str) -> str:
    level = KINDS[kind].level
    return f'<span class="level {level}">{level}</span>'
