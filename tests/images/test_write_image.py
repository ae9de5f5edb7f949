import os

import numpy as np
import pytest
from PIL import Image

from chainer_ssd.images import encode_jpeg, write_image

IMG = np.random.RandomState(0).randint(0, 256, (3, 12, 17)).astype('f')


def test_png_is_lossless(tmp_path):
    write_image(IMG, tmp_path / 'a.png')
    with Image.open(tmp_path / 'a.png') as image:
        np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), IMG)


def test_suffix_selects_the_format(tmp_path):
    for name, expected in (('a.jpg', 'JPEG'), ('a.JPEG', 'JPEG'), ('a.bmp', 'BMP')):
        write_image(IMG, tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.format == expected


def test_jpeg_keeps_thin_coloured_lines(tmp_path):
    img = np.zeros((3, 40, 40))
    img[0, 19:21] = 200  # a line
    write_image(img, tmp_path / 'a.jpg')
    with Image.open(tmp_path / 'a.jpg') as image:
        assert np.abs(np.asarray(image).transpose(2, 0, 1) - img).max() < 30


@pytest.mark.parametrize('name', ['a', 'a.', 'a.txt', 'a.psd'])
def test_error_for_an_unknown_suffix(tmp_path, name):
    with pytest.raises(ValueError, match='expected a suffix such as .png or .jpg'):
        write_image(IMG, tmp_path / name)
    assert not os.listdir(tmp_path)


def test_a_failure_keeps_the_old_file_only(tmp_path, monkeypatch):
    write_image(IMG, tmp_path / 'a.png')
    before = (tmp_path / 'a.png').read_bytes()

    def fail(self, file, *args, **kwargs):
        file.write(b'half')
        raise OSError('No space left on device')

    monkeypatch.setattr(Image.Image, 'save', fail)
    with pytest.raises(OSError, match='No space left'):
        write_image(IMG, tmp_path / 'a.png')
    assert (tmp_path / 'a.png').read_bytes() == before
    assert os.listdir(tmp_path) == ['a.png']


def test_a_lower_quality_gives_a_smaller_jpeg():
    img = np.random.default_rng(0).uniform(0, 255, (3, 40, 40)).astype(np.float32)
    assert len(encode_jpeg(img, 30)) < len(encode_jpeg(img, 75)) < len(encode_jpeg(img))
    assert encode_jpeg(img, 90) == encode_jpeg(img)
    with pytest.raises(ValueError, match='quality = 96: expected an integer from 1 to 95'):
        encode_jpeg(img, 96)
