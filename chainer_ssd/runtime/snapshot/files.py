"""Names of the files of a generation of snapshots.

Each rank writes ``snapshot_<iteration>_rank<rank>`` with two suffixes. The generation is complete
when rank 0's ``snapshot_<iteration>_committed.json`` exists. Ranks that do not see rank 0's folder
keep a copy under a name with their rank.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import NamedTuple

from chainer_ssd.runtime.snapshot.record import ARRAYS_SUFFIX, RECORD_SUFFIX, delete_record

_PATTERN = re.compile(
    rf'snapshot_(\d+)_rank(\d+)({re.escape(ARRAYS_SUFFIX)}|{re.escape(RECORD_SUFFIX)})'
)
_COMMIT_PATTERN = re.compile(r'snapshot_(\d+)(?:_rank(\d+))?_committed\.json')


class SnapshotFile(NamedTuple):
    """One file of a rank's snapshot, with the parts of its name."""

    path: str
    iteration: int
    rank: int
    suffix: str


def snapshot_path(folder: str, iteration: int, rank: int) -> str:
    """Return the path of a rank's snapshot, without a suffix."""
    return os.path.join(folder, f'snapshot_{iteration:08d}_rank{rank}')


def commit_path(folder: str, iteration: int, rank: int = 0) -> str:
    """Return the path of the file that commits a generation, or of a rank's copy."""
    owner = f'_rank{rank}' if rank else ''
    return os.path.join(folder, f'snapshot_{iteration:08d}{owner}_committed.json')


def find_snapshot_files(folder: str | os.PathLike[str]) -> list[SnapshotFile]:
    """Return the files of all ranks' snapshots in a folder, sorted. A missing folder has none."""
    matches = filter(None, map(_PATTERN.fullmatch, _list_names(folder)))
    return [
        SnapshotFile(os.path.join(folder, match[0]), int(match[1]), int(match[2]), match[3])
        for match in matches
    ]


def find_commit_files(folder: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """Return iteration and path of the files that commit a generation, rank 0's first."""
    matches = list(filter(None, map(_COMMIT_PATTERN.fullmatch, _list_names(folder))))
    matches.sort(key=lambda match: int(match[2] or 0))
    return [(int(match[1]), os.path.join(folder, match[0])) for match in matches]


def snapshot_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the paths of all snapshot files in a folder.

    Parameters
    ----------
    folder : str or path
        Folder of a run. It may be missing.

    Returns
    -------
    list of str
        Paths of all ranks' files and of those that commit a generation, sorted.
    """
    files = [file.path for file in find_snapshot_files(folder)]
    return sorted([*files, *(path for _, path in find_commit_files(folder))])


def newest_snapshot(folder: str | os.PathLike[str]) -> int | None:
    """Return the iteration of the newest generation that all ranks have completed.

    Only names are read. :meth:`chainer_ssd.Snapshot.resume` also verifies the content.

    Parameters
    ----------
    folder : str or path
        Folder of a run. It may be missing.

    Returns
    -------
    int or None
        The iteration. None if there is no complete generation.
    """
    return max((iteration for iteration, _ in find_commit_files(folder)), default=None)


def remove_snapshots(folder: str | os.PathLike[str]) -> None:
    """Delete all snapshots of all ranks in a folder.

    Parameters
    ----------
    folder : str or path
        Folder of a run. It may be missing. Other files stay.
    """
    for _, path in find_commit_files(folder):
        remove_if_present(path)
    for path in sorted({file.path[: -len(file.suffix)] for file in find_snapshot_files(folder)}):
        delete_record(path)


def remove_if_present(path: str) -> None:
    """Delete a file. Another rank may have done it."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def _list_names(folder: str | os.PathLike[str]) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
