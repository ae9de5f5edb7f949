"""Opening an image file of a known format and a bearable size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from chainer_ssd._extras import require
from chainer_ssd._files import open_regular
from chainer_ssd.images.printable_name import printable_name

#: Pillow's formats that are read. Others start programs (EPS). MPO of phones counts as JPEG.
FORMATS = 'JPEG', 'PNG', 'BMP', 'GIF', 'TIFF', 'WEBP'
#: Suffixes of files in these formats, in lower case.
IMAGE_SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.mpo', '.png', '.apng', '.bmp', '.gif', '.tif', '.tiff'),
    '.webp',
)
#: Default for the largest image. Its pixels take 0.4 GB as uint8, and 1.6 GB as float32.
MAX_PIXELS = 1 << 27

# Pillow clips deeper channels to 8 bits instead of scaling them, so other modes are refused.
_EIGHT_BIT_MODES = ('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr')
_BITS_PER_SAMPLE_TAG = 258  # of TIFF
_PNG_DEPTH_OFFSET = 24  # of the byte that states the bits per channel
_MAX_PATH_LETTERS, _MAX_REASON_LETTERS = 300, 1000


@contextlib.contextmanager
def open_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Iterator[Any]:
    """Open an image file with Pillow. Its pixels are not decoded yet.

    Parameters
    ----------
    path : str or path
        A regular file in one of ``FORMATS``, with 8 bits per channel.
    max_pixels : int
        Largest height times width, as the file states it.

    Yields
    ------
    PIL.Image.Image
        The image. Any exception in the block but an ``OSError`` that names a file becomes a
        ``ValueError``.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is no image, has another format, is too large, or has more than 8 bits per channel.
        The message names the file and the cause.
    ImportError
        If Pillow is missing (``pip install "chainer_ssd[data]"``).
    """
    Image = require('PIL.Image', 'data')
    with open_regular(path) as file:
        depth = _read_png_depth(file)
        try:
            try:
                image = Image.open(file, formats=FORMATS)
            except Image.DecompressionBombError:
                raise ValueError(_describe_limit('more', max_pixels)) from None
            except Image.UnidentifiedImageError:
                raise ValueError(f'expected a file in one of the formats {FORMATS}') from None
            with image:
                n_pixel = image.size[0] * image.size[1]
                if n_pixel > max_pixels:
                    raise ValueError(_describe_limit(str(n_pixel), max_pixels))
                if image.format == 'TIFF':
                    depth = max(image.tag_v2.get(_BITS_PER_SAMPLE_TAG, (1,)))
                if image.mode not in _EIGHT_BIT_MODES or depth > 8:
                    found = f'{depth} bits a channel' if depth > 8 else f'mode {image.mode!r}'
                    raise ValueError(f'{found}, expected 8 bits a channel')
                yield image
        except MemoryError:
            raise
        except Exception as error:  # Pillow's plugins raise exceptions of many types
            name = printable_name(os.fspath(path), _MAX_PATH_LETTERS)
            reason = printable_name(' '.join(str(error).split()), _MAX_REASON_LETTERS)
            reason = reason or type(error).__name__
            raise ValueError(f'{name}: cannot be read as an image: {reason}') from error


def _read_png_depth(file: Any) -> int:
    """Return the bits per channel that a PNG file states, else 0. Pillow hides more than 8."""
    head = file.read(_PNG_DEPTH_OFFSET + 1)
    file.seek(0)
    is_png = head.startswith(b'\x89PNG') and len(head) > _PNG_DEPTH_OFFSET
    return head[_PNG_DEPTH_OFFSET] if is_png else 0


def _describe_limit(n_pixel: str, max_pixels: int) -> str:
    return (
        f'it has {n_pixel} pixels, expected at most {max_pixels}. '
        'Make it smaller, or raise max_pixels of read_image'
    )
