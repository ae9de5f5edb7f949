"""Keys of reported figures of classes."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from chainer_ssd.images import printable_name


def class_keys(label_names: Sequence[str]) -> tuple[str, ...]:
    """Return a key for each class name: the name itself, unless a log cannot hold it well.

    A control character is escaped, and a long name is shortened. Two equal results get the number
    of their class.

    Parameters
    ----------
    label_names : sequence of str
        Names of the classes, each once.

    Returns
    -------
    tuple of str
        One key for each name, each once, printable, in at most 100 letters.
    """
    keys = [printable_name(name) for name in label_names]
    counts = collections.Counter(keys)
    taken = {*label_names}
    for label, name in enumerate(label_names):
        if keys[label] != name and (counts[keys[label]] > 1 or keys[label] in taken):
            keys[label] += f' ({label})'
            while keys[label] in taken:
                keys[label] += "'"
        taken.add(keys[label])
    return tuple(keys)
