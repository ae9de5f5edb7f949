"""Our decoding and suppression against a published SSD's own.

The raw heads and boxes are those of Ultra-Light-Fast-Generic-Face-Detector-1MB (RFB-320, MIT) on
four photographs.
"""

import numpy as np
import pytest

from chainer_ssd import decode, non_maximum_suppression
from chainer_ssd.ops import swap_xy
from tests.real_data import DATA, needs

HEIGHT, WIDTH = 240, 320
GRIDS = (30, 40), (15, 20), (8, 10), (4, 5)
SIDES = (10, 16, 24), (32, 48), (64, 96), (128, 192, 256)
N_FACE = {'1': 46, '17': 74, '26': 58, '27': 70}


def make_default_bbox():
    """Return (cy, cx, h, w) as fractions of the image: row by row, cell by cell, side by side."""
    rows = [
        ((y + 0.5) / n_y, (x + 0.5) / n_x, side / HEIGHT, side / WIDTH)
        for (n_y, n_x), sides in zip(GRIDS, SIDES)
        for y in range(n_y)
        for x in range(n_x)
        for side in sides
    ]
    return np.clip(np.array(rows, np.float32), 0, 1)


def suppress_plainly(bbox, score, thresh):
    """Return what greedy suppression keeps, box by box, in (x_min, y_min, x_max, y_max)."""
    kept, order = [], sorted(range(len(score)), key=lambda i: -score[i])
    for i in order:
        for j in kept:
            low, high = np.maximum(bbox[i, :2], bbox[j, :2]), np.minimum(bbox[i, 2:], bbox[j, 2:])
            inner = np.prod(np.maximum(high - low, 0))
            areas = [np.prod(bbox[k, 2:] - bbox[k, :2]) for k in (i, j)]
            if inner / (sum(areas) - inner) > thresh:
                break
        else:
            kept.append(i)
    return kept


@needs('faces')
@pytest.mark.parametrize('name', sorted(N_FACE))
def test_faces_are_those_of_the_publisher(name):
    with np.load(DATA / 'faces' / f'{name}.npz') as published:
        mb_loc, scores, boxes = (published[key] for key in ('mb_loc', 'scores', 'boxes'))
    # Their offsets are (dx, dy, dw, dh), ours are (dy, dx, dh, dw).
    bbox = decode(make_default_bbox(), mb_loc[:, [1, 0, 3, 2]])
    np.testing.assert_allclose(swap_xy(bbox), boxes, rtol=0, atol=2e-7 * np.abs(boxes).max())

    score = scores[:, 1]
    likely = np.flatnonzero(score > 0.7)
    kept = likely[non_maximum_suppression(bbox[likely], 0.3, score[likely])]
    expected = likely[suppress_plainly(boxes[likely], score[likely], 0.3)]
    assert kept.tolist() == expected.tolist() and len(kept) == N_FACE[name]


@needs('faces')
def test_another_order_of_the_offsets_is_noticed():
    with np.load(DATA / 'faces' / '1.npz') as published:
        bbox = decode(make_default_bbox(), published['mb_loc'])
        assert np.abs(swap_xy(bbox) - published['boxes']).max() > 0.01
