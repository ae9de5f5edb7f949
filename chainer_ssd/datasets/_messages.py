"""Short texts for messages about files and names."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from chainer_ssd.images import printable_name

_MAX_ITEMS = 20
_MAX_LETTERS = 1500


def shorten(text: str, max_letters: int = 200) -> str:
    """Return a text in one printable line of at most ``max_letters`` letters."""
    return printable_name(text, max_letters)


def quote(name: object) -> str:
    """Return ``repr`` of a value, shortened."""
    if isinstance(name, str):
        return repr(shorten(name, 80))
    return shorten(repr(name), 80)


def join_first(items: Iterable[str], noun: str = 'more', max_items: int = _MAX_ITEMS) -> str:
    """Return the first items, and the number of the others."""
    items = list(items)
    shown: list[str] = []
    for item in islice(items, max_items):
        item = shorten(item, 300)
        if shown and sum(map(len, shown)) + len(item) > _MAX_LETTERS:
            break
        shown.append(item)
    n_more = len(items) - len(shown)
    return ', '.join(shown) + (f' and {n_more} {noun}' if n_more else '')
