"""The file that states which images a training has used for what."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from chainer_ssd._files import read_json, write_json
from chainer_ssd._options import check_integer, check_label_names
from chainer_ssd.datasets._messages import quote, shorten
from chainer_ssd.datasets._split_opener import SplitOpener
from chainer_ssd.datasets.choose_splits import PARTS, ChosenSplit
from chainer_ssd.datasets.data_splits import DataSplits
from chainer_ssd.datasets.find_dataset import find_dataset

_VERSION = 1


def save_splits(data: DataSplits, file: str | os.PathLike[str]) -> None:
    """Write which images are in which part, for :func:`open_stored_splits`.

    Parameters
    ----------
    data : DataSplits
        What :func:`open_datasets` returns.
    file : str or path
        A JSON file. ``data`` holds an object for each data set with its ``path``, its ``format``,
        and ``train``, ``val`` and ``test``. Each of these is null or holds ``split`` and
        ``images``, which is null for all images of the split. ``label_names`` and the options
        follow.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    paths = [
        {
            'path': os.path.abspath(found.path),
            'format': found.format,
            **{part: choice[part]._asdict() if part in choice else None for part in PARTS},
        }
        for found, choice in zip(data.found, data.choices)
    ]
    names = list(data.all_names)
    write_json(file, {'version': _VERSION, 'data': paths, 'label_names': names, **data.options})


def open_stored_splits(
    file: str | os.PathLike[str],
    paths: Sequence[str | os.PathLike[str]] | None = None,
    dtype: Any = 'uint8',
    exif: str = 'auto',
) -> DataSplits:
    """Return the images of a training that :func:`save_splits` has written down.

    Images that were added to the data since then are in none of the parts, if some images were held
    out.

    Parameters
    ----------
    file : str or path
        The JSON file.
    paths : sequence of str or path, optional
        Where the data sets are now. Default: where they were.
    dtype : dtype
        Of the images: uint8 (default) or float32.
    exif : {'auto', 'apply', 'ignore'}
        Whether images are turned as their EXIF orientation says.

    Returns
    -------
    DataSplits
        The same images and classes.

    Raises
    ------
    OSError
        If a file cannot be opened.
    ValueError
        If the file was not written by ``save_splits``. If the number of data sets differs, or
        an image is missing.
    """
    stored = read_stored_splits(file)
    data = stored['data']
    if paths is not None and len(paths) != len(data):
        raise ValueError(
            f'{os.fspath(file)}: describes {len(data)} data sets, and {len(paths)} are given'
        )
    places = [each['path'] for each in data] if paths is None else list(paths)
    found = tuple(find_dataset(path, each['format']) for path, each in zip(places, data))
    choices = [
        {
            part: ChosenSplit(
                each[part]['split'],
                None if each[part]['images'] is None else tuple(each[part]['images']),
            )
            for part in PARTS
            if each[part] is not None
        }
        for each in data
    ]
    options = {key: stored[key] for key in ('val', 'test_fraction', 'seed', 'classes')}
    opened = SplitOpener(found, stored['label_names'], stored['classes'], dtype, exif)
    opened.read_names(choices)
    return opened.collect(choices, options)


def read_stored_splits(file: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a file that :func:`save_splits` has written.

    Parameters
    ----------
    file : str or path
        The JSON file.

    Returns
    -------
    dict
        Its keys are described at :func:`save_splits`.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it was not written by ``save_splits``.
    """
    stored = read_json(file)
    try:
        for each in stored['data']:
            each['path'] + each['format']
            for part in PARTS:
                if each[part] is not None:
                    each[part]['split'] + ''.join(each[part]['images'] or ())
        check_label_names(stored['label_names'])
        check_integer('seed', stored['seed'])
        stored['val'], stored['test_fraction'], stored['classes']
        if stored['version'] != _VERSION:
            raise ValueError(f'version {quote(stored["version"])}')
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{shorten(os.fspath(file), 300)}: not a list of splits that chainer-ssd train wrote: '
            f'{error}'
        ) from error
    return stored
