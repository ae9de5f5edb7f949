"""Image files."""

import numpy as np

from chainer_ssd._extras import require

# Pillow saturates what is deeper than 8 bits instead of scaling it: refused, not spoilt.
_EIGHT_BIT_MODES = ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr')
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


def read_image(path, size=None, dtype=np.float32):
    """Reads an image file as the data sets do, turned as its EXIF orientation says.

    Grey and CMYK are converted to RGB, an alpha channel is left out; of an animation it is the
    first picture.

    Parameters
    ----------
    path : str or path
        A file of a format that Pillow can read, of 8 bits a channel.
    size : tuple of int, optional
        (H, W) of the image as its annotation says. Where the image has it as stored and not as
        turned, the boxes were drawn on it as stored, and it is not turned.
    dtype : dtype
        float32, or uint8, a quarter of the memory.

    Returns
    -------
    array of shape (3, H, W)
        RGB, 0..255. uint8 is what Pillow holds, and read-only.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the image cannot be read to its end or is deeper than 8 bits; the message names the
        file and the cause.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    # Pillow, not OpenCV: it says that a file is truncated and what is wrong with a broken one.
    Image, ImageOps = require('PIL.Image', 'data'), require('PIL.ImageOps', 'data')
    try:
        with Image.open(path) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise ValueError(f'mode {image.mode!r}, expected 8 bits a channel')
            if image.getexif().get(_ORIENTATION, 1) != 1:
                turned = ImageOps.exif_transpose(image)
                if size is None or not image.size == size[::-1] != turned.size:
                    image = turned
            pixels = np.asarray(image if image.mode == 'RGB' else image.convert('RGB'))
    except FileNotFoundError:
        raise
    except Exception as error:  # each format's plugin raises what it likes on a broken file
        raise ValueError(f'{path}: cannot be read as an image: {error}') from error
    return np.asarray(pixels.transpose(2, 0, 1), dtype)
