"""An npz file and its JSON record: either whole, or known not to be."""

import contextlib
import hashlib
import json
import os

import numpy as np

from chainer_ssd._files import atomic_write, read_npz


def write_record(path, arrays, **facts):
    """Writes ``path.npz``, then ``path.json``, which says that the former is whole.

    ``None``, which npz could hold as a pickle only, is named in the record instead.
    """
    none = [name for name, array in arrays.items() if array.dtype == object]
    for name in none:
        if arrays[name][()] is not None:
            raise TypeError(
                f'{name} is a {type(arrays[name][()]).__name__}: expected what npz '
                'holds without pickle'
            )
    arrays = {name: array for name, array in arrays.items() if array.dtype != object}
    with atomic_write(f'{path}.npz') as file:
        np.savez(file, **arrays)
        file.flush()
        checksum = sha256(file.name)
    with atomic_write(f'{path}.json') as file:
        file.write(json.dumps({**facts, 'none': none, 'sha256': checksum}, indent=1).encode())


def read_record(path):
    """What ``path.json`` says; ValueError unless ``path.npz`` is whole."""
    try:
        with open(f'{path}.json', encoding='utf-8') as file:
            facts = json.load(file)
        found = sha256(f'{path}.npz')
    except OSError as error:
        raise ValueError(f'{path}: {error.strerror}') from error
    except ValueError as error:
        raise ValueError(f'{path}.json is torn: {error}') from error
    if not isinstance(facts, dict) or 'sha256' not in facts:
        raise ValueError(f'{path}.json is no record of a snapshot')
    if found != facts['sha256']:
        raise ValueError(f'{path}.npz is torn: its checksum is not the one in {path}.json')
    return facts


def read_arrays(path, facts):
    """The arrays that :func:`write_record` was given."""
    return {**read_npz(f'{path}.npz'), **{name: np.array(None) for name in facts['none']}}


def delete_record(path):
    """Deletes both files, the record first: what is left of it is never taken for whole."""
    for suffix in ('.json', '.npz'):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + suffix)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()
