"""Generation of default boxes, with the layouts of the paper's two models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from chainer_ssd._options import check_integer, check_positive_number, short_repr
from chainer_ssd._validation import check_default_bbox, raise_for_row

#: SSD300 of the paper: 8,732 default boxes, in pixels of the 300 x 300 input.
SSD300_SPEC: dict[str, Any] = {
    'grids': (38, 19, 10, 5, 3, 1),
    'aspect_ratios': ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    'steps': (8, 16, 32, 64, 100, 300),
    'sizes': (30, 60, 111, 162, 213, 264, 315),
}

#: SSD512 of the paper: 24,564 default boxes, in pixels of the 512 x 512 input.
SSD512_SPEC: dict[str, Any] = {
    'grids': (64, 32, 16, 8, 4, 2, 1),
    'aspect_ratios': ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    'steps': (8, 16, 32, 64, 128, 256, 512),
    'sizes': (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6),
}


#: An assignment counts default boxes as int32.
_MAX_BOXES = 2**31 - 1


def generate_default_bbox(
    grids: Sequence[int],
    aspect_ratios: Sequence[Sequence[float]],
    steps: Sequence[float],
    sizes: Sequence[float],
) -> np.ndarray:
    """Return the default boxes of an SSD, scale by scale, row by row, cell by cell.

    Parameters
    ----------
    grids : sequence of int, length S
        Number of cells along one side of each scale's square feature map, finest first.
    aspect_ratios : sequence of sequences of float, length S
        Each ratio of a scale adds a wide and a tall box to the two squares.
    steps : sequence of float, length S
        Distance between the centers of neighboring cells, in input pixels.
    sizes : sequence of float, length S + 1
        s_k in input pixels. The last one is used for the larger square of the last scale only.

    Returns
    -------
    numpy.ndarray of float32, shape (K, 4)
        (cy, cx, h, w) in input pixels. Each cell has the square s_k and the square
        sqrt(s_k · s_{k+1}). For each ratio a follow (h, w) = (s_k / sqrt(a), s_k · sqrt(a)) and
        its transpose. K is the sum of grid² · (2 + 2 · number of ratios).

    Raises
    ------
    ValueError
        If the lengths disagree, a number is not positive, a box does not fit float32, or there
        are 2**31 default boxes or more.
    TypeError
        If a grid is not an integer, or an argument is not a sequence.

    Notes
    -----
    Liu et al. (2016), section 2.2. The order is that of ChainerCV's ``MultiboxCoder``.

    Examples
    --------
    >>> generate_default_bbox(**SSD300_SPEC).shape
    (8732, 4)
    """
    grids = _as_numbers('grids', grids, check_integer)
    steps = _as_numbers('steps', steps)
    sizes = _as_numbers('sizes', sizes)
    if not isinstance(aspect_ratios, Iterable):
        raise TypeError(
            f'aspect_ratios = {short_repr(aspect_ratios)}: expected a sequence for each scale'
        )
    aspect_ratios = [
        _as_numbers(f'aspect_ratios[{i}]', ratios) for i, ratios in enumerate(aspect_ratios)
    ]
    if not len(grids) == len(aspect_ratios) == len(steps) == len(sizes) - 1:
        raise ValueError(
            f'{len(grids)} grids, {len(aspect_ratios)} aspect_ratios, {len(steps)} steps, '
            f'{len(sizes)} sizes: expected S, S, S and S + 1 of them'
        )
    if not grids:
        raise ValueError('grids = (): expected at least one scale')
    n_box = sum(grid**2 * (2 + 2 * len(ratios)) for grid, ratios in zip(grids, aspect_ratios))
    if n_box > _MAX_BOXES:
        raise ValueError(
            f'grids = {short_repr(grids)}: expected at most {_MAX_BOXES} default boxes in all'
        )
    scales = []
    for k, (grid, ratios, step) in enumerate(zip(grids, aspect_ratios, steps)):
        shapes = [(sizes[k], sizes[k]), (np.sqrt(sizes[k] * sizes[k + 1]),) * 2]
        for ratio in ratios:
            short, long = sizes[k] / np.sqrt(ratio), sizes[k] * np.sqrt(ratio)
            shapes += [(short, long), (long, short)]
        # c = (cell + 1/2) · step
        center = (np.arange(grid) + 0.5) * step
        scale = np.empty((grid, grid, len(shapes), 4), np.float32)
        with np.errstate(over='ignore', under='ignore'):  # the check below names such a box
            scale[..., 0] = center[:, None, None]
            scale[..., 1] = center[None, :, None]
            scale[..., 2:] = shapes
        scales.append(scale.reshape(-1, 4))
    default_bbox = check_default_bbox(np.concatenate(scales))
    has_area = (default_bbox[:, 2:] > 0).all(axis=1)
    raise_for_row('default_bbox', default_bbox, has_area, 'sizes that float32 can hold')
    return default_bbox


def _as_numbers(
    name: str, values: Any, check: Callable[[str, Any], Any] = check_positive_number
) -> list[Any]:
    """Return positive numbers as a list, or raise. ``check`` also decides their type."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f'{name} = {short_repr(values)}: expected a sequence of numbers')
    return [
        check_positive_number(f'{name}[{i}]', check(f'{name}[{i}]', value))
        for i, value in enumerate(values)
    ]
