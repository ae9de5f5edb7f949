"""The images and videos that ``chainer-ssd predict`` reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from chainer_ssd._array import Array
from chainer_ssd.images import IMAGE_SUFFIXES, printable_name, read_image

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
MAX_LISTED = 3
MAX_PATH_LETTERS = 300


def find_files(
    paths: Sequence[str], fail: Callable[[str, str], None]
) -> tuple[list[str], list[str]]:
    """Return the image files and the video files that the paths name.

    Parameters
    ----------
    paths : sequence of str
        Files and folders. A folder stands for the images and videos in it, without subfolders.
    fail : callable
        ``fail(path, reason)`` is called for a folder that holds neither, and for what is neither a
        file nor a folder, for example a pipe, which could block or never end.

    Returns
    -------
    images, videos : list of str
        A file counts as a video by its suffix, otherwise as an image.
    """
    files: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        names = sorted(
            name for name in os.listdir(path) if not os.path.isdir(os.path.join(path, name))
        )
        chosen = [name for name in names if is_video(name) or name.lower().endswith(IMAGE_SUFFIXES)]
        skipped = [name for name in names if name not in set(chosen)]
        if skipped:
            print(
                f'{printable_path(path)}: neither images nor videos by their names, left out: '
                + join_some(skipped)
            )
        if not chosen:
            fail(path, f'{path}: no image and no video in this folder')
        files += [os.path.join(path, name) for name in chosen]
    files = [file for file in files if _is_regular_or_missing(file, fail)]
    return [file for file in files if not is_video(file)], list(filter(is_video, files))


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
