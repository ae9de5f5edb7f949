"""The matching and the hard negative mining of one training image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._validation import (
    check_column,
    check_default_bbox,
    check_index,
    raise_for_row,
)
from chainer_ssd.images import to_image
from chainer_ssd.images.text import shorten
from chainer_ssd.ops import center_to_corner
from chainer_ssd.visualizations._boxes import check_boxes
from chainer_ssd.visualizations._captions import draw_captions, printable_names
from chainer_ssd.visualizations._drawing import (
    count_of,
    draw_cased_frame,
    draw_frame,
    font_size,
    heading,
    scaled_pixels,
)
from chainer_ssd.visualizations.colors import RED, WHITE, Color, label_color
from chainer_ssd.visualizations.tile_images import tile_images

_MIN_SIDE = 400  # pixels of the longer side of a panel
_MAX_COLUMNS = 5
_GREY, _SKY_BLUE = (190, 190, 190), (86, 180, 233)
_MIN_LOSS, _MAX_LOSS = (170, 160, 115), (255, 50, 0)  # khaki to red


def draw_match(
    img: Array,
    bbox: Array,
    label: Array | None,
    index: Array,
    default_bbox: Array,
    scale: Array | None = None,
    hard_negative: Array | None = None,
    conf_loss: Array | None = None,
    label_names: Sequence[str] | None = None,
) -> Array:
    """Draw the default boxes that are matched to each ground truth, and the hard negatives.

    The first panel shows the ground truths, numbered, each in its own colour with the number of
    its default boxes. A ground truth without any is crossed out, and the red heading names it.
    Then each scale has a panel of its matched default boxes, thin, in their ground truth's colour.
    Below it is a panel of the scale's hard negatives.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0 to 255, as the network takes it.
    bbox : float array of shape (R, 4)
        Ground truths (y_min, x_min, y_max, x_max) in pixels.
    label : integer array of shape (R,) or None
        Their classes, counted from 0. None: ground truths are numbered only.
    index : integer array of shape (K,)
        The ground truth of each default box, -1 background, -2 ignored: what
        :func:`chainer_ssd.match` returns.
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w) in pixels.
    scale : integer array of shape (K,), optional
        The scale of each default box, counted from 0: ``coder.scale``. None: one scale.
    hard_negative : bool array of shape (K,), optional
        What :func:`chainer_ssd.hard_negative_mining` returns for the image. None: no such panels.
    conf_loss : float array of shape (K,), optional
        The loss of each default box as background, by which hard negatives are ranked. It gives
        their colours, from khaki for the smallest loss to red for the largest.
    label_names : sequence of str, optional
        Names of the classes.

    Returns
    -------
    uint8 array of shape (3, H', W')
        The picture. Panels are at least 400 pixels wide or high. See :func:`draw_bbox`.

    Raises
    ------
    ValueError
        If shapes disagree, a box is not finite, or a label or an index is out of range.
    TypeError
        If an array has another dtype, or ``label_names`` is not a sequence of str.
    ImportError
        If an extra is missing (``pip install "chainer_ssd[data,plot]"``).
    """
    bbox, label, _ = check_boxes(bbox, label, None, label_names)
    default_bbox = check_default_bbox(default_bbox)
    n_box = len(default_bbox)
    index = check_index(index, n_box, len(bbox))
    scale = np.zeros(n_box, int) if scale is None else scale
    scale = check_column(scale, n_box, 'scale', 'iu', 'integers')
    n_scale = max(n_box, 1)  # each scale has a panel
    raise_for_row('scale', scale, (scale >= 0) & (scale < n_scale), f'0 to {n_scale - 1}')
    if hard_negative is not None:
        hard_negative = check_column(hard_negative, n_box, 'hard_negative', 'b', 'bool')
    if conf_loss is not None:
        conf_loss = check_column(conf_loss, n_box, 'conf_loss')

    pixels, zoom = scaled_pixels(img, _MIN_SIDE)
    counts = np.bincount(index[index >= 0], minlength=len(bbox))
    colors = [label_color(row) if count else RED for row, count in enumerate(counts)]
    corners = center_to_corner(default_bbox) * zoom
    match = _Match(bbox * zoom, corners, index, scale, counts, colors)
    texts = [str(row) for row in range(len(bbox))]
    if label is not None and label_names is not None:
        names = printable_names(label_names)
        size, width = font_size(pixels.shape), pixels.shape[1] / 3
        texts = [shorten(f'{row} {names[i]}', size, width) for row, i in enumerate(label)]

    grey = pixels.mean(axis=2, keepdims=True)
    grey = 40 + 90 * (grey - grey.min()) / max(np.ptp(grey), 1)
    dark = np.repeat(grey.astype(np.uint8), 3, axis=2)  # a background for many colours
    scales = range(scale.max(initial=0) + 1)
    columns = [[_draw_ground_truths(pixels, match, texts)]]
    columns += [[_draw_matched(dark, match, s)] for s in scales]
    if hard_negative is not None:
        columns[0].append(_draw_legend(pixels.shape))
        rows = np.flatnonzero(hard_negative)
        loss_colors: Any = [_MAX_LOSS] * len(rows)
        if conf_loss is not None:
            rows = rows[np.argsort(conf_loss[rows], kind='stable')]  # NaN last
            loss_colors = _loss_colors(conf_loss[rows])
        negatives = list(zip(rows, loss_colors))
        for s in scales:
            columns[1 + s].append(_draw_negatives(dark, match, s, negatives))
    n_column = len(columns) if len(columns) <= _MAX_COLUMNS else (len(columns) + 1) // 2
    return tile_images([tile_images(column, 1) for column in columns], n_column)


class _Match(NamedTuple):
    """Boxes by their corners in pixels of a panel, and their assignment."""

    bbox: Array
    corners: Array
    index: Array
    scale: Array
    counts: Array  # default boxes of each ground truth
    colors: list[Color]  # of each ground truth, red without a default box


def _draw_ground_truths(pixels: Array, match: _Match, texts: Sequence[str]) -> Array:
    lost = np.flatnonzero(match.counts == 0)
    for box in match.bbox[lost]:
        _cross_out(pixels, box)
    rows = np.argsort(match.counts, kind='stable')  # the lost ones get their captions first
    captions = [f'{texts[row]}: {match.counts[row]}' for row in rows]
    title = f'{count_of(len(rows), "ground truth")}, {match.counts.sum():,} matched default boxes'
    if len(lost):
        title = f'NO DEFAULT BOX for {len(lost)} of {len(rows)}: {", ".join(map(str, lost))}'
    return _draw_panel(pixels, match, title, [], rows, captions, RED if len(lost) else WHITE)


def _draw_matched(pixels: Array, match: _Match, s: int) -> Array:
    in_scale = match.scale == s
    matched = np.flatnonzero((match.index >= 0) & in_scale)
    counts = np.bincount(match.index[matched], minlength=len(match.bbox))
    title = f'scale {s}: {len(matched):,} of {in_scale.sum():,} default boxes matched'
    frames = [
        (match.bbox[row], _GREY if match.counts[row] else RED)
        for row in np.flatnonzero(counts == 0)
    ]
    frames += [(match.corners[k], match.colors[match.index[k]]) for k in matched]
    rows = np.flatnonzero(counts)
    captions = [f'{row}: {counts[row]}' for row in rows]
    return _draw_panel(pixels, match, title, frames, rows, captions)


def _draw_negatives(pixels: Array, match: _Match, s: int, negatives: Sequence[tuple]) -> Array:
    ignored = np.flatnonzero((match.index == -2) & (match.scale == s))
    shown = [(match.corners[k], color) for k, color in negatives if match.scale[k] == s]
    frames = [(box, _GREY) for box in match.bbox]
    frames += [(box, _SKY_BLUE) for box in match.corners[ignored]]
    title = f'scale {s}: {count_of(len(shown), "hard negative")}, {len(ignored):,} ignored'
    return _draw_panel(pixels, match, title, frames + shown)


def _loss_colors(loss: Array) -> Array:
    """Return colours (N, 3) on a line from the smallest finite loss to the largest."""
    finite = loss[np.isfinite(loss)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0, 0)
    # NaN and infinity count as the largest loss.
    fraction = np.where(np.isfinite(loss), (loss - low) / max(high - low, 1e-12), 1)
    return np.array(_MIN_LOSS) + fraction[:, None] * np.subtract(_MAX_LOSS, _MIN_LOSS)


def _draw_panel(
    pixels: Array,
    match: _Match,
    title: str,
    frames: Sequence[tuple[Array, Color]],
    rows: Array = (),
    captions: Sequence[str] = (),
    heading_color: Color = WHITE,
) -> Array:
    """Return an image with a heading, thin frames, and some ground truths with captions."""
    pixels, colors = pixels.copy(), [match.colors[row] for row in rows]
    for box, color in frames:
        draw_frame(pixels, box, 1, color)
    for row, color in zip(rows[::-1], colors[::-1]):  # the first row above the others
        draw_cased_frame(pixels, match.bbox[row], 3, color)
    if len(rows):
        draw_captions(pixels, match.bbox[rows], captions, colors)
    return to_image(np.concatenate([heading(title, pixels.shape[1], heading_color), pixels]))


def _draw_legend(shape: Sequence[int]) -> Array:
    lines = (
        ('colours of the panels', WHITE),
        ('n: i  ground truth n with its i default boxes, thin', label_color(0)),
        ('ground truth without a default box of this scale', _GREY),
        ('ground truth without a default box of any scale', RED),
        ('hard negative with the largest loss', _MAX_LOSS),
        ('hard negative with the smallest loss', _MIN_LOSS),
        ('default box that the loss ignores', _SKY_BLUE),
    )
    return to_image(np.concatenate([heading(text, shape[1], color) for text, color in lines]))


def _cross_out(pixels: Array, box: Array) -> None:
    """Draw the diagonals of a box."""
    top, left, bottom, right = box.clip(0, pixels.shape[:2] * 2)
    for t in np.linspace(0, 1, max(pixels.shape)):
        y = round(top + t * (bottom - top))
        for x in (left + t * (right - left), right - t * (right - left)):
            pixels[y : y + 2, round(x) : round(x) + 2] = RED
