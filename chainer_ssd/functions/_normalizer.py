"""The number that the losses divide by."""

from __future__ import annotations

import math
from typing import Any, Callable

import numpy as np

from chainer_ssd._options import short_repr
from chainer_ssd.distributed import PositiveCount


def choose_normalizer(comm: Any, normalizer: Any) -> Callable[[Any], Any] | None:
    """Return a function of this rank's number of positives that returns the divisor of the loss.

    It is None if the divisor is that number itself.

    Parameters
    ----------
    comm : communicator or None
        Averages the number over ranks, unless ``normalizer`` is given.
    normalizer : float, callable or None
        Replaces the number. A callable has no arguments and is called once.

    Raises
    ------
    TypeError
        If ``normalizer`` is of another type.
    """
    if normalizer is None:
        return None if comm is None else PositiveCount.of(comm).mean
    if not callable(normalizer):
        _as_number(normalizer)
    return lambda n_positive: _resolve(normalizer, n_positive)


def _resolve(normalizer: Any, n_positive: Any) -> float:
    value = _as_number(normalizer() if callable(normalizer) else normalizer)
    if value == 0 and isinstance(n_positive, (int, float, np.number, np.ndarray)) and n_positive:
        raise ValueError(f'normalizer = 0: expected more than 0 for {int(n_positive)} positives')
    return value


def _as_number(value: Any) -> float:
    is_number = getattr(value, 'ndim', 0) == 0 and not isinstance(value, (bool, str))
    try:
        number = float(value) if is_number else None
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise TypeError(
            f'normalizer = {short_repr(value)}: expected a number, a callable that returns one, or '
            'None'
        )
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f'normalizer = {short_repr(value)}: expected a finite number >= 0')
    return number
