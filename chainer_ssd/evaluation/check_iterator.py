"""Checks of iterators and data sets, before anything is predicted."""

from __future__ import annotations

from typing import Any

REPEATS = 'the iterator repeats and never ends. Create it with repeat=False'


def check_single_pass(iterator: Any, name: str = 'iterator') -> None:
    """Raise ``ValueError`` if a Chainer iterator repeats, because evaluation would never end.

    Parameters
    ----------
    iterator : object
        A Chainer iterator, or anything else, which passes.
    name : str
        Name of the argument in messages.

    Raises
    ------
    ValueError
        If its attribute ``repeat`` is true, which is the default of Chainer's iterators.
    """
    if getattr(iterator, 'repeat', False):
        raise ValueError(f'{name}: {REPEATS}')


def check_dataset(dataset: Any, name: str = 'dataset') -> None:
    """Raise ``TypeError`` unless a data set has a length and items.

    Parameters
    ----------
    dataset : object
        A data set.
    name : str
        Name of the argument in messages.

    Raises
    ------
    TypeError
        If it is an iterator, None, or has no length.
    """
    if not hasattr(dataset, '__len__') or not hasattr(dataset, '__getitem__'):
        raise TypeError(
            f'{name} is of type {type(dataset).__name__}: expected a data set, '
            'a sequence of (img, bbox, label)'
        )
