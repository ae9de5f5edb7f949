import numpy as np
import pytest

from chainer_ssd.transforms import CropTransform
from tests import reference

HEIGHT, WIDTH = 60, 80
# The value of each pixel is its position.
IMG = np.stack((*np.mgrid[:HEIGHT, :WIDTH], np.zeros((HEIGHT, WIDTH)))).astype('f')


def crops(transform, bbox, n=200):
    """Yield (window, remaining boxes in pixels of the image, their rows) of n crops."""
    bbox = np.array(bbox, 'f').reshape(-1, 4)
    for seed in range(n):
        img, left, row = transform((IMG, bbox, np.arange(len(bbox))), np.random.default_rng(seed))
        y, x = img[:2, 0, 0].astype(int)
        window = y, x, y + img.shape[1], x + img.shape[2]
        np.testing.assert_array_equal(img, IMG[:, y : window[2], x : window[3]])
        yield window, left + (y, x, y, x), row


def inside(box, window):
    return all(window[i] <= (box[i] + box[i + 2]) / 2 < window[i + 2] for i in (0, 1))


@pytest.mark.parametrize('min_iou', [0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_window_reaches_the_minimum_and_keeps_boxes_with_their_centre_inside(min_iou):
    bbox = [(2, 3, 50, 40), (30, 35, 58, 78), (10, 60, 14, 64), (1, 1, 59, 79)]
    cropped = 0
    for window, left, row in crops(CropTransform([min_iou]), bbox):
        cropped += window != (0, 0, HEIGHT, WIDTH)
        if window != (0, 0, HEIGHT, WIDTH):
            assert max(reference.iou(box, window) for box in bbox) >= min_iou
        assert row.tolist() == [i for i, box in enumerate(bbox) if inside(box, window)]
        assert len(row)
        for box, i in zip(left, row):
            expected = [*np.maximum(bbox[i][:2], window[:2]), *np.minimum(bbox[i][2:], window[2:])]
            np.testing.assert_allclose(box, expected, atol=1e-5)
    assert cropped > 100


def test_scale_and_aspect_ratio():
    shapes = np.array(
        [
            np.subtract(window[2:], window[:2]) / (HEIGHT, WIDTH)
            for window, _, _ in crops(
                CropTransform([0], scale=(0.3, 1), max_aspect_ratio=2), [], 1000
            )
        ]
    )
    scale, aspect_ratio = np.sqrt(shapes.prod(axis=1)), shapes[:, 1] / shapes[:, 0]
    assert 0.27 < scale.min() < 0.35 and 0.9 < scale.max() <= 1
    assert 0.45 < aspect_ratio.min() < 0.6 and 1.7 < aspect_ratio.max() < 2.2
    assert abs(np.mean(scale) - 0.65) < 0.03


def test_minimum_none_does_not_crop():
    bbox = [(0, 0, 60, 80), (1, 1, 2, 2)]
    for window, left, row in crops(CropTransform([None]), bbox, 5):
        assert window == (0, 0, HEIGHT, WIDTH) and row.tolist() == [0, 1]
        np.testing.assert_array_equal(left, bbox)


def test_unreachable_minimum_does_not_crop():
    for window, _, row in crops(CropTransform([1.0]), [(1, 1, 2, 2)], 20):
        assert window == (0, 0, HEIGHT, WIDTH) and row.tolist() == [0]


def test_at_least_one_box_remains():
    # Most windows miss a tiny box. They are not accepted.
    assert all(len(row) == 1 for _, _, row in crops(CropTransform(), [(29, 70, 30, 71)], 500))


def test_minima_that_succeed_are_equally_likely():
    # The box is as large as the image, so its IoU with a window is the window's relative area.
    transform = CropTransform([None, 0, 0.9], scale=(0.3, 0.3))
    whole = [
        window == (0, 0, HEIGHT, WIDTH)
        for window, _, _ in crops(transform, [(0, 0, HEIGHT, WIDTH)], 1000)
    ]
    assert abs(np.mean(whole) - 1 / 2) < 0.06  # 0.9 is unreachable, so either None or 0 is taken


def test_without_boxes_every_window_is_accepted():
    assert (
        sum(window != (0, 0, HEIGHT, WIDTH) for window, _, _ in crops(CropTransform([0.9]), [], 50))
        == 50
    )


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'min_ious': [None, 2]}, ValueError, r'min_ious\[1\] = 2: expected a number in \[0, 1\]'),
        ({'scale': (0, 1)}, ValueError, r'scale\[0\] = 0: expected a finite number > 0'),
        (
            {'scale': (0.5, 2)},
            ValueError,
            r'scale = \(0.5, 2\): expected \(low, high\) with 0 <= low <= high <= 1',
        ),
        ({'scale': 0.5}, ValueError, r'scale = 0.5: expected \(low, high\)'),
        (
            {'max_aspect_ratio': 0.5},
            ValueError,
            'max_aspect_ratio = 0.5: expected a finite number >= 1',
        ),
        ({'trials': 0}, ValueError, 'trials = 0: expected an integer >= 1'),
        ({'trials': 1.5}, TypeError, 'trials = 1.5: expected an integer >= 1'),
    ],
)
def test_error_names_the_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        CropTransform(**arguments)
