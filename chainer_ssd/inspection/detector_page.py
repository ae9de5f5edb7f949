"""What a detector does well and badly, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chainer_ssd._options import check_integer
from chainer_ssd.evaluation import best_score_thresholds
from chainer_ssd.images import printable_name
from chainer_ssd.inspection._case_pictures import CasePictures, embedded_images
from chainer_ssd.inspection._case_sections import case_sections
from chainer_ssd.inspection._figure_sections import (
    ap_table,
    confusion_matrix,
    format_figure,
    precision_recall,
    training_curves,
)
from chainer_ssd.inspection._page_head import escape, page_head
from chainer_ssd.inspection.detector_report import DetectorReport

_MAX_TEXT_BYTES = 600_000  # of the page without its images
_NAME_LETTERS = 40

_STYLE = """
.legend { font-size: .8rem; color: var(--soft); } .legend span { margin-right: .8rem; }
.legend i { display: inline-block; width: .9rem; height: .25rem; margin: 0 .3rem .2rem 0; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
.matrix { width: auto; } .matrix td { text-align: right; padding: .3rem .6rem;
  background: rgb(var(--cell) / var(--a)); } .matrix th { padding: .3rem .6rem; }
.matrix th, .matrix td { border: 1px solid var(--line); }
.figures td:first-child { min-width: 5.5rem; }
.cases { display: grid; gap: .8rem; margin-top: .8rem; grid-auto-flow: row dense;
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
    cases = list(case_sections(report, names, pictures, max_pictures))
    shown = escape(printable_name(title, 400))
    parts = [
        page_head(f'Detector {shown}', _STYLE),
        f'<h1>Detector report</h1><p class="path">{shown}</p>',
        *_overview(report),
        *training_curves(log),
        *ap_table(report, names),
        precision_recall(report, names),
        *confusion_matrix(report, names),
        *embedded_images(pictures.embedded),
        *cases,
        '</body></html>',
    ]
    return '\n'.join(parts) + '\n'


def _overview(report: DetectorReport) -> Iterator[str]:
    summary = report.summary
    yield f'<p class="verdict note">mAP {format_figure(summary["map"], 4)}</p>'
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
