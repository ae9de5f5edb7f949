"""Pictures as files."""
import os

from chainer_ssd._extras import require
from chainer_ssd.visualizations._canvas import pixels_of


def write_image(img, path):
    """Writes an image file, whole or not at all: under another name first, then renamed.

    Parameters
    ----------
    img : float or uint8 array of shape (3, H, W)
        RGB, 0..255.
    path : str or path
        Its suffix says the format, any that Pillow can write: ``.png``, ``.jpg``, ...

    Raises
    ------
    ValueError
        If the image is not (3, H, W) or the suffix is not one of a format that can be written.
    OSError
        If the file cannot be written.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    path = os.fspath(path)
    image_format = format_of(path)
    Image = require('PIL.Image', 'data')
    options = {'quality': 90, 'subsampling': 0} if image_format == 'JPEG' else {}  # sharp letters
    temporary = f'{path}.tmp'
    try:
        Image.fromarray(pixels_of(img)).save(temporary, image_format, **options)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def format_of(path):
    """Pillow's name of the format that a file name's suffix stands for; ValueError if of none."""
    Image = require('PIL.Image', 'data')
    suffix = os.path.splitext(path)[1].lower()
    image_format = Image.registered_extensions().get(suffix)
    if image_format not in Image.SAVE:
        raise ValueError(f'{path}: expected a suffix such as .png or .jpg')
    return image_format
