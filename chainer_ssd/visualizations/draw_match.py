"""What the matching and the mining of SSD made of one training image."""

import numpy as np

from chainer_ssd.images.pixels import to_pixels
from chainer_ssd.ops import center_to_corner
from chainer_ssd.visualizations._canvas import resize
from chainer_ssd.visualizations._match_panels import (
    Scene,
    draw_matched,
    draw_mined,
    draw_overview,
    draw_table,
    loss_share,
)
from chainer_ssd.visualizations.draw_bbox import check_boxes, written_names
from chainer_ssd.visualizations.tile_images import tile_images

_SIDE = 400  # pixels of a panel, at least
_MAX_COLUMN = 5


def draw_match(
    img,
    bbox,
    label,
    index,
    default_bbox,
    scale=None,
    hard_negative=None,
    conf_loss=None,
    label_names=None,
):
    """Draws which default boxes answer for which ground truth, and which negatives were mined.

    The first panel shows the ground truths, numbered, each in its own colour with the number of
    its default boxes; one without any is crossed out and named in red above the picture. Then each
    scale has a panel of its matched default boxes, thin, in their ground truth's colour, and below
    it one of its hard negatives.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0..255, as the network sees it.
    bbox : float array of shape (R, 4)
        Ground truths (y_min, x_min, y_max, x_max) in pixels.
    label : integer array of shape (R,) or None
        Their classes, counted from 0; None: they are numbered only.
    index : integer array of shape (K,)
        The ground truth of each default box, -1 background, -2 ignored: what
        :func:`chainer_ssd.match` returns.
    default_bbox : float array of shape (K, 4)
        (cy, cx, h, w) in pixels.
    scale : integer array of shape (K,), optional
        The scale of each default box, from 0 on: ``coder.scale``. None: one scale.
    hard_negative : bool array of shape (K,), optional
        What :func:`chainer_ssd.hard_negative_mining` returns for the image. None: no such panels.
    conf_loss : float array of shape (K,), optional
        Each default box's loss as background, by which hard negatives were ranked: it colours
        them, from pale yellow for the least to red for the largest.
    label_names : sequence of str, optional
        Names of the classes.

    Returns
    -------
    uint8 array of shape (3, H', W')
        The picture; panels are at least 400 pixels wide or high. See :func:`draw_bbox`.

    Raises
    ------
    ValueError
        If shapes disagree, a box is not finite, or a label or an index is out of range.
    ImportError
        If Pillow or matplotlib is missing (``pip install "chainer_ssd[data,plot]"``).
    """
    pixels = to_pixels(img)
    bbox, label, _ = check_boxes(bbox, label, None, label_names)
    index, default_bbox = np.asarray(index), np.asarray(default_bbox)
    scale = np.zeros(len(index), int) if scale is None else np.asarray(scale)
    _check(
        len(bbox),
        index,
        default_bbox,
        scale=scale,
        hard_negative=hard_negative,
        conf_loss=conf_loss,
    )

    zoom = max(1, _SIDE / max(pixels.shape[:2]))
    pixels = resize(pixels, tuple(round(side * zoom) for side in pixels.shape[:2]))
    has_names = label is not None and label_names is not None
    names = written_names(label, label_names) if has_names else [''] * len(bbox)
    scene = Scene(pixels, bbox * zoom, names, center_to_corner(default_bbox) * zoom, index, scale)
    scales = range(scale.max(initial=0) + 1)
    cells = [[draw_overview(scene)], *([draw_matched(scene, s)] for s in scales)]
    if hard_negative is not None:
        hard_negative = np.asarray(hard_negative)
        share = loss_share(hard_negative, conf_loss)
        cells[0].append(draw_table(scene, hard_negative, conf_loss))
        for s in scales:
            cells[1 + s].append(draw_mined(scene, s, hard_negative, share))
    n_column = len(cells) if len(cells) <= _MAX_COLUMN else (len(cells) + 1) // 2
    return tile_images([tile_images(cell, 1) for cell in cells], n_column)


def _check(n_truth, index, default_bbox, **columns):
    shape = index.shape
    if default_bbox.shape != (*shape, 4):
        raise ValueError(
            f'default_bbox has shape {default_bbox.shape} and index {shape}: '
            'expected (K, 4) and (K,)'
        )
    for name, column in columns.items():
        if column is not None and np.shape(column) != shape:
            raise ValueError(f'{name} has shape {np.shape(column)}: expected {shape}, as index')
    for name, column in (('index', index), ('scale', columns['scale'])):
        if column.dtype.kind not in 'iu' and column.size:
            raise ValueError(f'{name} has dtype {column.dtype}: expected integers')
    for k in np.flatnonzero(columns['scale'] < 0):
        raise ValueError(f'scale[{k}] = {columns["scale"][k]}: expected 0 or more')
    if columns['hard_negative'] is not None and np.asarray(columns['hard_negative']).dtype != bool:
        raise ValueError(
            f'hard_negative has dtype {np.asarray(columns["hard_negative"]).dtype}: expected bool'
        )
    for k in np.flatnonzero((index < -2) | (index >= n_truth)):
        raise ValueError(f'index[{k}] = {index[k]}: expected -2 to {n_truth - 1}')
