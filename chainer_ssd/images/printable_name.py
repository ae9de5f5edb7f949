"""Names as a terminal, a log and a picture can hold them."""

from __future__ import annotations

MAX_LETTERS = 80
_DOTS = '...'


def printable_name(name: str, max_letters: int = MAX_LETTERS) -> str:
    """Return a name without control characters, shortened to a number of letters.

    Escape sequences change a terminal's colours or title, and a name of 100,000 letters hides
    everything else. So class names and file names pass this function before they are printed.

    Parameters
    ----------
    name : str
        Any text.
    max_letters : int
        Maximum length of the result. Default: 80.

    Returns
    -------
    str
        ``name`` itself if it is short and printable. Otherwise, a letter that is not printable
        becomes its escape sequence in Python, for example ``\\n``. A longer result ends with three
        dots.
    """
    letters = name[: max_letters + 1]
    if not letters.isprintable():
        letters = ''.join(
            each if each.isprintable() else each.encode('unicode_escape').decode()
            for each in letters
        )
    if len(letters) > max_letters:
        letters = letters[: max_letters - len(_DOTS)] + _DOTS
    return letters
