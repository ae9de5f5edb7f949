"""What a program asked of CuPy: the names it used, and where the host waited for the device."""

import atexit
import collections
import json
import os

#: How often the host waited, for each cause such as ``'get'`` or ``'bool'``.
waits = collections.Counter()
#: Functions of the module, methods of arrays, and raw kernels.
names = {'functions': set(), 'methods': set(), 'kernels': set()}


def wait(cause):
    """Count a step at which the host waits for the device."""
    waits[cause] += 1


def _write():
    content = {'waits': waits, **{kind: sorted(each) for kind, each in names.items()}}
    with open(os.environ['CUPY_ON_NUMPY_LOG'], 'w', encoding='utf-8') as file:
        json.dump(content, file)


if os.environ.get('CUPY_ON_NUMPY_LOG'):
    atexit.register(_write)
