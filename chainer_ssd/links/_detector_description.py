"""The file ``model.json`` of a detector: which model, and its input, default boxes and classes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import chainer

from chainer_ssd._files import read_json
from chainer_ssd._options import check_label_names
from chainer_ssd.images import printable_name
from chainer_ssd.links.ssd import MAX_CLASSES
from chainer_ssd.links.weights import MAX_GROWTH, values_of

MAX_VALUE_LETTERS = 200
DESCRIPTION_FILE = 'model.json'

_TYPES: dict[str, tuple[type, ...]] = {
    'model': (str,),
    'insize': (int, type(None)),
    'box_scale': (int, float),
    'label_names': (list,),
}


def describe_detector(
    name: str | None, model: chainer.Link, label_names: Sequence[str]
) -> dict[str, Any]:
    """Return what ``model.json`` holds of a model, as values that JSON has.

    Raises
    ------
    ValueError
        If :func:`read_description` would refuse the description.
    """
    insize, box_scale = getattr(model, 'insize', None), getattr(model, 'box_scale', 1)
    description = {
        'model': type(model).__name__ if name is None else name,
        'insize': _as_python_number(insize),
        'box_scale': _as_python_number(box_scale),
        'label_names': [str(each) for each in label_names],
    }
    _check_description(description, 'model')
    return description


def read_description(path: str) -> dict[str, Any]:
    """Return the checked content of ``model.json``.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If a value is missing or not valid. The message names the file and the value.
    """
    try:
        description = read_json(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{path}: no such file. Expected a folder that save_detector wrote '
            '(a training writes it with its first evaluation)'
        ) from error
    except NotADirectoryError as error:
        raise FileNotFoundError(
            f'{os.path.dirname(path)}: not a folder. Expected one that save_detector wrote'
        ) from error
    if isinstance(description, dict):
        description.setdefault('box_scale', 1)  # version 0.1 had none
        description.setdefault('insize', None)
    _check_description(description, path)
    return description


def check_class_count(n_fg_class: int, smallest: chainer.Chain, n_byte: int) -> None:
    """Raise ``ValueError`` if a weight file is too small for this number of classes.

    Parameters
    ----------
    n_fg_class : int
        Number of class names in the description.
    smallest : chainer.Chain
        The model with one class.
    n_byte : int
        Size of the weight file.
    """
    # A head has at most 4 offsets, the background and the class for each default box. So a sixth
    # of the weights that depend on the classes belongs to the one class.
    n_byte_per_class = (
        sum(
            value.nbytes
            for name, value in values_of(smallest).items()
            if name.startswith(tuple(smallest.class_layers))
        )
        / 6
    )
    n_fitting = int(MAX_GROWTH * n_byte / n_byte_per_class)
    if n_fg_class > n_fitting:
        raise ValueError(
            f"'label_names' has {n_fg_class} names, expected at most {n_fitting} for weights of "
            f'{n_byte} bytes'
        )


def shorten(value: Any) -> str:
    """Return a value of a file for a message: one short, printable line."""
    return printable_name(repr(value), MAX_VALUE_LETTERS)


def _check_description(description: Any, source: str) -> None:
    for key, types in _TYPES.items():
        value = description.get(key) if isinstance(description, dict) else None
        is_finite = not isinstance(value, float) or math.isfinite(value)
        if not isinstance(value, types) or isinstance(value, bool) or not is_finite:
            wanted = 'number' if float in types else types[0].__name__
            raise ValueError(f'{source}: {key!r} is {shorten(value)}, expected a {wanted}')
    label_names = description['label_names']
    if not 0 < len(label_names) <= MAX_CLASSES:
        raise ValueError(
            f"{source}: 'label_names' has {len(label_names)} names, expected 1 to {MAX_CLASSES}"
        )
    try:
        check_label_names(label_names)
        '\0'.join(label_names).encode()  # half of a surrogate pair is no text
    except (TypeError, ValueError):
        raise ValueError(
            f"{source}: 'label_names' is {shorten(label_names)}, expected texts, each once"
        ) from None


def _as_python_number(value: Any) -> Any:
    """Return a number of NumPy as one of Python, which JSON can hold."""
    return value.item() if hasattr(value, 'item') else value
