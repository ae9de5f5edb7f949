"""Optional packages, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import an optional module, or raise with the command that installs it.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str
        Extra of ``chainer_ssd`` that contains it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{module} is needed here and cannot be imported ({error}): '
            f'pip install "chainer_ssd[{extra}]"'
        ) from error
