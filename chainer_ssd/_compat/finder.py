"""Import machinery that applies the patches."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .cuda_libraries import load_cuda_libraries
from .patches import PATCHES, is_due

_HELP = (
    'Keep the source files of chainer and chainermn (PyInstaller: module_collection_mode '
    "'py' in a hook of each)"
)


class PatchedLoader:
    """Loader that runs patched source. Bytecode caches are neither read nor written.

    Everything else, such as the file name, comes from the loader that found the module.
    """

    def __init__(self, loader: Any, source: str) -> None:
        self._loader, self._source = loader, source

    def create_module(self, spec: ModuleSpec) -> None:
        """Use Python's default."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the patched source in ``module``."""
        origin = getattr(module.__spec__, 'origin', None) or module.__name__
        exec(compile(self._source, origin, 'exec', dont_inherit=True), module.__dict__)

    def get_source(self, fullname: str) -> str:
        """Return the patched source."""
        return self._source

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or '_loader' not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._loader, name)


class ChainerPatcher:
    """Finder for the modules of Chainer that need a patch."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the module as the other finders find it, with patched source."""
        if not is_due(name):
            return None
        spec = _find_with_others(name, path, target)
        if spec is None:
            return None
        source = _get_source(spec.loader, name)
        if source is None:
            _warn(name, f'its loader {type(spec.loader).__name__} gives no source. {_HELP}')
            return spec
        missing = [words for words in PATCHES[name].words if words not in source]
        if missing:
            _warn(name, f'its source differs from the release: {missing[0]!r} is not in it')
        for old, new in PATCHES[name].words.items():
            source = source.replace(old, new)
        spec.loader = PatchedLoader(spec.loader, source)  # type: ignore[assignment]
        spec.cached = None
        return spec


def install() -> None:
    """Patch Chainer's modules when they are imported, and those that already are. Once.

    For CuPy 13, also load the CUDA libraries that it needs.
    """
    if os.environ.get('CHAINER_SSD_COMPAT') == 'off':
        return
    # The start-up hook may have loaded another copy of this folder. So names are compared.
    if any(getattr(finder, '__name__', '') == ChainerPatcher.__name__ for finder in sys.meta_path):
        return
    load_cuda_libraries()
    sys.meta_path.insert(0, ChainerPatcher)  # type: ignore[arg-type]
    for name in PATCHES.keys() & sys.modules.keys():
        if is_due(name):
            importlib.reload(sys.modules[name])


def active_patches() -> list[str]:
    """Return the names of the Chainer modules that run patched in this process."""
    # By name, since the start-up hook may have loaded another copy of this folder.
    return [
        name
        for name in PATCHES
        if type(getattr(sys.modules.get(name), '__loader__', None)).__name__
        == PatchedLoader.__name__
    ]


def _find_with_others(name: str, path: Any, target: Any) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if getattr(finder, '__name__', '') == ChainerPatcher.__name__:
            continue
        find_spec = getattr(finder, 'find_spec', None)
        spec = find_spec(name, path, target) if find_spec is not None else None
        if spec is not None:
            return spec
    return None


def _get_source(loader: Any, name: str) -> str | None:
    try:
        return loader.get_source(name)
    except (AttributeError, ImportError, OSError):
        return None


def _warn(name: str, reason: str) -> None:
    warnings.warn(f'chainer_ssd cannot patch {name} for this environment: {reason}', stacklevel=2)
