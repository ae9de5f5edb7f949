"""Valid option values: numbers, flags, choices and class names."""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxfrozenset = _SHORT.maxdict = 10


def short_repr(value: Any) -> str:
    """Return the ``repr`` of a value as one line of bounded length, for messages."""
    try:
        return ' '.join(_SHORT.repr(value).split())
    except Exception:  # such as an int of more digits than Python prints
        return f'<{type(value).__name__}>'


def check_number(name: str, value: Any, minimum: float = -math.inf) -> Any:
    """Raise ``ValueError`` unless ``value`` is a finite number that is at least ``minimum``."""
    if not max(minimum, -_LARGEST) <= _as_float(value) <= _LARGEST:
        bound = '' if minimum == -math.inf else f' >= {minimum:g}'
        raise ValueError(f'{name} = {short_repr(value)}: expected a finite number{bound}')
    return value


def check_ratio(name: str, value: Any) -> Any:
    """Raise ``ValueError`` unless ``value`` is a finite number that is at least 0."""
    return check_number(name, value, 0)


def check_positive_number(name: str, value: Any) -> Any:
    """Raise ``ValueError`` unless ``value`` is a finite number above 0."""
    if not 0 < _as_float(value) <= _LARGEST:
        raise ValueError(f'{name} = {short_repr(value)}: expected a finite number > 0')
    return value


def check_fraction(name: str, value: Any) -> Any:
    """Raise ``ValueError`` unless ``value`` is a number in [0, 1]."""
    if not 0 <= _as_float(value) <= 1:
        raise ValueError(f'{name} = {short_repr(value)}: expected a number in [0, 1]')
    return value


def check_part(name: str, value: Any) -> Any:
    """Raise ``ValueError`` unless ``value`` is a number in (0, 1)."""
    if not 0 < _as_float(value) < 1:
        raise ValueError(f'{name} = {short_repr(value)}: expected a number in (0, 1)')
    return value


def check_integer(name: str, value: Any, minimum: int = 0, maximum: float = math.inf) -> int:
    """Return ``value`` as an int, or raise unless it is an integer from minimum to maximum.

    Raises
    ------
    TypeError
        If ``value`` is not an integer.
    ValueError
        If ``value`` is out of range.
    """
    expected = f'an integer >= {minimum}'
    if maximum != math.inf:
        expected = f'an integer from {minimum} to {maximum}'
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f'{name} = {short_repr(value)}: expected {expected}')
    number = int(value)
    if not minimum <= number <= maximum:
        raise ValueError(f'{name} = {short_repr(value)}: expected {expected}')
    return number


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool, or raise ``TypeError`` unless it is True, False, 1 or 0."""
    is_flag = isinstance(value, (bool, np.bool_))
    if not is_flag and not (isinstance(value, numbers.Integral) and value in (0, 1)):
        raise TypeError(f'{name} = {short_repr(value)}: expected True or False')
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    choices = tuple(choices)
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        raise ValueError(f'{name} = {short_repr(value)}: expected one of {choices}')
    return value


def check_label_names(
    label_names: Sequence[str], n_class: int | None = None, name: str = 'label_names'
) -> tuple[str, ...]:
    """Return the class names as a tuple.

    Parameters
    ----------
    label_names : sequence of str
        One name per class, in the order of the labels.
    n_class : int, optional
        Required number of names. Default: any number.
    name : str
        Name of the argument in messages.

    Raises
    ------
    TypeError
        If it is a str, a set, or holds something that is not a str.
    ValueError
        If a name stands twice, or the number of names differs from ``n_class``.
    """
    if (
        isinstance(label_names, (str, set, frozenset, dict))
        or not isinstance(label_names, Iterable)
        or not all(isinstance(each, str) for each in label_names)
    ):
        raise TypeError(f'{name} = {short_repr(label_names)}: expected a sequence of str')
    if len(set(label_names)) < len(label_names):
        raise ValueError(f'{name} = {short_repr(label_names)}: expected each name once')
    if n_class is not None and len(label_names) != n_class:
        raise ValueError(f'{name} has {len(label_names)} names: expected {n_class}')
    return tuple(label_names)


_LARGEST = float.fromhex('0x1.fffffffffffffp+1023')  # the largest finite float64


def _as_float(value: Any) -> float:
    """Return a real number as a float, and NaN for anything else."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an int beyond float64
        return math.nan
