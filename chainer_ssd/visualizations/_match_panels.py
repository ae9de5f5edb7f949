"""The panels of :func:`draw_match`."""

from typing import NamedTuple

import numpy as np

from chainer_ssd.images.pixels import to_image
from chainer_ssd.images.text import text_mask
from chainer_ssd.visualizations._canvas import draw_frame
from chainer_ssd.visualizations._caption import FONT_SIZE, captioned, write_line
from chainer_ssd.visualizations.colors import ALARM, label_color
from chainer_ssd.visualizations.draw_bbox import draw_captions, draw_cased_frame

_FAINT = 190, 190, 190  # ground truths that are matched at other scales
_IGNORED = 86, 180, 233
_PALE, _HOT = np.array((255, 245, 190)), np.array((255, 50, 0))  # least and largest loss


class Scene(NamedTuple):
    """What all panels show; boxes by their corners, in pixels of the panel."""

    pixels: np.ndarray
    bbox: np.ndarray
    names: list
    corners: np.ndarray
    index: np.ndarray
    scale: np.ndarray

    @property
    def dimmed(self):
        """The image in dark greys, a ground for many colours."""
        grey = self.pixels.mean(axis=2, keepdims=True)
        dark, light = np.percentile(grey, (1, 99))
        share = ((grey - dark) / max(light - dark, 1)).clip(0, 1)
        return np.repeat((40 + 90 * share).astype(np.uint8), 3, axis=2)

    def counts(self, s=None):
        """Default boxes of each ground truth, of one scale or of all."""
        matched = self.index >= 0 if s is None else (self.index >= 0) & (self.scale == s)
        return np.bincount(self.index[matched], minlength=len(self.bbox))


def draw_overview(scene):
    pixels, counts = scene.pixels.copy(), scene.counts()
    colors = _truth_colors(counts)
    for row in np.argsort(counts == 0, kind='stable'):
        draw_cased_frame(pixels, scene.bbox[row], 3 if counts[row] else 5, colors[row])
        if not counts[row]:
            _cross_out(pixels, scene.bbox[row])
    captions = [
        [f'{row} {name}: {count}' if name else f'{row}: {count}', f'{row}: {count}']
        for row, (name, count) in enumerate(zip(scene.names, counts))
    ]
    order = np.argsort(counts, kind='stable')  # those in need of a caption first
    draw_captions(
        pixels, scene.bbox[order], [colors[row] for row in order], [captions[row] for row in order]
    )
    lost = np.flatnonzero(counts == 0).tolist()
    if lost:
        text = f'NO DEFAULT BOX for {len(lost)} of {len(counts)}: {", ".join(map(str, lost))}'
        return _panel(pixels, text, alarm=True)
    return _panel(
        pixels,
        f'{len(counts)} ground truth{"s"[: len(counts) != 1]}, '
        f'{counts.sum():,} matched default boxes',
    )


def draw_matched(scene, s):
    pixels, counts = scene.dimmed, scene.counts(s)
    colors = _truth_colors(scene.counts())
    for row in np.flatnonzero(counts == 0):
        lost = colors[row] == ALARM
        draw_frame(pixels, scene.bbox[row], 2 if lost else 1, ALARM if lost else _FAINT)
    boxes = np.flatnonzero((scene.index >= 0) & (scene.scale == s))
    for k in boxes:
        draw_frame(pixels, scene.corners[k], 1, colors[scene.index[k]])
    rows = np.flatnonzero(counts)
    for row in rows:
        draw_cased_frame(pixels, scene.bbox[row], 3, colors[row])
    draw_captions(
        pixels,
        scene.bbox[rows],
        [colors[row] for row in rows],
        [[f'{row}: {counts[row]}'] for row in rows],
    )
    n_box = np.count_nonzero(scene.scale == s)
    return _panel(pixels, f'scale {s}: {len(boxes):,} of {n_box:,} default boxes matched')


