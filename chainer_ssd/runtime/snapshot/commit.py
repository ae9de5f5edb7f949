"""The file that commits a generation: rank 0 writes it after all ranks have written theirs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from chainer_ssd._files import read_json, write_json
from chainer_ssd.runtime.snapshot.files import commit_path, find_commit_files, snapshot_path
from chainer_ssd.runtime.snapshot.record import (
    ARRAYS_SUFFIX,
    RECORD_SUFFIX,
    read_record,
    sha256_of_facts,
)


class Commit(NamedTuple):
    """What a generation consists of."""

    iteration: int
    #: Checksum of each rank's record, by rank.
    records: list[str]


def write_commit(folder: str, commit: Commit, rank: int = 0) -> None:
    """Commit a generation. Ranks other than 0 write a copy, unless they see rank 0's file."""
    if rank and os.path.exists(commit_path(folder, commit.iteration)):
        return
    content = commit._asdict()
    write_json(
        commit_path(folder, commit.iteration, rank),
        {**content, 'sha256': sha256_of_facts(content)},
    )


def read_commits(folder: str) -> dict[int, Commit | str]:
    """Return the committed generations of a folder, or what is wrong with their file."""
    commits: dict[int, Commit | str] = {}
    for iteration, path in find_commit_files(folder):
        if isinstance(commits.get(iteration), Commit):
            continue
        try:
            commits[iteration] = _read_commit(path, iteration)
        except (OSError, ValueError) as error:
            commits.setdefault(iteration, str(error))
    return commits


def find_fault(folder: str, commit: Commit, rank: int) -> tuple[bool, str] | None:
    """Return whether a file of a rank is missing, and the fault. None if both are as committed."""
    path = snapshot_path(folder, commit.iteration, rank)
    for suffix in (RECORD_SUFFIX, ARRAYS_SUFFIX):
        if not os.path.lexists(path + suffix):
            return True, f'{path}{suffix} is missing'
    try:
        facts = read_record(path)
        if (facts['iteration'], facts['rank']) != (commit.iteration, rank):
            raise ValueError(
                f'{path}{RECORD_SUFFIX} was renamed: it is of iteration '
                f'{facts["iteration"]} and rank {facts["rank"]}'
            )
        if sha256_of_facts(facts) != commit.records[rank]:
            raise ValueError(f'{path}{RECORD_SUFFIX} is of another run')
    except ValueError as error:
        return False, str(error)
    return None


def _read_commit(path: str, iteration: int) -> Commit:
    found: Any = read_json(path)
    try:
        commit = Commit(found['iteration'], found['records'])
        is_valid = sha256_of_facts(commit._asdict()) == found['sha256']
    except (KeyError, TypeError):
        is_valid = False
    if not is_valid or not _are_checksums(commit.records):
        raise ValueError(f'{path} is damaged: its checksum differs')
    if commit.iteration != iteration:
        raise ValueError(f'{path} was renamed: it is of iteration {commit.iteration}')
    return commit


def _are_checksums(records: Sequence[Any]) -> bool:
    return isinstance(records, list) and all(isinstance(record, str) for record in records)
