"""Short texts for values that differ between ranks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chainer_ssd._options import short_repr

MAX_RANGES, MAX_VALUES, MAX_LETTERS = 8, 5, 1000  # in a text
_MIN_COMMON_LETTERS, _SHOWN_LETTERS = 60, 20  # of long texts that begin alike


class _Missing:
    def __repr__(self) -> str:
        return 'missing'


MISSING = _Missing()


def as_json(value: Any) -> str:
    """Return a value as JSON. Values that JSON lacks stand as their ``repr``."""
    return json.dumps(value, sort_keys=True, default=repr)


def describe_differences(name: str, groups: Sequence[tuple[Sequence[int], Any]]) -> list[str]:
    """Return one text for each part of a value that differs between ranks.

    Parameters
    ----------
    name : str
        Name of the value.
    groups : sequence of tuples
        Ranks and their value, which JSON can hold, or ``MISSING``.

    Returns
    -------
    list of str
        ``'seed differs: 0 (ranks 0, 2), 1 (rank 1)'``. Of a list, the first place that differs.
    """
    by_text: dict[str, tuple[list[int], Any]] = {}
    for ranks, value in groups:
        text = 'missing' if value is MISSING else as_json(value)
        by_text.setdefault(text, ([], value))[0].extend(ranks)
    if len(by_text) == 1:
        return []
    found = sorted(by_text.values(), key=lambda pair: min(pair[0]))
    values = [value for _, value in found]
    if all(isinstance(value, Mapping) for value in values):
        return [
            text
            for key in sorted(set().union(*values))
            for text in describe_differences(
                f'{name}.{key}', [(ranks, value.get(key, MISSING)) for ranks, value in found]
            )
        ]
    if all(isinstance(value, list) for value in values):
        places = _differing_places(name, found)
        first = next(places)
        n_more = sum(1 for _ in places)
        return [f'{text}, and {n_more} more in {name}' if n_more else text for text in first]
    shown = [
        f'{text} ({list_ranks(ranks)})'
        for text, (ranks, _) in zip(_describe_values(values[:MAX_VALUES]), found)
    ]
    if len(found) > MAX_VALUES:
        shown.append(f'and {len(found) - MAX_VALUES} more values')
    return [f'{name} differs: {", ".join(shown)}']


def group_by_ranks(texts: Sequence[str | None]) -> list[str]:
    """Return each text once, with its ranks, unless all ranks have it.

    Parameters
    ----------
    texts : sequence of str or None
        For each rank a text, or None.

    Returns
    -------
    list of str
        ``'ranks 1, 2: no such file'``.
    """
    return [
        text if len(ranks) == len(texts) else f'{list_ranks(ranks)}: {text}'
        for text, ranks in ranks_by_text(texts).items()
        if text is not None
    ]


def ranks_by_text(texts: Sequence[str | None]) -> dict[str | None, list[int]]:
    """Return the ranks of each text.

    Parameters
    ----------
    texts : sequence of str or None
        For each rank a text, or None.

    Returns
    -------
    dict of str or None to list of int
        The ranks, by text.
    """
    ranks: dict[str | None, list[int]] = {}
    for rank, text in enumerate(texts):
        ranks.setdefault(text, []).append(rank)
    return ranks


def list_ranks(ranks: Sequence[int]) -> str:
    """Return ``'ranks 0, 2-5'``. Of many ranges, the first ones.

    Parameters
    ----------
    ranks : sequence of int
        The ranks, in any order.

    Returns
    -------
    str
        The text.
    """
    ranges: list[list[int]] = []
    for rank in sorted(ranks):
        if ranges and rank == ranges[-1][1] + 1:
            ranges[-1][1] = rank
        else:
            ranges.append([rank, rank])
    texts = [
        f'{first}' if first == last else f'{first}{"-" if last > first + 1 else ", "}{last}'
        for first, last in ranges[:MAX_RANGES]
    ]
    n_more = sum(last - first + 1 for first, last in ranges[MAX_RANGES:])
    more = f' and {n_more} more' if n_more else ''
    return f'rank{"s" * (len(ranks) > 1)} {", ".join(texts)}{more}'


def _differing_places(
    name: str, groups: Sequence[tuple[Sequence[int], list[Any]]]
) -> Iterator[list[str]]:
    for i in range(max(len(value) for _, value in groups)):
        items = [(ranks, value[i] if i < len(value) else MISSING) for ranks, value in groups]
        texts = describe_differences(f'{name}[{i}]', items)
        if texts:
            yield texts


def _describe_values(values: Sequence[Any]) -> list[str]:
    """Return short texts for values. Of long texts that begin alike, the part that differs."""
    if all(isinstance(value, str) for value in values):
        n_common = len(os.path.commonprefix(list(values)))
        if n_common > _MIN_COMMON_LETTERS:
            values = [f'...{value[n_common - _SHOWN_LETTERS :]}' for value in values]
    return list(map(short_repr, values))
