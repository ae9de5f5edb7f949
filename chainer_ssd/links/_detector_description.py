"""The file ``model.json`` of a detector: which model, and its input, default boxes and classes."""

from __future__ import annotations

import inspect
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
#: Values that only some descriptions have, and the nesting of their lists of numbers.
_BOX_LISTS = {'sizes': 1, 'aspect_ratios': 2}
_MAX_NUMBERS = 32  # of a list: more scales or aspect ratios are no detector


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
    own = box_options(model)
    if own:
        description.update(own)
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


def box_options(model: chainer.Link) -> dict[str, Any]:
    """Return the sizes and aspect ratios of a model as lists, if they are not the default ones."""
    parameters = inspect.signature(type(model).__init__).parameters
    options = {}
    for key in _BOX_LISTS:
        value = getattr(model, key, None)
        if value is not None and key in parameters and value != parameters[key].default:
            options[key] = _as_lists(value)
    return options


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
    for key, depth in _BOX_LISTS.items():
        if key in description and not _is_nested(description[key], depth):
            lists = 'lists of numbers' if depth > 1 else 'numbers'
            raise ValueError(
                f'{source}: {key!r} is {shorten(description[key])}, expected a list of {lists} '
                'above 0'
            )
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


def _is_nested(value: Any, depth: int) -> bool:
    """Whether a value is a list of numbers above 0, or a list of such lists."""
    if not depth:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and 0 < value < math.inf
    is_list = isinstance(value, list) and len(value) <= _MAX_NUMBERS
    return is_list and all(_is_nested(each, depth - 1) for each in value)


def _as_lists(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_as_lists(each) for each in value]
    return _as_python_number(value)


def _as_python_number(value: Any) -> Any:
    """Return a number of NumPy as one of Python, which JSON can hold."""
    return value.item() if hasattr(value, 'item') else value
