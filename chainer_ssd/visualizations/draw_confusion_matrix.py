"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._extras import require
from chainer_ssd._options import check_label_names
from chainer_ssd._validation import as_array
from chainer_ssd.images import to_image
from chainer_ssd.images.text import shorten
from chainer_ssd.visualizations._captions import printable_names

_DPI = 100
_CELL, _MARGIN = 56, 150  # pixels of a cell, and of the space for the names
_RIGHT = 85  # pixels beside the last column, whose name is slanted
_FONT_SIZE = 14  # pixels
_NAME_WIDTH = 110  # pixels
_MAX_CLASSES = 60
_LIGHT = 0.5  # a fraction above it has a dark cell


def draw_confusion_matrix(matrix: Array, label_names: Sequence[str]) -> Array:
    """Draw how often a ground truth of one class is detected as each class.

    The colour of a cell is its fraction of its row, and its number is the count.

    Parameters
    ----------
    matrix : integer array of shape (C, C)
        Row: class of the ground truth. Column: class of the detection. The last row and the last
        column are the background, see
        :func:`chainer_ssd.evaluation.calc_detection_confusion_matrix`.
    label_names : sequence of C - 1 str
        Names of the classes, at most 60.

    Returns
    -------
    uint8 array of shape (3, H, W)
        RGB. See :func:`write_image`.

    Raises
    ------
    ValueError
        If the matrix is not square, holds a negative number, has another number of classes than
        ``label_names``, or there are more than 60 classes.
    TypeError
        If the matrix does not hold integers, or ``label_names`` is not a sequence of str.
    ImportError
        If Pillow or matplotlib is missing (``pip install "chainer_ssd[data,plot]"``).

    Warns
    -----
    UserWarning
        If the font lacks a glyph of a name.
    """
    matrix = as_array(matrix, 'matrix')
    n = len(check_label_names(label_names)) + 1
    if matrix.shape != (n, n):
        raise ValueError(
            f'matrix has shape {matrix.shape}: expected ({n}, {n}), the classes and background'
        )
    if matrix.dtype.kind not in 'iu':
        raise TypeError(f'matrix has dtype {matrix.dtype}: expected integers')
    if matrix.min() < 0:
        raise ValueError(f'matrix holds {matrix.min()}: expected counts >= 0')
    if n - 1 > _MAX_CLASSES:
        raise ValueError(f'label_names has {n - 1} names: expected at most {_MAX_CLASSES}')
    names = [*printable_names(label_names), 'background']
    names = [shorten(name, _FONT_SIZE, _NAME_WIDTH).replace('$', r'\$') for name in names]
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    Figure = require('matplotlib.figure', 'plot').Figure
    Canvas = require('matplotlib.backends.backend_agg', 'plot').FigureCanvasAgg
    side = _MARGIN + n * _CELL
    width = side + _RIGHT
    figure = Figure((width / _DPI, side / _DPI), dpi=_DPI)
    extent = n * _CELL
    axes = figure.add_axes(((_MARGIN - 15) / width, 15 / side, extent / width, extent / side))
    axes.imshow(fractions, cmap='Blues', vmin=0, vmax=1)
    size = _FONT_SIZE * 72 / _DPI
    for row, column in np.argwhere(matrix).tolist():
        color = 'white' if fractions[row, column] > _LIGHT else 'black'
        place: dict[str, Any] = {'ha': 'center', 'va': 'center', 'color': color, 'size': size}
        axes.text(column, row, f'{matrix[row, column]}', **place)
    axes.set_xticks(range(n), names, rotation=45, ha='left', size=size)
    axes.set_yticks(range(n), names, size=size)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
    axes.grid(which='minor', color='0.85')
    axes.tick_params(which='minor', length=0)
    figure.text(8 / width, 1 - 24 / side, 'row: label', size=size, color='0.4')
    figure.text(8 / width, 1 - 44 / side, 'column: detection', size=size, color='0.4')
    canvas = Canvas(figure)
    canvas.draw()
    return to_image(np.array(canvas.buffer_rgba())[:, :, :3])
