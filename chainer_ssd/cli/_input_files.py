"""The images and videos that ``chainer-ssd predict`` reads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from chainer_ssd._array import Array
from chainer_ssd.images import read_image

IMAGE_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
MAX_LISTED = 3

Item = TypeVar('Item')


def find_files(
    paths: Sequence[str], fail: Callable[[str, str], None]
) -> tuple[list[str], list[str]]:
    """Return the image files and the video files that the paths name.

    Parameters
    ----------
    paths : sequence of str
        Files and folders. A folder stands for the images and videos in it, without subfolders.
    fail : callable
        ``fail(path, reason)`` is called for a folder that holds neither.

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
            name for name in os.listdir(path) if os.path.isfile(os.path.join(path, name))
        )
        chosen = [name for name in names if is_video(name) or name.lower().endswith(IMAGE_SUFFIXES)]
        skipped = [name for name in names if name not in chosen]
        if skipped:
            print(
                f'{path}: neither images nor videos by their names, left out: {join_some(skipped)}'
            )
        if not chosen:
            fail(path, f'{path}: no image and no video in this folder')
        files += [os.path.join(path, name) for name in chosen]
    return [file for file in files if not is_video(file)], list(filter(is_video, files))


def is_video(file: str) -> bool:
    """Return whether a file name has the suffix of a video."""
    return file.lower().endswith(VIDEO_SUFFIXES)


def read_images(
    files: Iterable[str], fail: Callable[[str, str], None]
) -> Iterator[tuple[str, Array]]:
    """Yield each file with its image. Call ``fail(file, reason)`` for a file without one."""
    for file in files:
        try:
            yield file, read_image(file)
        except FileNotFoundError:
            fail(file, f'{file}: no such file')
        except ValueError as error:
            fail(file, str(error))


def split_into_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items. The last one may be shorter."""
    iterator = iter(items)
    return iter(lambda: list(itertools.islice(iterator, size)), [])


def join_some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - MAX_LISTED
    return ', '.join(names[:MAX_LISTED]) + (f' and {more} more' if more > 0 else '')
