"""State of a training as a flat dict of arrays."""

from __future__ import annotations

import random
from typing import Any

import chainer
import numpy as np

ITERATOR, RANDOM = 'trainer/updater/iterator:', 'random/'  # beginnings of names


def training_state(trainer: Any) -> dict[str, np.ndarray]:
    """Return the trainer's state and both global random states, as named arrays.

    The trainer's state has the model, the optimizer, the iterator and the extensions.
    """
    state: dict[str, Any] = {}
    chainer.serializers.DictionarySerializer(state, 'trainer/').save(trainer)
    state = {name: np.asarray(array) for name, array in state.items()}
    _, words, gauss = random.getstate()
    state[RANDOM + 'python'] = np.array(words, np.uint64)
    state[RANDOM + 'python_gauss'] = np.array([] if gauss is None else [gauss])
    _, words, *rest = np.random.get_state()
    state[RANDOM + 'numpy'], state[RANDOM + 'numpy_rest'] = words, np.array(rest)
    return state


def restore_training(trainer: Any, state: dict[str, np.ndarray]) -> None:
    """Load what :func:`training_state` has returned, or raise ``ValueError`` if shapes differ.

    The random states may be missing. They stay as they are then.
    """
    expected: dict[str, Any] = {}
    chainer.serializers.DictionarySerializer(expected, 'trainer/updater/').save(trainer.updater)
    for name, array in sorted(expected.items()):  # Chainer would broadcast
        shape, found = np.shape(array), state.get(name)
        if found is None or found.dtype == object or found.shape == shape:
            continue
        if shape and name.startswith(ITERATOR) and name.endswith('/order'):
            raise ValueError(
                f'the snapshot was made with {len(found)} training examples: '
                f'expected {len(array)}, the number of examples of this run'
            )
        if shape:
            raise ValueError(f'{name} has shape {found.shape}: expected {shape}')
    chainer.serializers.NpzDeserializer(state, 'trainer/').load(trainer)
    if RANDOM + 'python' not in state:
        return
    gauss = state[RANDOM + 'python_gauss'].tolist()
    words = tuple(state[RANDOM + 'python'].tolist())
    random.setstate((3, words, gauss[0] if gauss else None))
    position, has_gauss, cached = state[RANDOM + 'numpy_rest'].tolist()
    np.random.set_state(('MT19937', state[RANDOM + 'numpy'], int(position), int(has_gauss), cached))
