"""The images, videos and streams that ``chainer-ssd predict`` reads."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.images import (
    IMAGE_SUFFIXES,
    is_address,
    printable_name,
    read_image,
    video_source_name,
)

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
#: Images of one forward pass, together. A larger image is detected in alone.
MAX_BATCH_PIXELS = 8_000_000
MAX_LISTED = 3
MAX_PATH_LETTERS = 300


class Inputs(NamedTuple):
    """What the paths of a command name.

    Attributes
    ----------
    images, videos : list of str
        A file counts as a video by its suffix, otherwise as an image.
    stream : str, int or None
        The address of a stream, or the number of a camera.
    """

    images: list[str]
    videos: list[str]
    stream: str | int | None


def find_inputs(paths: Sequence[str], fail: Callable[[str, str], None]) -> Inputs:
    """Return the images, the videos and the stream that the paths name.

    Parameters
    ----------
    paths : sequence of str
        Files, folders, patterns, the address of a stream, or the number of a camera. A folder
        stands for the images and videos in it, without subfolders. A pattern such as
        ``'a/*.jpg'`` stands for the images and videos that it fits, with ``**`` for any folders. A
        file that exists comes before the other meanings of its name.
    fail : callable
        ``fail(path, reason)`` is called for a folder or a pattern without any of them, and for
        what is neither a file nor a folder, for example a pipe, which could block or never end.

    Returns
    -------
    Inputs
        Files in the order of the paths, and those of a folder or a pattern by their names.

    Raises
    ------
    ValueError
        If there is more than one stream or camera. Each may have no end.
    """
    files: list[str] = []
    streams: list[str | int] = []
    for path in paths:
        if os.path.isdir(path):
            names = sorted(os.listdir(path))
            inside = [os.path.join(path, name) for name in names]
            files += _choose(path, 'in this folder', inside, fail)
        elif os.path.lexists(path):
            files.append(path)
        elif path.isdecimal() and path.isascii():
            streams.append(int(path))
        elif is_address(path):
            streams.append(path)
        elif glob.escape(path) != path:
            found = sorted(set(glob.glob(path, recursive=True)))
            files += _choose(path, 'fits this pattern', found, fail)
        else:
            files.append(path)  # the reader reports that it is missing
    if len(streams) > 1:
        both = ' and '.join(map(video_source_name, streams))
        raise ValueError(f'{both}: expected one camera or stream, since it may have no end')
    files = [file for file in files if _is_regular_or_missing(file, fail)]
    return Inputs(
        [file for file in files if not is_video(file)],
        list(filter(is_video, files)),
        streams[0] if streams else None,
    )


def _choose(
    path: str, where: str, found: Sequence[str], fail: Callable[[str, str], None]
) -> list[str]:
    """Return the images and videos among the files that a folder or a pattern names."""
    files = [file for file in found if not os.path.isdir(file)]
    chosen = [file for file in files if is_video(file) or file.lower().endswith(IMAGE_SUFFIXES)]
    skipped = [os.path.basename(file) for file in files if file not in set(chosen)]
    if skipped:
        print(
            f'{printable_path(path)}: neither images nor videos by their names, left out: '
            + join_some(skipped)
        )
    if not chosen:
        fail(path, f'{path}: no image and no video {where}')
    return chosen


def is_video(file: str) -> bool:
    """Return whether a file name has the suffix of a video."""
    return file.lower().endswith(VIDEO_SUFFIXES)


def read_images(
    files: Iterable[str], fail: Callable[[str, str], None]
) -> Iterator[tuple[str, Array]]:
    """Yield each file with its uint8 image. Call ``fail(file, reason)`` for a file without one."""
    for file in files:
        try:
            img = read_image(file, dtype=np.uint8)
        except FileNotFoundError:
            fail(file, f'{file}: no such file')
        except MemoryError:
            fail(file, f'{file}: not enough memory to read this image')
        except (OSError, ValueError) as error:
            fail(file, name_file(file, error))
        else:
            yield file, img
            del img  # before the next one is read


def name_file(file: str, error: Exception) -> str:
    """Return the message of an error, with the name of the file."""
    text = str(error)
    return text if file in text else f'{file}: {text}'


def batch_images(
    images: Iterable[tuple[str, Array]], size: int, max_pixels: int
) -> Iterator[list[tuple[str, Array]]]:
    """Yield lists of at most ``size`` images that have at most ``max_pixels`` together.

    A larger image is a list of its own, so the memory holds one large image at a time.
    """
    batch: list[tuple[str, Array]] = []
    n_pixel = 0
    for file, img in images:
        n_pixel += img.shape[1] * img.shape[2]
        if batch and (len(batch) == size or n_pixel > max_pixels):
            yield batch
            batch, n_pixel = [], img.shape[1] * img.shape[2]
        batch.append((file, img))
        del img
        if n_pixel > max_pixels:
            yield batch
            batch, n_pixel = [], 0
    if batch:
        yield batch


def printable_path(path: str) -> str:
    """Return a path as it is printed."""
    return printable_name(path, MAX_PATH_LETTERS)


def join_some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - MAX_LISTED
    return ', '.join(map(printable_path, names[:MAX_LISTED])) + (
        f' and {more} more' if more > 0 else ''
    )


def _is_regular_or_missing(file: str, fail: Callable[[str, str], None]) -> bool:
    try:
        mode = os.stat(file).st_mode
    except (OSError, ValueError):  # the reader reports it
        return True
    if not stat.S_ISREG(mode):
        fail(file, f'{file}: expected a regular file, not a pipe or a device')
    return stat.S_ISREG(mode)
