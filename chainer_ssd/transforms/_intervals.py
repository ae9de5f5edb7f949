"""Options that are an interval (minimum, maximum) to draw a number from."""

from __future__ import annotations

from typing import Any

from chainer_ssd._options import check_number


def check_interval(
    name: str, interval: Any, minimum: float = 0, maximum: float | None = None
) -> tuple[float, float]:
    """Return ``interval`` as a tuple, or raise unless minimum <= low <= high <= maximum.

    Raises
    ------
    ValueError
        If it is not a pair of finite numbers in this order and in this range.
    """
    expected = f'expected (low, high) with {minimum:g} <= low <= high'
    if maximum is not None:
        expected += f' <= {maximum:g}'
    try:
        if isinstance(interval, (str, set, dict)):
            raise TypeError
        low, high = interval
    except (TypeError, ValueError):
        raise ValueError(f'{name} = {interval!r}: {expected}') from None
    for i, value in enumerate((low, high)):
        check_number(f'{name}[{i}]', value)
    if not minimum <= low <= high or maximum is not None and high > maximum:
        raise ValueError(f'{name} = {(low, high)}: {expected}')
    return low, high


def at_fraction(interval: tuple[float, float], fraction: Any) -> Any:
    """Return the numbers that lie at ``fraction`` (0 to 1) between low and high."""
    low, high = interval
    return low + fraction * (high - low)
