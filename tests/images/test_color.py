import colorsys

import numpy as np
import pytest

from chainer_ssd.images import add_brightness, change_hue_and_saturation, multiply_contrast

PIXELS = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize('shift', [-300, -20, 0, 1, 100])
def test_brightness(shift):
    expected = (PIXELS.astype(int) + shift).clip(0, 255)
    np.testing.assert_array_equal(add_brightness(PIXELS, shift), expected)


@pytest.mark.parametrize('factor', [0, 0.5, 1, 1.7])
def test_contrast(factor):
    expected = (PIXELS * factor).clip(0, 255)
    np.testing.assert_allclose(multiply_contrast(PIXELS, factor), expected, atol=0.5 + 1e-4)


@pytest.mark.parametrize(
    ('hue_steps', 'saturation'), [(0, 1), (10, 1), (-20, 1), (0, 0.5), (15, 1.5), (0, 0)]
)
def test_hue_and_saturation(hue_steps, saturation):
    def change(pixel):
        hue, old_saturation, value = colorsys.rgb_to_hsv(*pixel / 255)
        new_saturation = min(old_saturation * saturation, 1)
        return colorsys.hsv_to_rgb((hue + hue_steps / 180) % 1, new_saturation, value)

    expected = 255 * np.array([[change(pixel) for pixel in row] for row in PIXELS])
    result = change_hue_and_saturation(PIXELS, hue_steps, saturation)
    assert result.dtype == np.uint8
    # One step of the 8-bit hue is 2 degrees, so up to 255 / 30 levels.
    np.testing.assert_allclose(result, expected, atol=10)
