"""Image files."""
import numpy as np

from chainer_ssd._extras import require

# Pillow saturates what is deeper than 8 bits instead of scaling it: refused, not spoilt.
_EIGHT_BIT_MODES = ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr')
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


def read_image(path, size=None):
    """float32 (3, H, W), RGB, 0..255, turned as its EXIF orientation says.

    ``size`` (H, W) is what the annotation says: where the image has it as stored and not as
    turned, the boxes were drawn on it as stored, and it is not turned. Grey and CMYK are
    converted, an alpha channel is left out. ValueError for what cannot be read to the end.
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
    return np.asarray(pixels.transpose(2, 0, 1), np.float32)
