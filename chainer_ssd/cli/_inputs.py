"""The images and videos that predict.py is given."""

import itertools
import os

from chainer_ssd import read_image

IMAGES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')


def find_files(paths, fail):
    """The images, and the videos; a folder stands for those in it.

    ``fail(path, reason)`` is told of what is neither, here and below.
    """
    files = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        there = sorted(
            name for name in os.listdir(path) if os.path.isfile(os.path.join(path, name))
        )
        taken = [name for name in there if is_video(name) or name.lower().endswith(IMAGES)]
        left = [name for name in there if name not in taken]
        if left:
            print(f'{path}: neither images nor videos by their names, left out: {some(left)}')
        if not taken:
            fail(path, f'{path}: no image and no video in this folder')
        files += [os.path.join(path, name) for name in taken]
    return [file for file in files if not is_video(file)], list(filter(is_video, files))


def is_video(file):
    return file.lower().endswith(VIDEOS)


def readable(files, fail):
    """Pairs of each image's file and the image."""
    for file in files:
        try:
            yield file, read_image(file)
        except FileNotFoundError:
            fail(file, f'{file}: no such file')
        except ValueError as error:
            fail(file, str(error))


def batches(items, size):
    items = iter(items)
    return iter(lambda: list(itertools.islice(items, size)), [])


def some(names):
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')
