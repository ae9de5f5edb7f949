import numpy as np
import pytest

from chainer_ssd.images import merge_planes, round_to_uint8, split_planes, to_image, to_pixels

IMG = np.random.RandomState(0).randint(0, 256, (3, 5, 7)).astype(np.uint8)


def test_pixels_are_rounded():
    img = np.broadcast_to(np.array([-0.4, 0.4, 0.6, 254.7, 255.4], np.float32), (3, 2, 5))
    np.testing.assert_array_equal(to_pixels(img)[0, :, 0], [0, 0, 1, 255, 255])


def test_pixels_and_images_are_inverse():
    pixels = to_pixels(IMG)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    np.testing.assert_array_equal(to_image(pixels), IMG)
    assert np.shares_memory(to_image(pixels), pixels)
    with pytest.raises(ValueError, match=r'img has shape \(5, 7, 3\): expected \(3, H, W\)'):
        to_pixels(pixels)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_merge_and_split_are_inverse(dtype):
    pixels = merge_planes(IMG.astype(dtype))
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, IMG.transpose(1, 2, 0))
    for plane, expected in zip(split_planes(pixels), IMG):
        np.testing.assert_array_equal(plane, expected)
        assert plane.flags.c_contiguous


def test_merge_does_not_copy_interleaved_planes():
    pixels = to_pixels(IMG)
    assert np.shares_memory(merge_planes(to_image(pixels)), pixels)


def test_round_to_uint8():
    pixels = np.array([0.4, 0.6, 254.7, 300], np.float32).reshape(1, 4, 1)
    np.testing.assert_array_equal(round_to_uint8(pixels).ravel(), [0, 1, 255, 255])
