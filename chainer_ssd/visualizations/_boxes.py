"""Boxes with their labels and scores: checked, and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_label_names
from chainer_ssd._validation import check_column, check_finite_bbox, check_label, raise_for_row
from chainer_ssd.images.text import shorten
from chainer_ssd.visualizations._captions import draw_captions
from chainer_ssd.visualizations._drawing import draw_cased_frame, font_size, line_width
from chainer_ssd.visualizations.colors import Color, label_color


class Boxes(NamedTuple):
    """Checked boxes of one image, their labels and scores."""

    bbox: Array
    label: Array | None
    score: Array | None

    def take(self, rows: Array) -> Boxes:
        """Return the boxes of some rows, in the order of ``rows``."""
        return Boxes(*(None if column is None else column[rows] for column in self))

    def by_score(self) -> Boxes:
        """Return the boxes by falling score. Without scores they keep their order."""
        return self if self.score is None else self.take(np.argsort(-self.score, kind='stable'))

    def colors(self) -> list[Color]:
        """Return the colour of each box: that of its class, or the first one without classes."""
        labels = np.zeros(len(self.bbox), int) if self.label is None else self.label
        return [label_color(label) for label in labels]


def check_boxes(
    bbox: Array, label: Array | None, score: Array | None, label_names: Sequence[str] | None
) -> Boxes:
    """Return the boxes, or raise ``ValueError`` or ``TypeError`` as :func:`draw_bbox` does."""
    bbox = check_finite_bbox(bbox)
    if label is not None:
        label = check_label(label, len(bbox))
    if score is not None:
        score = check_column(score, len(bbox), 'score')
        raise_for_row('score', score, ~np.isnan(score), 'numbers')
    if label_names is not None:
        n_class = len(check_label_names(label_names))
        if label is not None:
            raise_for_row('label', label, label < n_class, f'0 to {n_class - 1}')
    return Boxes(bbox, label, score)


def draw_boxes(
    pixels: Array,
    boxes: Boxes,
    names: Sequence[str] | None,
    caption_colors: Sequence[Color] | None = None,
) -> None:
    """Draw frames and captions on pixels, the first row above the others."""
    shape = pixels.shape[:2]
    colors = boxes.colors()
    for box, color in zip(boxes.bbox[::-1], colors[::-1]):
        draw_cased_frame(pixels, box, line_width(shape), color)
    columns = []
    if boxes.label is not None and names is not None:
        size = font_size(shape)
        width = max(shape[1] / 3, 4 * size)
        labels = boxes.label.tolist()
        short = {label: shorten(names[label], size, width) for label in set(labels)}
        columns.append([short[label] for label in labels])
    if boxes.score is not None:
        columns.append([f'{score:.2f}' for score in boxes.score])
    captions = [' '.join(words).strip() for words in zip(*columns)]
    draw_captions(pixels, boxes.bbox, captions, caption_colors or colors)
