"""The entries of an example of a data set."""

from __future__ import annotations

import math
from typing import Any


def check_example(example: Any, n_entry: int, expected: str, n_optional: float = math.inf) -> None:
    """Raise unless an example is a tuple of ``n_entry`` entries and up to ``n_optional`` more.

    Parameters
    ----------
    example : tuple
        What a data set returned.
    n_entry : int
        Number of entries that it must have.
    expected : str
        The entries by name, in messages.
    n_optional : int
        Number of entries that may follow. Default: any number.

    Raises
    ------
    TypeError
        If it is not a tuple or a list.
    ValueError
        If the number of entries differs.
    """
    if not isinstance(example, (tuple, list)):
        raise TypeError(f'example is a {type(example).__name__}: expected a tuple {expected}')
    if not 0 <= len(example) - n_entry <= n_optional:
        raise ValueError(f'example has {len(example)} entries: expected {expected}')


def check_length(values: Any, n_bbox: int, name: str) -> None:
    """Raise unless ``values`` is a sequence of one entry for each box.

    Raises
    ------
    TypeError
        If it has no length, or no order.
    ValueError
        If the length differs.
    """
    if not hasattr(values, '__len__') or isinstance(values, (str, set, frozenset, dict)):
        raise TypeError(
            f'{name} is a {type(values).__name__}: expected {n_bbox}, one entry for each box'
        )
    length = len(values) if getattr(values, 'shape', None) != () else 0
    if length != n_bbox:
        raise ValueError(f'{name} has length {length}: expected {n_bbox}, one entry for each box')
