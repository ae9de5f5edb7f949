import pickle

import numpy as np
import pytest

from chainer_ssd import ResizeTransform


def example(height, width):
    img = np.zeros((3, height, width), 'f')
    img[:, height // 4 : height // 2, width // 4 : width // 2] = 200
    bbox = np.array([[height / 4, width / 4, height / 2, width / 2]], 'f')
    return img, bbox, np.array([1])


@pytest.mark.parametrize('shape', [(32, 48), (64, 64), (128, 96), (32, 128)])
def test_box_stays_on_its_object(shape):
    before = example(*shape)
    img, bbox, label = pickle.loads(pickle.dumps(ResizeTransform(64)))(before)
    assert img.shape == (3, 64, 64) and img.dtype == bbox.dtype == np.float32
    np.testing.assert_allclose(bbox, [[16, 16, 32, 32]])
    assert (img[:, 18:30, 18:30] > 199).all() and img[:, :14].max() < 1
    assert label is before[2] or label == before[2]
    np.testing.assert_array_equal(before[0], example(*shape)[0])


def test_shrinking_averages_all_pixels():
    img = np.zeros((3, 64, 64), 'f')
    img[:, 33, 33] = 160
    small = ResizeTransform(16)((img, np.zeros((0, 4), 'f'), np.zeros(0, 'i')))[0]
    assert small[0, 8, 8] == pytest.approx(10) and small[0].sum() == pytest.approx(10)


def test_opencv_is_not_needed_if_the_size_is_right(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'cv2', None)
    before = example(64, 64)
    assert ResizeTransform(64)(before)[0] is before[0]
    with pytest.raises(ImportError, match=r'chainer_ssd\[data\]'):
        ResizeTransform(32)(before)


@pytest.mark.parametrize(
    'bbox', [[(8, 12, 16, 24)], np.array([(8, 12, 16, 24)]), np.array([(8, 12, 16, 24)], 'd')]
)
@pytest.mark.parametrize('size', [16, 32])
def test_boxes_become_float32(bbox, size):
    _, bbox, _ = ResizeTransform(size)((np.zeros((3, 32, 48), np.uint8), bbox, [0]))
    assert bbox.dtype == np.float32
    scale = size / 32, size / 48
    np.testing.assert_allclose(bbox, np.array([(8, 12, 16, 24)]) * (scale * 2), rtol=1e-6)


def test_no_boxes():
    assert ResizeTransform(16)((np.zeros((3, 32, 48), 'f'), [], []))[1].shape == (0, 4)


@pytest.mark.parametrize(
    ('img', 'bbox', 'message'),
    [
        (np.zeros((5, 5)), [], r'img has shape \(5, 5\): expected \(3, H, W\)'),
        (np.zeros((3, 0, 5)), [], r'img has shape \(3, 0, 5\)'),
        (np.zeros((3, 5, 5)), [(0, 0, 1, 1), (3, 3, 2, 4)], r'bbox\[1\] = \(3.0, 3.0, 2.0, 4.0\)'),
        (np.zeros((3, 5, 5)), [(0, 0, 1)], r'bbox has shape \(1, 3\)'),
    ],
)
def test_error_describes_the_example(img, bbox, message):
    with pytest.raises(ValueError, match=message):
        ResizeTransform(8)((img, bbox, [0] * len(bbox)))
