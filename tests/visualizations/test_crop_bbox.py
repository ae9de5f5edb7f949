import numpy as np
import pytest

from chainer_ssd.visualizations import crop_bbox

IMG = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7)


@pytest.mark.parametrize(
    ('box', 'rows', 'columns'),
    [
        ((0, 0, 5, 7), (0, 5), (0, 7)),
        ((1, 2, 3, 4), (1, 3), (2, 4)),
        ((1.2, 2.9, 2.1, 3.1), (1, 3), (2, 4)),  # each pixel that the box touches
        ((-9, -9, 1, 99), (0, 1), (0, 7)),
        ((2, 3, 2, 3), (2, 3), (3, 4)),  # without area: one pixel
        ((5, 7, 5, 7), (4, 5), (6, 7)),
        ((-5, -5, -3, -3), (0, 1), (0, 1)),
        ((3, 4, 1, 2), (3, 4), (4, 5)),  # inverted
    ],
)
def test_crops(box, rows, columns):
    (crop,) = crop_bbox(IMG, [box])
    np.testing.assert_array_equal(crop, IMG[:, slice(*rows), slice(*columns)])
    assert crop.dtype == IMG.dtype and np.shares_memory(crop, IMG)


def test_there_is_a_crop_for_each_box():
    assert crop_bbox(IMG, []) == []
    assert [each.shape for each in crop_bbox(IMG, [(0, 0, 1, 2), (0, 0, 3, 4)])] == [
        (3, 1, 2),
        (3, 3, 4),
    ]


@pytest.mark.parametrize(
    ('img', 'bbox', 'message'),
    [
        (IMG[0], [(0, 0, 1, 1)], 'img has shape'),
        (IMG, [(0, 0, 1)], 'bbox'),
        (IMG, [(0, 0, np.nan, 1)], r'bbox\[0\]'),
    ],
)
def test_wrong_input_is_named(img, bbox, message):
    with pytest.raises(ValueError, match=message):
        crop_bbox(img, bbox)
