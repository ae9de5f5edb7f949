"""A number that tells whether two data sets have the same images and annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def hash_contents(names: Sequence[Sequence[str]], arrays: Sequence[np.ndarray]) -> str:
    """Return the SHA-256 of lists of names and of arrays, as 64 hexadecimal digits.

    It depends on values and order, and not on the machine.
    """
    digest = hashlib.sha256()
    for texts in names:
        digest.update(b'%d names\n' % len(texts))
        for text in texts:
            content = text.encode('utf-8', 'surrogatepass')
            digest.update(b'%d ' % len(content) + content)
    for array in arrays:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder('<'))
        kind = f'{little.dtype.kind}{little.dtype.itemsize}'
        digest.update(f'{kind} {little.shape}\n'.encode())
        digest.update(little.tobytes())
    return digest.hexdigest()
