"""All that a training consists of, as a flat dict of arrays."""

import random

import chainer
import numpy as np


def training_state(trainer):
    """Arrays of the trainer (model, optimizer, iterator, extensions) and of both generators."""
    state = {}
    chainer.serializers.DictionarySerializer(state, 'trainer/').save(trainer)
    state = {name: np.asarray(array) for name, array in state.items()}
    _, words, gauss = random.getstate()
    state['random/python'] = np.array(words, np.uint64)
    state['random/python_gauss'] = np.array([] if gauss is None else [gauss])
    _, words, *rest = np.random.get_state()
    state['random/numpy'], state['random/numpy_rest'] = words, np.array(rest)
    return state


def restore_training(trainer, state):
    """The inverse of :func:`training_state`; ValueError where shapes disagree."""
    expected = {}
    chainer.serializers.DictionarySerializer(expected, 'trainer/updater/').save(trainer.updater)
    for name, array in expected.items():  # Chainer would broadcast
        shape, found = np.shape(array), state.get(name)
        if shape and found is not None and found.dtype != object and found.shape != shape:
            raise ValueError(f'{name} has shape {found.shape}: expected {shape}')
    chainer.serializers.NpzDeserializer(state, 'trainer/').load(trainer)
    gauss = state['random/python_gauss'].tolist()
    random.setstate((3, tuple(state['random/python'].tolist()), gauss[0] if gauss else None))
    position, has_gauss, cached = state['random/numpy_rest'].tolist()
    np.random.set_state(('MT19937', state['random/numpy'], int(position), int(has_gauss), cached))
