"""Views with other strides."""

import numpy as np

from cupy._array import wrap


def as_strided(x, shape=None, strides=None):
    view = np.lib.stride_tricks.as_strided(x.numpy, shape, strides)
    return wrap(view, x.device_id)
