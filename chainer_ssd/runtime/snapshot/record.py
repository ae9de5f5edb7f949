"""One rank's snapshot: an npz file, and a JSON record with the checksums of both files.

The record is written last. A snapshot without a valid record is incomplete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainer_ssd._files import open_regular, read_json, read_npz, write_json, write_npz

ARRAYS_SUFFIX, RECORD_SUFFIX = '.npz', '.json'
READ_BYTES = 1 << 20


def write_record(path: str, arrays: Mapping[str, np.ndarray], **facts: Any) -> str:
    """Write ``path.npz``, then ``path.json`` with ``facts`` and both checksums.

    npz could hold ``None`` as a pickle only. The record lists the names of such values instead.

    Returns the checksum of the facts, which contain the checksum of the arrays.
    """
    none = [name for name, array in arrays.items() if array.dtype == object]
    for name in none:
        if arrays[name][()] is not None:
            raise TypeError(
                f'{name} is a {type(arrays[name][()]).__name__}: expected an array or None, '
                'because npz files hold nothing else without pickle'
            )
    arrays = {name: array for name, array in arrays.items() if array.dtype != object}
    write_npz(path + ARRAYS_SUFFIX, arrays)
    checksum = _sha256(path + ARRAYS_SUFFIX)
    facts = {**facts, 'none': none, 'sha256': checksum}
    write_json(path + RECORD_SUFFIX, {'facts': facts, 'sha256_of_facts': sha256_of_facts(facts)})
    return sha256_of_facts(facts)


def read_record(path: str) -> dict[str, Any]:
    """Return the facts in ``path.json``, or raise ``ValueError`` if one of the files is damaged."""
    try:
        record = read_json(path + RECORD_SUFFIX)
        if not isinstance(record, dict) or not isinstance(record.get('facts'), dict):
            raise ValueError(f'{path}{RECORD_SUFFIX}: expected the record of a snapshot')
        facts = record['facts']
        if sha256_of_facts(facts) != record.get('sha256_of_facts'):
            raise ValueError(f'{path}{RECORD_SUFFIX} is damaged: its checksum differs')
        found = _sha256(path + ARRAYS_SUFFIX)
    except OSError as error:
        raise ValueError(f'{error.filename}: {error.strerror}') from error
    if found != facts['sha256']:
        raise ValueError(
            f'{path}{ARRAYS_SUFFIX} is damaged: its checksum differs from the one in '
            f'{os.path.basename(path)}{RECORD_SUFFIX}'
        )
    return facts


def read_arrays(path: str, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays that :func:`write_record` has written."""
    none = {name: np.array(None) for name in facts['none']}
    return {**read_npz(path + ARRAYS_SUFFIX), **none}


def delete_record(path: str) -> None:
    """Delete both files. The record goes first, so what is left never looks complete."""
    for suffix in (RECORD_SUFFIX, ARRAYS_SUFFIX):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + suffix)


def sha256_of_facts(facts: Mapping[str, Any]) -> str:
    """Return the checksum of a JSON object."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for block in iter(lambda: file.read(READ_BYTES), b''):
            digest.update(block)
    return digest.hexdigest()
