"""Additions to NumPy's functions."""

import contextlib

import numpy as np
from cupy._array import call


def scatter_add(a, slices, value):
    a.scatter_add(slices, value)


def rsqrt(x, out=None, dtype=None):
    return call(lambda x: (1 / np.sqrt(x)).astype(dtype or x.dtype), (x,), {}, 'rsqrt')


@contextlib.contextmanager
def errstate(**kwargs):
    yield
