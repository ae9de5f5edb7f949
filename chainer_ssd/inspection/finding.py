"""One fault of a data set."""

from __future__ import annotations

from typing import Any, NamedTuple

from chainer_ssd.images import printable_name
from chainer_ssd.inspection.kinds import KINDS

_MAX_LETTERS = 400


class Finding(NamedTuple):
    """One fault of a data set.

    Attributes
    ----------
    kind : str
        A key of ``KINDS``.
    file : str
        The file that holds the fault, or the list of a split.
    text : str
        What was found, in one line without control characters.
    image : str
        The image file, for a picture. Empty if there is none.
    box : tuple of float or None
        (y_min, x_min, y_max, x_max) in pixels of the image, for a picture.
    """

    kind: str
    file: str
    text: str
    image: str = ''
    box: tuple[float, ...] | None = None

    @property
    def level(self) -> str:
        """``'error'``, ``'warning'`` or ``'note'``."""
        return KINDS[self.kind].level


def make_finding(kind: str, file: str, text: str, image: str = '', box: Any = None) -> Finding:
    """Return a finding whose texts a terminal and a page can hold."""
    return Finding(
        kind,
        printable_name(file, _MAX_LETTERS),
        printable_name(' '.join(text.split()), _MAX_LETTERS),
        image,
        None if box is None else tuple(float(side) for side in box),
    )
