"""Description of an exception on one line."""

from __future__ import annotations

import os
import traceback

MAX_CHARACTERS = 1000  # a longer message does not fit into the send buffers in one piece


def describe_error(error: BaseException) -> str:
    """Return the type, the text and the source line of an exception, on one line."""
    text = ' '.join(''.join(traceback.format_exception_only(type(error), error)).split())
    text = text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + '...'
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        last = frames[-1]
        text += f' (in {last.name}, {os.path.basename(last.filename)}:{last.lineno})'
    return text
