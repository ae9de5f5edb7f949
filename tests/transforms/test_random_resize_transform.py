import re

import cv2
import numpy as np
import pytest

from chainer_ssd.transforms import RandomResizeTransform, ResizeTransform


def test_each_of_five_interpolations_is_equally_likely():
    img = np.random.default_rng(0).integers(0, 256, (3, 30, 20))
    pixels = np.ascontiguousarray(img.transpose(1, 2, 0).astype(np.uint8))
    expected = {
        name: cv2.resize(pixels, (12, 12), interpolation=getattr(cv2, f'INTER_{name}'))
        for name in ('LINEAR', 'AREA', 'NEAREST', 'CUBIC', 'LANCZOS4')
    }
    counts = dict.fromkeys(expected, 0)
    for seed in range(500):
        result, bbox, _ = RandomResizeTransform(12)(
            (img.astype('f'), [(3, 2, 15, 10)], [0]), np.random.default_rng(seed)
        )
        np.testing.assert_allclose(bbox, [(1.2, 1.2, 6, 6)], rtol=1e-6)
        found = [
            name
            for name, pixels in expected.items()
            if np.abs(pixels.transpose(2, 0, 1) - result).max() <= 1
        ]
        assert len(found) == 1
        counts[found[0]] += 1
    assert all(70 < count < 130 for count in counts.values()), counts


def test_image_of_the_right_size_is_unchanged():
    img = 255 * np.random.default_rng(0).random((3, 12, 12), np.float32)
    result, _, _ = RandomResizeTransform(12)((img, [], []), np.random.default_rng(0))
    np.testing.assert_array_equal(result, img)


def test_pixels_are_rounded():
    img = np.repeat(np.array([3, 0.4, 0.6, 254.7, 255], 'f'), 2).reshape(1, 1, 10)
    img = np.broadcast_to(img, (3, 10, 10))
    seen = set()
    for seed in range(50):
        result, _, _ = RandomResizeTransform(20)((img, [], []), np.random.default_rng(seed))
        seen |= {tuple(result[0, 0])}
    nearest = tuple(np.repeat([3, 0, 1, 255, 255], 4).astype('f'))
    assert nearest in seen


@pytest.mark.parametrize('size', [0, 1.5, -3, float('inf'), None, '300', (300, 300)])
@pytest.mark.parametrize('transform', [RandomResizeTransform, ResizeTransform])
def test_error_names_the_size(transform, size):
    message = re.escape(f'size = {size!r}: expected an integer >= 1')
    with pytest.raises(ValueError if isinstance(size, int) else TypeError, match=message):
        transform(size)