def draw_mined(scene, s, hard_negative, share):
    pixels = scene.dimmed
    for box in scene.bbox:
        draw_frame(pixels, box, 1, _FAINT)
    ignored = np.flatnonzero((scene.index == -2) & (scene.scale == s))
    for k in ignored:
        draw_frame(pixels, scene.corners[k], 1, _IGNORED)
    mined = np.flatnonzero(hard_negative & (scene.scale == s))
    for k in mined[np.argsort(share[mined], kind='stable')]:  # the largest loss above the others
        color = _PALE + (_HOT - _PALE) * share[k]
        draw_frame(pixels, scene.corners[k], 1, color, 0.4 + 0.6 * share[k])
    text = f'scale {s}: {len(mined)} hard negative{"s"[: len(mined) != 1]}'
    return _panel(pixels, text + (f', {len(ignored)} ignored' if len(ignored) else ''))


def draw_table(scene, hard_negative, conf_loss):
    """The numbers of all scales, and what the colours mean."""
    pixels = np.full(scene.pixels.shape, 255, np.uint8)
    height, width = text_mask('0', FONT_SIZE).shape[0] + 3, pixels.shape[1]
    scales = [(str(s), scene.scale == s) for s in range(scene.scale.max(initial=0) + 1)]
    rows = [('scale', 'boxes', 'matched', 'negatives', 'ignored')]
    for name, mine in (*scales, ('all', scene.scale >= 0)):
        masks = mine, scene.index >= 0, hard_negative, scene.index == -2
        rows.append((name, *(f'{np.count_nonzero(mine & mask):,}' for mask in masks)))
    for i, row in enumerate(rows):
        for column, text in enumerate(row):
            left, right = (place * width // len(row) for place in (column, column + 1))
            write_line(pixels, text, i * height, left, right)

    loss = ''
    if conf_loss is not None and hard_negative.any():
        mined = np.asarray(conf_loss)[hard_negative]
        loss = f': loss {mined.min():.3g} (pale) to {mined.max():.3g} (red)'
    legend = (
        (label_color(0), 3, 'n: i  ground truth n and its i default boxes, thin'),
        (_FAINT, 1, 'ground truth without a default box here'),
        (ALARM, 3, 'ground truth without a default box at any scale'),
        (tuple(_HOT), 1, f'hard negative{loss}'),
        (_IGNORED, 1, 'default box that the loss ignores'),
    )
    for i, (color, line, text) in enumerate(legend):
        top = (len(rows) + i) * height + height // 2
        box = top + 3, 3, top + height - 5, 3 + height
        write_line(pixels, text, top, left=height + 12)
        if box[2] < pixels.shape[0]:
            pixels[top + 1 : top + height - 2, 1 : height + 6] = 90
            draw_frame(pixels, box, line, color)
    return _panel(pixels, 'default boxes at all scales')


def loss_share(hard_negative, conf_loss):
    """Of each default box (K,): 0 for the least loss of a hard negative, 1 for the largest."""
    if conf_loss is None:
        return np.ones(len(hard_negative))
    loss = np.asarray(conf_loss, np.float64)
    finite = np.isfinite(loss)
    mined = loss[hard_negative & finite]
    least, largest = (mined.min(), mined.max()) if len(mined) else (0, 0)
    share = (np.where(finite, loss, largest) - least) / max(largest - least, 1e-12)
    return np.where(finite, share.clip(0, 1), 1)  # NaN counts as the largest loss


def _panel(pixels, text, alarm=False):
    return to_image(captioned(pixels, text, alarm))


def _truth_colors(counts):
    return [label_color(row) if count else ALARM for row, count in enumerate(counts)]


def _cross_out(pixels, box):
    """Two diagonals, three pixels wide."""
    top, left, bottom, right = box
    n = int(max(bottom - top, right - left, 1)) + 1
    y = np.linspace(top, bottom, n)
    for x in (np.linspace(left, right, n), np.linspace(right, left, n)):
        for shift in (-1, 0, 1):
            rows = np.rint(y).astype(int).clip(0, pixels.shape[0] - 1)
            columns = np.rint(x + shift).astype(int).clip(0, pixels.shape[1] - 1)
            pixels[rows, columns] = ALARM
