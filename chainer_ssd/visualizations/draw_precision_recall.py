"""Precision over recall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._extras import require
from chainer_ssd._options import check_label_names
from chainer_ssd.images import to_image
from chainer_ssd.images.text import shorten
from chainer_ssd.visualizations._captions import printable_names
from chainer_ssd.visualizations.colors import label_color

_DPI = 100
_SIDE, _COLUMN = 600, 240  # pixels of the plot and of a column of the legend
_ROWS = 24  # lines of the legend
_FONT_SIZE = 14  # pixels
_NAME_WIDTH = 140  # pixels


def draw_precision_recall(
    prec: Sequence[Array | None],
    rec: Sequence[Array | None],
    ap: Sequence[float],
    label_names: Sequence[str] | None = None,
) -> Array:
    """Draw the precision that each class still reaches at a recall or beyond.

    The area under the line of a class is its average precision, as Pascal VOC defines it since
    2010. Grey lines join points of equal F1 = 2 · precision · recall / (precision + recall).

    Parameters
    ----------
    prec, rec : sequence of float arrays or None
        Precision and recall of every class over its detections, by falling score, as
        :func:`chainer_ssd.calc_detection_voc_prec_rec` returns them. A class whose recall is
        None is left out.
    ap : sequence of float
        Average precision of every class, for the legend.
    label_names : sequence of str, optional
        Names of the classes, see :func:`draw_bbox`. Default: their labels.

    Returns
    -------
    uint8 array of shape (3, H, W)
        RGB, 600 pixels high. See :func:`write_image`.

    Raises
    ------
    ValueError
        If ``prec``, ``rec`` and ``ap`` are not of one length, or a class has no name.
    TypeError
        If ``label_names`` is not a sequence of str.
    ImportError
        If Pillow or matplotlib is missing (``pip install "chainer_ssd[data,plot]"``).

    Warns
    -----
    UserWarning
        If the font lacks a glyph of a name.
    """
    if not len(prec) == len(rec) == len(ap):
        raise ValueError(
            f'prec, rec and ap have {len(prec)}, {len(rec)} and {len(ap)} classes: '
            'expected one number'
        )
    names: Sequence[str] = [str(label) for label in range(len(ap))]
    if label_names is not None:
        if len(check_label_names(label_names)) < len(ap):
            raise ValueError(
                f'label_names has {len(label_names)} names: expected one for each of the '
                f'{len(ap)} classes of ap'
            )
        names = printable_names(label_names)
    drawn = [label for label, curve in enumerate(rec) if curve is not None]
    n_column = max(1, math.ceil(len(drawn) / _ROWS))

    Figure = require('matplotlib.figure', 'plot').Figure
    Canvas = require('matplotlib.backends.backend_agg', 'plot').FigureCanvasAgg
    width = _SIDE + n_column * _COLUMN
    figure = Figure((width / _DPI, _SIDE / _DPI), dpi=_DPI)
    axes = figure.add_axes((0.1 * _SIDE / width, 0.09, 0.86 * _SIDE / width, 0.87))
    _draw_f1_lines(axes)
    lines = []
    for label in drawn:
        recall, precision = _steps(prec[label], rec[label])
        color = np.array(label_color(label)) / 255
        name = shorten(names[label], _FONT_SIZE, _NAME_WIDTH).replace('$', r'\$')  # no formula
        text = f'{ap[label]:.3f}  {name}'
        lines += axes.step(
            recall, precision, where='pre', color=color, linewidth=2, clip_on=False, label=text
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel='recall', ylabel='precision')
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    figure.text((_SIDE + 10) / width, 0.96, 'average precision')
    figure.legend(
        handles=lines,
        loc='upper left',
        bbox_to_anchor=(_SIDE / width, 0.97),
        ncol=n_column,
        columnspacing=1,
        frameon=False,
        fontsize=_FONT_SIZE * 72 / _DPI,
    )
    canvas = Canvas(figure)
    canvas.draw()
    return to_image(np.array(canvas.buffer_rgba())[:, :, :3])


def _steps(prec: Array, rec: Array) -> tuple[Array, Array]:
    """Return recall and precision as steps: the precision at the next recall, 0 after the last."""
    reached = np.maximum.accumulate(np.nan_to_num(prec)[::-1])[::-1]
    recall = np.concatenate(([0], rec, rec[-1:]))[: len(rec) and len(rec) + 2]
    return recall, np.concatenate((reached[:1], reached, np.zeros(len(rec[-1:]))))


def _draw_f1_lines(axes: Any) -> None:
    recall = np.linspace(0.01, 1, 200)
    for f1 in (0.2, 0.4, 0.6, 0.8):
        # F1 = 2pr / (p + r), solved for p
        r = recall[recall > f1 / 2 + 1e-9]
        axes.plot(r, f1 * r / (2 * r - f1), color='0.85', linewidth=1, zorder=0)
        axes.text(1.005, f1 / (2 - f1), f'{f1}', color='0.5', size=8, va='center')
    axes.text(1.005, 1.015, 'F1', color='0.5', size=8)
