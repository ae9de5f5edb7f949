"""State of a training that another number of ranks has saved."""

from __future__ import annotations

from typing import Any

import chainer
import numpy as np

from chainer_ssd.runtime.snapshot.training_state import ITERATOR, RANDOM


def resize_state(
    trainer: Any, state: dict[str, Any], size_before: int, size: int
) -> tuple[dict[str, Any], list[str]]:
    """Return rank 0's state for a rank of a job of another size, and what changes by that.

    Weights, optimizer and extensions are rank 0's. The random states belong to single ranks, so
    they are left out. A seeded stream of examples (``RandomTransformDataset.next_epoch``) is one
    order for all ranks, and continues where it was.
    """
    state = {name: array for name, array in state.items() if not name.startswith(RANDOM)}
    changes = ['the random states of Python and NumPy (dropout) are not carried over']
    updater = trainer.updater
    for name, iterator in sorted(updater._iterators.items()):
        prefix = f'{ITERATOR}{name}/'
        before = {
            key[len(prefix) :]: array for key, array in state.items() if key.startswith(prefix)
        }
        if 'current_position' not in before or before.get('order') is None:
            continue
        resized, change = _resize_iterator(iterator, before, size_before, size)
        state.update({prefix + key: np.asarray(value) for key, value in resized.items()})
        changes += [f'iterator {name}: {text}' for text in change]
    return state, changes


def batch_sizes(trainer: Any) -> dict[str, int]:
    """Return the batch size of each iterator of the updater that has one."""
    iterators = getattr(trainer.updater, '_iterators', {})
    sizes = {name: getattr(iterator, 'batch_size', None) for name, iterator in iterators.items()}
    return {name: size for name, size in sizes.items() if isinstance(size, int)}


def describe_resize(facts: dict[str, Any], trainer: Any, size: int, changes: list[str]) -> str:
    """Return what a run on another number of ranks warns of."""
    text = f'{facts["size"]} ranks have saved the snapshot, and {size} resume: '
    for name, before in facts['batch_sizes'].items():
        after = batch_sizes(trainer).get(name)
        if after is not None and after * size != before * facts['size']:
            text += (
                f'the batch of all ranks was {facts["size"]} x {before} images and is {size} x '
                f'{after} from here on, with the same learning rate; '
            )
    return text + '; '.join(changes)


def _resize_iterator(
    iterator: Any, before: dict[str, Any], size_before: int, size: int
) -> tuple[dict[str, Any], list[str]]:
    """Return the state of an iterator at the same place in the examples of all ranks."""
    changes = []
    order = np.asarray(before['order'])
    # Rank r of n has element i · n + r of the stream of all ranks.
    n_local = int(before['epoch']) * len(order) + int(before['current_position'])
    n_seen = n_local * size_before
    position, rest = divmod(n_seen, size)
    if rest:
        position += 1
        changes.append(f'{size - rest} examples are left out, to begin on equal terms')
    expected: dict[str, Any] = {}
    chainer.serializers.DictionarySerializer(expected).save(iterator)
    if expected.get('order') is None:
        return {}, ['its order is not carried over']
    length = len(expected['order'])
    epoch, position_in_epoch = divmod(position, length)
    # A seeded stream counts its items upwards, and epoch 0 of an iterator has those from 1 · length
    # on. Other orders belong to single ranks.
    if np.array_equal(order, np.arange(len(order)) + (int(before['epoch']) + 1) * len(order)):
        order = np.arange(length) + (epoch + 1) * length
    else:
        order = np.asarray(expected['order'])
        changes.append('the order of the examples is not carried over')
    previous = position - iterator.batch_size
    return {
        'current_position': position_in_epoch,
        'epoch': epoch,
        'is_new_epoch': epoch > previous // length and previous >= 0,
        'order': order,
        'previous_epoch_detail': previous / length if previous >= 0 else -1.0,
    }, changes
