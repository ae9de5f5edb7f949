"""Random numbers of NumPy."""

import numpy as np

from cupy._array import wrap

_state = np.random.RandomState(0)


def _function(name):
    def run(*args, dtype=None, **kwargs):
        drawn = np.asarray(getattr(_state, name)(*args, **kwargs))
        return wrap(drawn if dtype is None else drawn.astype(dtype))

    return run


rand, randn, uniform, normal, randint, permutation = map(
    _function, ('rand', 'randn', 'uniform', 'normal', 'randint', 'permutation')
)
random = random_sample = _function('random_sample')


def seed(seed=None):
    _state.seed(seed)


def get_random_state():
    return _state
