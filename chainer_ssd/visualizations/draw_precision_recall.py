"""Precision over recall."""

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd.images.pixels import to_image
from chainer_ssd.images.text import shorten, text_mask
from chainer_ssd.visualizations._canvas import draw_text
from chainer_ssd.visualizations._caption import BLACK, WHITE
from chainer_ssd.visualizations.colors import label_color
from chainer_ssd.visualizations.draw_bbox import written_names

_SIDE, _DPI = 600, 100  # of the plot
_COLUMN, _ROW, _TOP = 230, 22, 36  # pixels of the legend
_FONT_SIZE = 14


def draw_precision_recall(prec, rec, ap, label_names=None):
    """Draws the precision that each class still reaches at a recall or beyond.

    The area under the line of a class is its average precision, as Pascal VOC has it since 2010.
    Grey lines join points of equal F1 = 2 · precision · recall / (precision + recall).

    Parameters
    ----------
    prec, rec : sequence of float arrays or None
        Precision and recall of every class over its detections, by falling score, as
        :func:`chainer_ssd.calc_detection_voc_prec_rec` returns them. A class whose recall is
        None is left out.
    ap : sequence of float
        Average precision of every class, for the legend.
    label_names : sequence of str, optional
        Names of the classes, in any script for which a font is installed, see
        :func:`draw_bbox`; without it their numbers.

    Returns
    -------
    uint8 array of shape (3, H, W)
        RGB, 600 pixels high; see :func:`write_image`.

    Raises
    ------
    ValueError
        If ``prec``, ``rec`` and ``ap`` are not of one length, or a class has no name.
    ImportError
        If Pillow or matplotlib is missing (``pip install "chainer_ssd[data,plot]"``).
    """
    if not len(prec) == len(rec) == len(ap):
        raise ValueError(
            f'prec, rec and ap have {len(prec)}, {len(rec)} and {len(ap)} classes: '
            'expected one number'
        )
    if label_names is not None and len(label_names) < len(ap):
        raise ValueError(
            f'label_names has {len(label_names)} names: expected one for each of the '
            f'{len(ap)} classes of ap'
        )
    drawn = [label for label, curve in enumerate(rec) if curve is not None]
    names = map(str, drawn) if label_names is None else written_names(drawn, label_names)
    plot = _plot([(prec[label], rec[label], label) for label in drawn])
    legend = _legend([(f'{ap[label]:.3f}  {name}', label) for label, name in zip(drawn, names)])
    return to_image(np.concatenate([plot, legend], axis=1))


def _plot(curves):
    """Pixels (H, W, 3)."""
    Figure = require('matplotlib.figure', 'plot').Figure
    Canvas = require('matplotlib.backends.backend_agg', 'plot').FigureCanvasAgg
    figure = Figure((_SIDE / _DPI, _SIDE / _DPI), dpi=_DPI)
    axes = figure.add_axes((0.1, 0.09, 0.86, 0.87))
    recall = np.linspace(0.01, 1, 200)
    for f1 in (0.2, 0.4, 0.6, 0.8):
        # F1 = 2pr / (p + r), solved for p
        there = recall > f1 / 2 + 1e-9
        precision = f1 * recall[there] / (2 * recall[there] - f1)
        axes.plot(recall[there], precision, color='0.85', linewidth=1, zorder=0)
        axes.text(1.005, f1 / (2 - f1), f'{f1}', color='0.5', size=8, va='center')
    for prec, rec, label in curves:
        reached = np.maximum.accumulate(np.nan_to_num(prec)[::-1])[::-1]
        # Between two recalls holds the precision of the higher; past the last there is none.
        x = np.concatenate(([0], rec, rec[-1:]))
        y = np.concatenate((reached[:1], reached, np.zeros(len(rec[-1:]))))
        axes.step(
            x[: len(y)],
            y,
            where='pre',
            color=np.array(label_color(label)) / 255,
            linewidth=2,
            clip_on=False,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel='recall', ylabel='precision')
    axes.text(1.005, 1.015, 'F1', color='0.5', size=8)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    canvas = Canvas(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[:, :, :3]


def _legend(entries):
    """Pixels (H, W, 3), as many columns as it takes."""
    n_row = (_SIDE - _TOP) // _ROW - 1
    n_column = max(1, -(-len(entries) // n_row))
    pixels = np.full((_SIDE, n_column * _COLUMN, 3), 255, np.uint8)
    _write(pixels, 'average precision', _TOP - _ROW, 0)
    for i, (text, label) in enumerate(entries):
        top, left = _TOP + i % n_row * _ROW, i // n_row * _COLUMN
        middle = top + _ROW // 2
        pixels[middle - 3 : middle + 1, left : left + 20] = label_color(label)
        _write(pixels, shorten(text, _FONT_SIZE, _COLUMN - 34), top, left + 24)
    return pixels


def _write(pixels, text, top, left):
    draw_text(pixels, text_mask(text, _FONT_SIZE), top, left, BLACK, WHITE)
