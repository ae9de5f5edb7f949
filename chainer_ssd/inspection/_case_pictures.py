"""Pictures of errors and suspicious labels: each image once, boxes as SVG above it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.images import encode_jpeg, resize_image, round_to_uint8
from chainer_ssd.inspection._page_head import css_color, escape
from chainer_ssd.inspection.detector_report import DetectedImages
from chainer_ssd.ops import center_to_corner, match

_SIDE, _QUALITY = 448, 75  # of an embedded image: longer side in pixels, JPEG
_MIN_FOCUS = 24  # pixels of an embedded image. A smaller box gets a part of its image.
_PART_SIDES, _THUMBNAIL_SIDES = 8, 2.2  # sides of the focus that a part and a thumbnail hold
_THUMBNAIL_RATIO = 4 / 3
_MAX_BOXES, _MAX_CAPTIONS, _MAX_MATCHED = 100, 12, 150
_IOU_THRESH = 0.5  # of the matching


class Case(NamedTuple):
    """What one card of the page shows."""

    images: DetectedImages
    image: int
    bbox: tuple[float, ...]
    label: int
    is_ground_truth: bool
    caption: str  # not escaped


class Window(NamedTuple):
    """A part of an image that is embedded, in pixels of the image."""

    key: str
    size: tuple[int, int]  # (H, W) of the whole image
    left: float
    top: float
    width: float
    height: float


class CasePictures:
    """Draws cases, and embeds each image or part of one only once.

    Parameters
    ----------
    label_names : sequence of str
        Names of the classes, printable.
    score_thresh : sequence of float
        Score of each class from which on a detection is drawn.
    model : SSD, optional
        Its default boxes are drawn too.
    max_bytes : int
        Largest size of all embedded images.

    Attributes
    ----------
    embedded : list of str
        SVG elements that the page must hold, one for each image.
    """

    def __init__(
        self,
        label_names: Sequence[str],
        score_thresh: Sequence[float],
        model: Any,
        max_bytes: int,
    ) -> None:
        self.embedded: list[str] = []
        self._names, self._score_thresh = label_names, np.array(score_thresh)
        self._model, self._n_left = model, max_bytes
        self._keys: dict[tuple[int, int], str] = {}
        self._windows: dict[str, Window] = {}

    def draw(self, case: Case) -> str | None:
        """Return a card, or None if its image cannot be read or the page is full."""
        window = self._embed(case)
        if window is None:
            return None
        views = [
            ('labels', self._ground_truths(case, window)),
            ('detections', self._detections(case, window)),
        ]
        if self._model is not None:
            views.append(self._matched(case, window.size))
        out = io.StringIO()
        caption = escape(case.caption)
        out.write('<details class="case"><summary>')
        out.write(_svg(window, _thumbnail_box(case.bbox, window), _focus(case), caption))
        out.write(f'<span>{caption}</span></summary><div class="views">')
        whole = window.left, window.top, window.width, window.height
        for title, content in views:
            out.write('<figure>')
            out.write(_svg(window, whole, content + _focus(case), title))
            out.write(f'<figcaption>{escape(title)}</figcaption></figure>')
        out.write(f'</div><p class="path">{escape(case.images.describe(case.image))}</p></details>')
        return out.getvalue()

    def _embed(self, case: Case) -> Window | None:
        """Return the window of a case, with its pixels on the page."""
        key = self._keys.setdefault((id(case.images), case.image), f'i{len(self._keys)}')
        if key in self._windows and _is_large(case.bbox, self._windows[key]):
            return self._windows[key]
        part_key = key + ''.join(f'-{side:.0f}' for side in case.bbox)
        if part_key in self._windows:
            return self._windows[part_key]
        try:
            img = np.asarray(case.images.dataset[case.images.positions[case.image]][0])
        except (MemoryError, OSError, ValueError):
            return None
        height, width = img.shape[1:]
        window = Window(key, (height, width), 0, 0, width, height)
        if not _is_large(case.bbox, window):
            window = _cut_out(case.bbox, window, part_key)
        top, left = int(window.top), int(window.left)
        img = img[:, top : top + int(window.height), left : left + int(window.width)]
        zoom = min(1, _SIDE / max(img.shape[1:]))
        shape = tuple(max(1, round(side * zoom)) for side in img.shape[1:])
        pixels = round_to_uint8(resize_image(img.astype(np.float32), shape))
        data = base64.b64encode(encode_jpeg(pixels, _QUALITY)).decode()
        if len(data) > self._n_left:
            return None
        self._n_left -= len(data)
        self.embedded.append(
            f'<image id="{window.key}" x="{window.left:g}" y="{window.top:g}" '
            f'width="{window.width:g}" height="{window.height:g}" preserveAspectRatio="none" '
            f'href="data:image/jpeg;base64,{data}"/>'
        )
        self._windows[window.key] = window
        return window

    def _ground_truths(self, case: Case, window: Window) -> str:
        bbox, label = (column[case.image] for column in case.images.columns[3:5])
        return self._boxes(window, bbox, label, None)

    def _detections(self, case: Case, window: Window) -> str:
        bbox, label, score = (column[case.image] for column in case.images.columns[:3])
        rows = np.flatnonzero(score >= self._score_thresh[label])
        rows = rows[np.argsort(-score[rows], kind='stable')]
        return self._boxes(window, bbox[rows], label[rows], score[rows])

    def _boxes(self, window: Window, bbox: Array, label: Array, score: Array | None) -> str:
        out = io.StringIO()
        height = max(window.width, window.height) / 26  # of letters
        for row, box in enumerate(bbox[:_MAX_BOXES].tolist()):
            name = self._names[int(label[row])]
            text = name if score is None else f'{name} {score[row]:.2f}'
            out.write(f'<g><title>{escape(text)}</title>')
            out.write(f'{_rect(box, css_color(int(label[row])))}</g>')
            if len(bbox) <= _MAX_CAPTIONS:
                y = box[0] - height * 0.3 if box[0] > 1.3 * height else box[0] + height
                out.write(
                    f'<text class="name" x="{box[1]:.1f}" y="{y:.1f}" '
                    f'font-size="{height:.1f}">{escape(text)}</text>'
                )
        return out.getvalue()

    def _matched(self, case: Case, size: tuple[int, ...]) -> tuple[str, str]:
        """Return a title, and the default boxes that are matched to each ground truth."""
        default_bbox = np.asarray(self._model.coder.default_bbox)
        bbox = np.asarray(case.images.columns[3][case.image], np.float32)
        scale = np.array(size * 2, np.float32) / self._model.insize
        index = match(default_bbox, bbox / scale, _IOU_THRESH)
        corners = center_to_corner(default_bbox) * scale
        out, n_left = io.StringIO(), _MAX_MATCHED
        distance = np.abs(bbox - np.array(case.bbox)).sum(axis=1)
        nearest = int(distance.argmin()) if len(distance) and case.is_ground_truth else -1
        for row in np.argsort(distance, kind='stable').tolist():  # the focus first
            boxes = corners[index == row][:n_left]
            n_left -= len(boxes)
            path = ''.join(
                f'M{x0:.0f} {y0:.0f}H{x1:.0f}V{y1:.0f}H{x0:.0f}z' for y0, x0, y1, x1 in boxes
            )
            color = css_color(int(case.images.columns[4][case.image][row]))
            css = 'matched' if nearest in (row, -1) else 'matched other'
            out.write(f'<path class="{css}" d="{path}" stroke="{color}"/>')
        if not case.is_ground_truth:
            return 'default boxes matched to labels', out.getvalue()
        n_box = int((index == nearest).sum())
        noun = 'default box' if n_box == 1 else 'default boxes'
        return f'{n_box} {noun} matched to this label', out.getvalue()


def embedded_images(elements: Sequence[str]) -> Iterator[str]:
    """Yield the part of the page that holds the images."""
    yield '<svg class="store" aria-hidden="true"><defs>'
    yield from elements
    yield '</defs></svg>'


def _svg(window: Window, view: Sequence[float], content: str, title: str) -> str:
    box = ' '.join(f'{side:.1f}' for side in view)
    return (
        f'<svg viewBox="{box}" role="img" aria-label="{escape(title)}">'
        f'<use href="#{window.key}"/>{content}</svg>'
    )


def _rect(bbox: Sequence[float], color: str, css: str = 'box') -> str:
    y_min, x_min, y_max, x_max = bbox
    return (
        f'<rect class="{css}" x="{x_min:.1f}" y="{y_min:.1f}" width="{max(x_max - x_min, 0):.1f}" '
        f'height="{max(y_max - y_min, 0):.1f}" stroke="{color}"/>'
    )


def _focus(case: Case) -> str:
    return _rect(case.bbox, 'white', 'halo') + _rect(case.bbox, '#c8003c', 'focus')


def _is_large(bbox: Sequence[float], window: Window) -> bool:
    """Return whether a box of an embedded window is large enough to recognize its object."""
    zoom = min(1, _SIDE / max(window.width, window.height))
    side = max(bbox[2] - bbox[0], bbox[3] - bbox[1])
    return zoom == 1 or side * zoom >= _MIN_FOCUS


def _cut_out(bbox: Sequence[float], whole: Window, key: str) -> Window:
    """Return the part of an image around a small box."""
    side = max(_PART_SIDES * max(bbox[2] - bbox[0], bbox[3] - bbox[1]), _SIDE / 4)
    width, height = (int(min(side, limit)) for limit in (whole.width, whole.height))
    left = int(np.clip((bbox[1] + bbox[3] - width) / 2, 0, whole.width - width))
    top = int(np.clip((bbox[0] + bbox[2] - height) / 2, 0, whole.height - height))
    return Window(key, whole.size, left, top, width, height)


def _thumbnail_box(bbox: Sequence[float], window: Window) -> tuple[float, ...]:
    """Return (left, top, width, height) around a box, inside the window."""
    height, width = bbox[2] - bbox[0], bbox[3] - bbox[1]
    high = max(height, width / _THUMBNAIL_RATIO, window.height / 8) * _THUMBNAIL_SIDES
    high = min(high, window.height, window.width / _THUMBNAIL_RATIO)
    wide = high * _THUMBNAIL_RATIO
    left = np.clip((bbox[1] + bbox[3] - wide) / 2, window.left, window.left + window.width - wide)
    top = np.clip((bbox[0] + bbox[2] - high) / 2, window.top, window.top + window.height - high)
    return float(left), float(top), wide, high
