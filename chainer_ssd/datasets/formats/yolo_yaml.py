"""YOLO's data.yaml: class names, and where the images of each split are."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from chainer_ssd._extras import require
from chainer_ssd._files import read_bytes
from chainer_ssd._options import check_label_names, short_repr
from chainer_ssd.datasets._messages import shorten
from chainer_ssd.datasets.formats.file_tree import find_split

_MAX_BYTES = 2**18
_SPLIT_KEYS = {'train': ('train',), 'val': ('val', 'valid', 'validation'), 'test': ('test',)}


class YOLOConfig(NamedTuple):
    """The content of a data.yaml.

    Attributes
    ----------
    file : str
        The file.
    label_names : tuple of str
        The classes.
    places : dict
        Folders and lists of images that exist, by split.
    missing : dict
        What the file names and does not exist, by split.
    """

    file: str
    label_names: tuple[str, ...]
    places: dict[str, list[str]]
    missing: dict[str, str]


def read_yolo_yaml(file: str) -> YOLOConfig | None:
    """Return the content of a data.yaml, None if the file is another YAML file.

    Raises
    ------
    ValueError
        If the file is no YAML, or its class names are wrong.
    ImportError
        If PyYAML is missing (``pip install "chainer_ssd[data]"``).
    """
    yaml = require('yaml', 'data')
    content = read_bytes(file, _MAX_BYTES)
    try:
        config = yaml.safe_load(content.decode('utf-8-sig'))
    except (RecursionError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{shorten(file, 300)}: no YAML: {shorten(reason)}') from None
    if not isinstance(config, dict) or 'names' not in config:
        return None
    places: dict[str, list[str]] = {}
    missing: dict[str, str] = {}
    for split, keys in _SPLIT_KEYS.items():
        values: Any = next((config[key] for key in keys if config.get(key)), [])
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, str):
                raise ValueError(
                    f'{shorten(file, 300)}: {split} is {short_repr(value)}, expected a path'
                )
            place = _find_place(file, config.get('path'), value)
            if place is not None and _holds(place, file):
                raise ValueError(
                    f'{shorten(file, 300)}: {split} is {short_repr(value)}, which holds this file, '
                    'expected a folder of images'
                )
            if place is None:
                missing[split] = value
            else:
                places.setdefault(split, []).append(place)
    names = _read_names(file, config['names'])
    if isinstance(config.get('nc'), int) and config['nc'] != len(names):
        raise ValueError(
            f'{shorten(file, 300)}: nc is {config["nc"]}, and there are {len(names)} names'
        )
    return YOLOConfig(file, names, places, missing)


def _read_names(file: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise ValueError(
                f'{shorten(file, 300)}: names have the numbers {short_repr(list(names))}, expected '
                f'0 to {len(names) - 1}'
            )
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(
            f'{shorten(file, 300)}: names is {short_repr(names)}, expected a list of names'
        )
    # YAML reads some names as other types, such as 1 and yes.
    return check_label_names(
        [_to_name(name, file) for name in names], name=f'{shorten(file, 300)}: names'
    )


def _to_name(name: Any, file: str) -> str:
    if isinstance(name, bool):
        return 'yes' if name else 'no'
    if not isinstance(name, (str, int, float)):
        raise ValueError(f'{shorten(file, 300)}: names holds {short_repr(name)}, expected a name')
    return ' '.join(str(name).split())


def _holds(place: str, file: str) -> bool:
    """Return whether a folder lies above the folder of a file. Its walk could have no end."""
    place, folder = os.path.realpath(place), os.path.dirname(os.path.realpath(file))
    return place != folder and folder.startswith(os.path.join(place, ''))


def _find_place(file: str, base: Any, value: str) -> str | None:
    """Return the folder or list that an entry names, None if it does not exist.

    The entry may count from the folder of the file, or from ``path``. Roboflow's begin with
    ``../``, which is one too many. Others are absolute paths of another machine, whose end is
    looked for.
    """
    folder = os.path.dirname(file) or '.'
    value = value.replace('\\', '/')
    bases = [folder]
    if isinstance(base, str) and base:
        bases.insert(0, os.path.join(folder, base.replace('\\', '/')))
    parts = [part for part in re.split('/+', value) if part not in ('', '.', '..')]
    candidates = [os.path.join(each, value) for each in bases]
    # The end must still name the split: ../test/images is not the folder images.
    is_split = [find_split(os.path.splitext(part)[0]) is not None for part in parts]
    candidates += [
        os.path.join(folder, *parts[n:]) for n in range(len(parts)) if n == 0 or any(is_split[n:])
    ]
    return next((os.path.normpath(each) for each in candidates if os.path.exists(each)), None)
