"""Makes Chainer 7.8.1 work on NumPy 2, Python 3.12 and later, mpi4py 4, CuPy 13 and 14.

A patch replaces a few words in the source of one of Chainer's modules while that module is
imported: nothing is lent to NumPy, no file of Chainer's (nor its bytecode cache) is written, and
line numbers stay. A patch that is not needed, or whose words are not there, does nothing.
``chainer_ssd_startup`` loads this file by its path before Chainer is imported, so it imports
nothing of chainer_ssd. ``CHAINER_SSD_COMPAT=off`` turns it off.
"""

import importlib
import os
import sys
import warnings
from importlib.machinery import PathFinder, SourceFileLoader
from typing import Callable, NamedTuple

import numpy as np

CHAINER = '7.8.1'
NUMPY = tuple(int(part) for part in np.__version__.split('.')[:2])


def importable(*names):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # both announce their end
            for name in names:
                importlib.import_module(name)
    except Exception:
        return False
    return True


class Patch(NamedTuple):
    """If ``needed()``, each of ``words`` becomes what it maps to."""

    needed: Callable[[], bool]
    words: dict[str, str]


PATCHES = {
    # Lines 6-7: Python 3.12 took numpy.distutils away, setuptools 82 pkg_resources. What they
    # serve, a warning about macOS's vecLib and one about CuPy other than 7, is of no use today.
    'chainer._environment_check': Patch(
        lambda: not importable('numpy.distutils.system_info', 'pkg_resources'),
        {
            'import numpy.distutils.system_info\nimport pkg_resources\n': '\n\n',
            '    _check_osx_numpy_backend()\n    _check_optional_dependencies()\n': '\n\n',
        },
    ),
    # Line 322, where a batch is padded: out as a third positional argument warns since NumPy 2.4.
    'chainer.dataset.convert': Patch(
        lambda: NUMPY >= (2, 4),
        {'maximum(shape, array.shape, shape)': 'maximum(shape, array.shape, out=shape)'},
    ),
    # Lines 10 and 252: NumPy 2.0 took np.sctypes away.
    'chainer.functions.array.as_strided': Patch(
        lambda: NUMPY >= (2, 0),
        {
            "np.sctypes['int']": '(np.int8, np.int16, np.int32, np.int64)',
            "np.sctypes['float']": '(np.float16, np.float32, np.float64, np.longdouble)',
        },
    ),
    # Lines 179-196: numpy.float, Python's float, warns since NumPy 1.20; 1.24 took it away.
    'chainer.functions.array.resize_images': Patch(
        lambda: NUMPY >= (1, 20),
        {'dtype=numpy.float)': 'dtype=float)'},
    ),
    # Line 137: int() of a one-element array warns since NumPy 1.25 and raises since 2.5, on all
    # ranks but the master, which then waits for ever.
    'chainermn.iterators.multi_node_iterator': Patch(
        lambda: NUMPY >= (1, 25),
        {'int(_size)': 'int(_size[0])'},
    ),
    # Line 211: since NumPy 2.0, and so in CuPy 14, array(copy=False) raises where a copy is due,
    # as it always is here, where the dtypes differ: an all-reduce in float16.
    'chainermn.communicators._memory_utility': Patch(
        lambda: NUMPY >= (2, 0),
        {'xp.array(v, copy=False, dtype=transfer_dtype)': 'v.astype(transfer_dtype, copy=False)'},
    ),
}


class PatchedLoader(SourceFileLoader):
    """Compiles the patched source; bytecode caches are neither read nor written."""

    def get_code(self, fullname):
        source = self.get_source(fullname)
        for old, new in PATCHES[fullname].words.items():
            source = source.replace(old, new)
        return self.source_to_code(source, self.path)


class ChainerPatcher:
    """Import finder for the modules of Chainer that have something to mend."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if not is_due(name):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = PatchedLoader(name, spec.loader.path)
        return spec


def is_due(name):
    """Whether module ``name`` has a patch, of this Chainer, that is needed here."""
    return (
        name in PATCHES
        and importlib.import_module('chainer._version').__version__ == CHAINER
        and PATCHES[name].needed()
    )


def install():
    """Patches Chainer's modules as they are imported, and those that are already; once."""
    if os.environ.get('CHAINER_SSD_COMPAT') == 'off':
        return
    # The start-up hook may have loaded another copy of this file: compare names.
    if any(getattr(finder, '__name__', '') == ChainerPatcher.__name__ for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, ChainerPatcher)
    for name in PATCHES.keys() & sys.modules.keys():
        if is_due(name):
            importlib.reload(sys.modules[name])
