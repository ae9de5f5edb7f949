"""Assertions that several test files share."""

import numpy as np


def to_numpy(array):
    """Return an array or the array of a Variable as a NumPy array."""
    array = getattr(array, 'array', array)
    return array.get() if hasattr(array, 'get') else np.asarray(array)


def assert_close(actual, expected, rtol):
    """Assert equality within ``rtol`` of the largest magnitude of ``expected``."""
    actual, expected = to_numpy(actual), to_numpy(expected)
    assert actual.shape == expected.shape
    scale = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)
