import io
import os
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from chainer_ssd.images import read_header, read_image
from tests.datasets.voc_folder import picture


def save(path, image, **options):
    image.save(path, **options)
    return str(path)


def test_rgb_planes(tmp_path):
    pixels = picture()
    img = read_image(save(tmp_path / 'a.png', Image.fromarray(pixels)))
    assert img.dtype == np.float32
    assert img.flags.writeable
    np.testing.assert_array_equal(img, pixels.transpose(2, 0, 1))


def test_uint8_is_the_same(tmp_path):
    path = save(tmp_path / 'a.png', Image.fromarray(picture()).convert('L'))
    img = read_image(path, dtype=np.uint8)
    assert img.dtype == np.uint8 and not img.flags.writeable
    np.testing.assert_array_equal(img, read_image(path))


def test_grey_bilevel_and_palette_become_rgb(tmp_path):
    grey = picture()[:, :, 0]
    img = read_image(save(tmp_path / 'l.png', Image.fromarray(grey)))
    np.testing.assert_array_equal(img, [grey] * 3)
    bilevel = Image.fromarray((grey > 127).astype(np.uint8) * 255).convert('1')
    img = read_image(save(tmp_path / 'one.png', bilevel))
    np.testing.assert_array_equal(img, [np.where(grey > 127, 255, 0)] * 3)
    palette = Image.fromarray(picture() // 128 * 255).convert('P')
    img = read_image(save(tmp_path / 'p.png', palette))
    np.testing.assert_array_equal(img, np.asarray(palette.convert('RGB')).transpose(2, 0, 1))


def test_alpha_is_dropped(tmp_path):
    rgba = np.dstack((picture(), picture(seed=1)[:, :, 0]))
    img = read_image(save(tmp_path / 'a.png', Image.fromarray(rgba)))
    np.testing.assert_array_equal(img, rgba[:, :, :3].transpose(2, 0, 1))


def test_cmyk_becomes_rgb(tmp_path):
    red = Image.new('RGB', (32, 16), (200, 30, 30))
    img = read_image(save(tmp_path / 'c.jpg', red.convert('CMYK'), quality=95))
    assert img.shape == (3, 16, 32)
    np.testing.assert_allclose(img.mean(axis=(1, 2)), (200, 30, 30), atol=4)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('part', [0.02, 0.5, 0.98])
def test_truncated_file_is_refused(tmp_path, suffix, part):
    whole = io.BytesIO()
    Image.fromarray(picture()).save(whole, 'JPEG' if suffix == '.jpg' else 'PNG')
    path = tmp_path / f'cut{suffix}'
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * part)])
    with pytest.raises(ValueError, match=f'cut{suffix}: cannot be read as an image'):
        read_image(str(path))


@pytest.mark.parametrize('content', [b'', b'<html>not found</html>', bytes(1000)])
def test_file_that_is_no_image_is_refused(tmp_path, content):
    (tmp_path / 'fake.jpg').write_bytes(content)
    with pytest.raises(ValueError, match='fake.jpg: cannot be read as an image'):
        read_image(str(tmp_path / 'fake.jpg'))


def test_deep_image_is_refused(tmp_path):
    deep = Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64))
    with pytest.raises(ValueError, match='deep.png: .*expected 8 bits a channel'):
        read_image(save(tmp_path / 'deep.png', deep))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.jpg'):
        read_image(str(tmp_path / 'none.jpg'))


@pytest.mark.parametrize(
    'orientation, rotate',
    [
        (1, lambda p: p),
        (3, lambda p: p[::-1, ::-1]),
        (6, lambda p: np.rot90(p, -1)),
        (8, lambda p: np.rot90(p, 1)),
    ],
)
def test_exif_orientation(tmp_path, orientation, rotate):
    pixels = picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / 'a.png', Image.fromarray(pixels), exif=exif)
    np.testing.assert_array_equal(read_image(path), rotate(pixels).transpose(2, 0, 1))


@pytest.mark.parametrize('suffix', ['.tif', '.png'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_the_orientation_is_applied_on_request(tmp_path, suffix, orientation):
    pixels = np.random.RandomState(0).randint(0, 256, (4, 6, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'a{suffix}'
    Image.fromarray(pixels).save(path, exif=exif)
    header = read_header(path)
    assert (header.size, header.orientation) == ((4, 6), orientation)
    stored = read_image(path, apply_orientation=False)
    np.testing.assert_array_equal(stored, pixels.transpose(2, 0, 1))
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels[::-1].transpose(1, 0, 2),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: pixels[:, ::-1].transpose(1, 0, 2),
    }
    np.testing.assert_array_equal(read_image(path), turned[orientation].transpose(2, 0, 1))


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('shape', [(9, 8), (9, 8, 3), (9, 8, 4)])
def test_16_bits_a_channel_are_refused(tmp_path, suffix, shape):
    """Pillow reduces them to 8 bits, so that 12-bit data becomes black."""
    path = tmp_path / f'deep{suffix}'
    cv2.imwrite(str(path), np.full(shape, 4000, np.uint16))
    for read in read_image, read_header:
        with pytest.raises(ValueError, match=f'deep{suffix}: .*expected 8 bits a channel'):
            read(path)


@pytest.mark.parametrize('image_format', ['EPS', 'PPM', 'ICO', 'TGA', 'PCX', 'SGI', 'PDF'])
def test_other_formats_are_refused_whatever_the_name(tmp_path, image_format):
    path = tmp_path / 'photo.jpg'
    Image.fromarray(picture()).save(path, image_format)
    for read in read_image, read_header:
        with pytest.raises(ValueError, match='photo.jpg: .*expected a file in one of the formats'):
            read(path)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / 'huge.png'
    Image.new('L', (20000, 10000)).save(path)
    tracemalloc.start()
    try:
        for limit in {}, {'max_pixels': 1000}:
            with pytest.raises(ValueError, match='huge.png: .*or raise max_pixels of read_image'):
                read_image(path, **limit)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_limit_can_be_raised(tmp_path):
    path = save(tmp_path / 'a.png', Image.new('L', (40, 30)))
    with pytest.raises(ValueError, match='it has 1200 pixels, expected at most 1199'):
        read_image(path, max_pixels=1199)
    assert read_image(path, max_pixels=1200).shape == (3, 30, 40)
    for value in 0, -1, 1.5, None, '9':
        with pytest.raises((TypeError, ValueError), match='max_pixels = .*expected an integer'):
            read_image(path, max_pixels=value)


def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'zero.jpg').symlink_to('/dev/zero')
    for name in 'pipe.jpg', 'zero.jpg':
        for read in read_image, read_header:
            with pytest.raises(ValueError, match=f'{name}: expected a regular file'):
                read(tmp_path / name)
