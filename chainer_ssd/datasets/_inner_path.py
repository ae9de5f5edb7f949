"""Names of files from lists and annotation files, which must not lead out of their folder."""

from __future__ import annotations

import os
import re

from chainer_ssd.datasets._messages import shorten

# Longer paths exist on no supported system.
_MAX_LETTERS = 4096
_UNUSABLE = re.compile('[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]')


def check_inner_path(name: str, where: str, folder: str) -> None:
    """Raise ``ValueError`` unless a name leads to a file inside a folder.

    Parameters
    ----------
    name : str
        Relative path from a file that a stranger may have written.
    where : str
        Beginning of the message: file, line, and the name as ``repr``.
    folder : str
        The folder that the name is relative to, for the message.
    """
    if len(name) > _MAX_LETTERS:
        raise ValueError(f'{where} has {len(name)} letters, expected a name of a file')
    if _UNUSABLE.search(name):
        raise ValueError(f'{where} holds control characters, expected a name of a file')
    parts = re.split(r'[/\\]' if os.sep == '\\' else '/', name)
    if os.path.isabs(name) or '..' in parts:
        raise ValueError(
            f'{where} leads out of its folder, expected a name in {shorten(folder, 300)}'
        )
    if not name.strip('./'):
        raise ValueError(f'{where}: expected a name of a file')
