"""Names of the files of a snapshot: ``snapshot_<iteration>_rank<rank>`` with two suffixes."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from chainer_ssd.runtime.snapshot.record import ARRAYS_SUFFIX, RECORD_SUFFIX, delete_record

_PATTERN = re.compile(
    rf'snapshot_(\d+)_rank(\d+)({re.escape(ARRAYS_SUFFIX)}|{re.escape(RECORD_SUFFIX)})'
)


class SnapshotFile(NamedTuple):
    """One file of a snapshot, with the parts of its name."""

    path: str
    iteration: int
    rank: int
    suffix: str


def snapshot_path(folder: str, iteration: int, rank: int) -> str:
    """Return the path of a rank's snapshot, without a suffix."""
    return os.path.join(folder, f'snapshot_{iteration:08d}_rank{rank}')


def find_snapshot_files(folder: str | os.PathLike[str]) -> list[SnapshotFile]:
    """Return the files of all snapshots in a folder, sorted. A missing folder has none."""
    folder = os.fspath(folder)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    matches = filter(None, map(_PATTERN.fullmatch, names))
    return [
        SnapshotFile(os.path.join(folder, match[0]), int(match[1]), int(match[2]), match[3])
        for match in matches
    ]


def snapshot_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the paths of all snapshot files in a folder.

    Parameters
    ----------
    folder : str or path
        Folder of a run. It may be missing.

    Returns
    -------
    list of str
        Paths of all ranks' files, sorted.
    """
    return [file.path for file in find_snapshot_files(folder)]


def newest_snapshot(folder: str | os.PathLike[str], rank: int = 0) -> int | None:
    """Return the iteration of the newest snapshot that a rank has completed.

    Only names are read. :meth:`chainer_ssd.Snapshot.resume` also verifies the content.

    Parameters
    ----------
    folder : str or path
        Folder of a run. It may be missing.
    rank : int
        Number of the rank.

    Returns
    -------
    int or None
        The iteration. None if there is no snapshot.
    """
    return max(
        (
            file.iteration
            for file in find_snapshot_files(folder)
            if file.rank == rank and file.suffix == RECORD_SUFFIX
        ),
        default=None,
    )


def remove_snapshots(folder: str | os.PathLike[str]) -> None:
    """Delete all snapshots of all ranks in a folder.

    Parameters
    ----------
    folder : str or path
        Folder of a run. It may be missing. Other files stay.
    """
    for path in sorted({file.path[: -len(file.suffix)] for file in find_snapshot_files(folder)}):
        delete_record(path)
