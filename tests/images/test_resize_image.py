import cv2
import numpy as np
import pytest

from chainer_ssd.images import resize_image, resize_pixels

FLAGS = {
    'nearest': cv2.INTER_NEAREST,
    'linear': cv2.INTER_LINEAR,
    'cubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
    'lanczos': cv2.INTER_LANCZOS4,
}
PIXELS = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize('interpolation', FLAGS)
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('size', [(11, 7), (40, 60), (10, 90)])
def test_result_is_opencvs(interpolation, dtype, size):
    pixels = PIXELS.astype(dtype)
    expected = cv2.resize(pixels, size[::-1], interpolation=FLAGS[interpolation])
    result = resize_pixels(pixels, size, interpolation)
    assert result.dtype == dtype
    # With 8-bit pixels, OpenCV's Lanczos filter uses rounded coefficients. Ours does not.
    tolerance = 1 if interpolation == 'lanczos' and dtype == np.uint8 else 0
    assert np.abs(result.astype(float) - expected).max() <= tolerance
    img = resize_image(pixels.transpose(2, 0, 1), size, interpolation)
    np.testing.assert_array_equal(img, result.transpose(2, 0, 1))
    assert img.flags.c_contiguous


@pytest.mark.parametrize(
    ('size', 'interpolation'),
    [((11, 7), 'area'), ((20, 10), 'area'), ((40, 60), 'linear'), ((10, 90), 'linear')],
)
def test_default_interpolation(size, interpolation):
    img = PIXELS.transpose(2, 0, 1)
    np.testing.assert_array_equal(resize_image(img, size), resize_image(img, size, interpolation))


def test_image_of_the_right_size_is_returned(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'cv2', None)
    img = PIXELS.transpose(2, 0, 1)
    assert resize_image(img, (20, 30)) is img
    assert resize_pixels(PIXELS, (20, 30), 'cubic') is PIXELS
    with pytest.raises(ImportError, match=r'chainer_ssd\[data\]'):
        resize_image(img, (20, 31))


def test_error_names_the_argument():
    message = "interpolation = 'bilinear': expected one of"
    with pytest.raises(ValueError, match=message):
        resize_image(PIXELS.transpose(2, 0, 1), (20, 30), 'bilinear')
    with pytest.raises(ValueError, match=message):
        resize_pixels(PIXELS, (20, 30), 'bilinear')
    with pytest.raises(ValueError, match=r'img has shape \(20, 30\): expected \(channels, H, W\)'):
        resize_image(PIXELS[:, :, 0], (20, 30))
