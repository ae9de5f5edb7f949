"""Recognizes code that blocks until other ranks answer."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys

from chainer_ssd import distributed

PACKAGES = 'chainermn', 'mpi4py'

_real_path = functools.lru_cache(maxsize=1024)(os.path.realpath)


def find_communication_directories() -> tuple[str, ...]:
    """Return the real directories of the packages whose calls block until other ranks answer.

    No package is imported for it.
    """
    files = [distributed.__file__, *map(_find_package_file, PACKAGES)]
    return tuple(os.path.dirname(os.path.realpath(file)) for file in files if file is not None)


def is_in_directory(file: str, directories: tuple[str, ...]) -> bool:
    """Return whether a source file lies below one of the real directories."""
    return _real_path(file).startswith(tuple(directory + os.sep for directory in directories))


def _find_package_file(name: str) -> str | None:
    """Return the ``__init__.py`` of a package, or None if it is missing or a namespace package."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, '__file__', None)
    spec = importlib.util.find_spec(name)
    return spec.origin if spec is not None and spec.has_location else None
