"""One check over all ranks before a training starts."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from chainer_ssd.distributed import Communicator, gather_values
from chainer_ssd.runtime.open_files import RESERVE, raise_open_file_limit
from chainer_ssd.runtime.rank_differences import (
    MAX_LETTERS,
    MISSING,
    as_json,
    describe_differences,
    group_by_ranks,
    ranks_by_text,
)

PACKAGES = 'chainer', 'numpy', 'mpi4py', 'cupy', 'chainer_ssd'
MAX_FAULTS = 10  # in a message
_DIGEST_BYTES = 8


class AgreedError(RuntimeError):
    """Error that all ranks raise together. A watchdog does not report it as a failure of one.

    Attributes
    ----------
    is_agreed : bool
        True, also for a watchdog that knows no such class.
    """

    is_agreed = True


def check_job(
    comm: Communicator | None,
    facts: Mapping[str, Any],
    folder: str | os.PathLike[str] | None = None,
    needed_bytes: int = 0,
    error: Exception | None = None,
) -> None:
    """Raise one error on all ranks if they do not fit together. A collective call.

    The check compares ``facts`` and the versions of Python, Chainer, NumPy, mpi4py, CuPy and this
    package. A package that is not imported counts as missing. It also tests the folder, its free
    room, and rank 0's limit of open files. That limit is raised if the system permits: rank 0 needs
    one file for each rank, and 256 for the program itself.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        None means one rank.
    facts : mapping of str to object
        Names and JSON values that must be equal on all ranks, such as options and class names.
    folder : str or path, optional
        Folder that this rank writes to. It is made if missing. Default: none is tested.
    needed_bytes : int
        Free room that this rank needs in ``folder``. The ranks of a host that write to the same
        disk need the sum. Default: 0.
    error : Exception, optional
        What this rank has found wrong already. Then its facts and its folder are not examined.
        Default: nothing.

    Raises
    ------
    AgreedError
        The same on every rank. It names each fault once, with its ranks.
    """
    report: dict[str, Any] = {'error': None, 'digests': {}, 'local': None, 'disk': None}
    known: dict[str, Any] = {}
    if error is not None:
        report['error'] = str(error) or type(error).__name__
    else:
        try:
            known = json.loads(as_json({**facts, **_find_versions()}))
            report['digests'] = {name: _digest(value) for name, value in known.items()}
            report['local'] = '; '.join(_find_local_faults(comm, folder)) or None
            report['disk'] = _measure_disk(folder, needed_bytes)
        except Exception as found:  # the other ranks are in the collective call
            error = found
            report['error'] = f'{type(error).__name__}: {error}'
    reports = gather_values(comm, report)
    faults = group_by_ranks([each['error'] for each in reports])
    if not faults and any(each['digests'] != reports[0]['digests'] for each in reports):
        # All ranks have the same reports, so all of them make this second call.
        faults += _compare(comm, known, [each['digests'] for each in reports])
    faults += group_by_ranks([each['local'] for each in reports])
    faults += _find_full_disks([each['disk'] for each in reports if each['disk'] is not None])
    if faults:
        shown = [
            text if len(text) <= MAX_LETTERS else f'{text[:MAX_LETTERS]}...'
            for text in faults[:MAX_FAULTS]
        ]
        if len(faults) > MAX_FAULTS:
            shown.append(f'and {len(faults) - MAX_FAULTS} more')
        raise AgreedError('; '.join(shown)) from error


def _find_versions() -> dict[str, str]:
    versions = {'version of Python': platform.python_version()}
    for name in PACKAGES:
        module = sys.modules.get(name)
        if module is not None:
            version = getattr(module, '__version__', None) or metadata.version(name)
            versions[f'version of {name}'] = str(version)
    return versions


def _find_local_faults(
    comm: Communicator | None, folder: str | os.PathLike[str] | None
) -> Iterator[str]:
    if comm is not None and comm.rank == 0 and not raise_open_file_limit(comm.size):
        yield (
            f'the limit of open files is too low for {comm.size} ranks, '
            f'which need {comm.size + RESERVE}. Raise it with ulimit -n'
        )
    if folder is None:
        return
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield f'{os.fspath(folder)}: cannot be written: {error.strerror or error}'


def _measure_disk(
    folder: str | os.PathLike[str] | None, needed_bytes: int
) -> dict[str, Any] | None:
    """Return the disk of a folder, its free room and the room that this rank needs."""
    if folder is None or not needed_bytes:
        return None
    try:
        device, free = os.stat(folder).st_dev, shutil.disk_usage(folder).free
    except OSError:  # a folder that cannot be written is named already
        return None
    return {
        'host': socket.gethostname(),
        'device': device,
        'folder': os.fspath(folder),
        'free': free,
        'needed': needed_bytes,
    }


def _find_full_disks(disks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a fault for each disk of a host whose ranks need more room than there is."""
    of_one: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for disk in disks:
        of_one.setdefault((disk['host'], disk['device']), []).append(disk)
    faults = []
    for (host, _), ranks in sorted(of_one.items()):
        free, needed = min(each['free'] for each in ranks), sum(each['needed'] for each in ranks)
        if needed > free:
            faults.append(
                f'host {host}: {free // 10**6} MB are free in {ranks[0]["folder"]}, and '
                f'{math.ceil(needed / 10**6)} MB are needed there'
            )
    return faults


def _compare(
    comm: Communicator | None, facts: Mapping[str, Any], digests: Sequence[Mapping[str, str]]
) -> list[str]:
    """Return a fault for each part of a fact that differs between ranks. A collective call.

    One rank sends each value. So 1,024 ranks do not send the same class names.
    """
    ranks_of = {
        name: ranks_by_text([each.get(name) for each in digests])
        for name in sorted(set().union(*digests))
    }
    rank = 0 if comm is None else comm.rank
    own = {
        name: facts[name]
        for name, by_digest in ranks_of.items()
        if len(by_digest) > 1 and name in facts
        if any(ranks[0] == rank for ranks in by_digest.values())
    }
    sent = gather_values(comm, own)
    faults = []
    for name, by_digest in ranks_of.items():
        groups = [(ranks, sent[ranks[0]].get(name, MISSING)) for ranks in by_digest.values()]
        faults += describe_differences(name, groups)
    return faults


def _digest(value: Any) -> str:
    return hashlib.sha256(as_json(value).encode()).hexdigest()[: 2 * _DIGEST_BYTES]
