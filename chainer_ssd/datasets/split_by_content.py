"""A random split of images that keeps equal images together."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

import numpy as np

from chainer_ssd._options import check_integer, check_part
from chainer_ssd.images import hash_pixels

#: Roboflow appends a hash to the name of each augmented copy of an image.
_ROBOFLOW_COPY = re.compile(r'(.+)\.rf\.[0-9A-Za-z]+$')


def split_by_content(dataset: Any, fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return which images to keep, and which to hold out, chosen at random.

    Images with the same pixels are on one side, whatever their names and formats. So are the
    augmented copies that Roboflow writes of one image (``a_jpg.rf.0123.jpg``). The choice depends
    on the pixels, ``fraction`` and ``seed``. It does not depend on the order or the place of the
    files, or on their names. All images are read once.

    Parameters
    ----------
    dataset : data set
        With ``image_files``. Without them, the first element of each item is the image.
    fraction : float
        Fraction of the images to hold out, in (0, 1). The number is rounded. Groups of equal images
        can make it smaller. Each side gets at least one image.
    seed : int
        Another seed gives another choice. Default: 0.

    Returns
    -------
    kept : int array
        Indices of the images that stay, in ascending order.
    held_out : int array
        Indices of the others, in ascending order.

    Raises
    ------
    TypeError
        If ``seed`` is not an integer.
    ValueError
        If ``fraction`` lies outside (0, 1). If all images are equal, or there are fewer than two.

    Examples
    --------
    >>> from chainer_ssd import ShapesBboxDataset
    >>> kept, held_out = split_by_content(ShapesBboxDataset(10), 0.2)
    >>> len(kept), len(held_out)
    (8, 2)
    """
    check_part('fraction', fraction)
    check_integer('seed', seed)
    groups = _group_images(dataset)
    if len(groups) < 2:
        raise ValueError(
            f'{len(dataset)} images with {len(groups)} different contents cannot be split, '
            'expected at least two'
        )
    order = sorted(groups, key=lambda key: hashlib.sha256(f'{seed} {key}'.encode()).digest())
    wanted = min(max(1, round(fraction * len(dataset))), len(dataset) - 1)
    held_out: list[int] = []
    for key in order:
        if len(held_out) + len(groups[key]) <= wanted:
            held_out += groups[key]
    if not held_out:  # every group is larger than the side
        held_out = min(groups.values(), key=len)
    kept = sorted(set(range(len(dataset))) - set(held_out))
    return np.array(kept, int), np.array(sorted(held_out), int)


def _group_images(dataset: Any) -> dict[str, list[int]]:
    """Return the indices of the images that belong together, by a hash of their contents."""
    files = getattr(dataset, 'image_files', None)
    if files is None:
        hashes = [_hash_array(dataset[i][0]) for i in range(len(dataset))]
    else:
        hashes = [_hash_file(file) for file in files]
    members: dict[str, list[int]] = {}
    for i, key in enumerate(hashes):
        members.setdefault(key, []).append(i)
    # Images of one content and copies of one source form a graph. Its components are the groups.
    parent = list(range(len(hashes)))

    def find_root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    copies: dict[str, list[int]] = {}
    for i, file in enumerate(files or ()):
        source = _ROBOFLOW_COPY.match(os.path.splitext(os.path.basename(file))[0])
        if source:
            copies.setdefault(source[1], []).append(i)
    for indices in (*members.values(), *copies.values()):
        for i in indices[1:]:
            parent[find_root(i)] = find_root(indices[0])
    groups: dict[int, list[int]] = {}
    for i in range(len(hashes)):
        groups.setdefault(find_root(i), []).append(i)
    return {min(hashes[i] for i in indices): indices for indices in groups.values()}


def _hash_file(file: str) -> str:
    """Return the hash of an image's pixels, or of its bytes if it cannot be read."""
    try:
        return hash_pixels(file)
    except (MemoryError, OSError, ValueError):
        pass
    try:
        with open(file, 'rb') as opened:
            return hashlib.sha256(opened.read()).hexdigest()
    except OSError:
        return hashlib.sha256(os.fsencode(file)).hexdigest()


def _hash_array(img: np.ndarray) -> str:
    return hashlib.sha256(f'{img.shape} {img.dtype}'.encode() + img.tobytes()).hexdigest()
