"""One check over all ranks before a training starts."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from chainer_ssd._options import short_repr
from chainer_ssd.distributed import Communicator, gather_values
from chainer_ssd.runtime.open_files import raise_open_file_limit

PACKAGES = 'chainer', 'numpy', 'mpi4py', 'cupy', 'chainer_ssd'
MAX_FAULTS, MAX_RANKS = 10, 8  # in a message


def check_job(
    comm: Communicator | None,
    facts: Mapping[str, Any],
    folder: str | os.PathLike[str] | None = None,
    needed_bytes: int = 0,
    error: Exception | None = None,
) -> None:
    """Raise one error on all ranks if they do not fit together. A collective call.

    The check compares ``facts`` and the versions of Python, Chainer, NumPy, mpi4py, CuPy and this
    package. It also tests the folder, its free room, and rank 0's limit of open files.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase or None
        None means one rank.
    facts : mapping of str to object
        Names and JSON values that must be equal on all ranks, such as options and class names.
    folder : str or path, optional
        Folder that this rank writes to. It is made if missing. Default: none is tested.
    needed_bytes : int
        Free room that this rank needs in ``folder``. Default: 0.
    error : Exception, optional
        What this rank has found wrong already. Default: nothing.

    Raises
    ------
    RuntimeError
        The same on every rank. It names each fault once, with its ranks.
    """
    versions = {f'version of {name}': version for name, version in _find_versions()}
    facts = {**facts, **versions} if error is None else {}
    report = {
        'error': None if error is None else str(error) or type(error).__name__,
        'digest': _digest(facts),
        'local': list(_find_local_faults(comm, folder)),
        'host': socket.gethostname(),
        'free': _free_bytes(folder),
        'needed': needed_bytes,
    }
    reports = gather_values(comm, report)
    faults = _group([report['error'] for report in reports])
    if not faults and len({report['digest'] for report in reports}) > 1:
        # All ranks have the same reports, so all of them make this second call.
        faults += _compare(gather_values(comm, facts))
    faults += _group([text for report in reports for text in report['local']], with_ranks=False)
    faults += _find_full_disks(reports)
    if faults:
        more = f'; and {len(faults) - MAX_FAULTS} more' if len(faults) > MAX_FAULTS else ''
        raise RuntimeError('; '.join(faults[:MAX_FAULTS]) + more) from error


def _find_versions() -> Iterator[tuple[str, str]]:
    yield 'Python', platform.python_version()
    for name in PACKAGES:
        module = sys.modules.get(name)
        if module is not None:
            yield name, str(getattr(module, '__version__', None) or metadata.version(name))


def _find_local_faults(
    comm: Communicator | None, folder: str | os.PathLike[str] | None
) -> Iterator[str]:
    rank = '' if comm is None else f'rank {comm.rank}: '
    if comm is not None and comm.rank == 0 and not raise_open_file_limit(comm.size):
        yield (
            f'{rank}the limit of open files is too low for {comm.size} ranks. Raise it with '
            'ulimit -n'
        )
    if folder is None:
        return
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield f'{rank}{os.fspath(folder)}: cannot be written: {error.strerror}'


def _free_bytes(folder: str | os.PathLike[str] | None) -> int | None:
    try:
        return None if folder is None else shutil.disk_usage(folder).free
    except OSError:
        return None


def _find_full_disks(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a fault for each host whose ranks need more room than there is."""
    faults = []
    for host in sorted({report['host'] for report in reports}):
        on_host = [report for report in reports if report['host'] == host]
        free = min((report['free'] for report in on_host if report['free'] is not None), default=0)
        needed = sum(report['needed'] for report in on_host)
        if needed > free:
            faults.append(
                f'host {host}: {free / 1e6:.0f} MB are free in the output folder, and the '
                f'snapshots need {needed / 1e6:.0f} MB'
            )
    return faults


def _compare(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a fault for each fact that differs between ranks."""
    faults = []
    for name in sorted(set().union(*facts)):
        texts = [json.dumps(each.get(name), sort_keys=True, default=repr) for each in facts]
        if len(set(texts)) > 1:
            values = [_describe(each.get(name), facts[0].get(name)) for each in facts]
            faults.append(f'{name} differs: ' + ', '.join(_group(values, before=False)))
    return faults


def _describe(value: Any, of_rank_0: Any) -> str:
    """Return a short text for a value: of long values only the part that differs from rank 0."""
    if isinstance(value, Mapping) and isinstance(of_rank_0, Mapping):
        keys = sorted(set(value) | set(of_rank_0))
        differing = [key for key in keys if value.get(key) != of_rank_0.get(key)] or keys[:1]
        return f'{differing[0]} {short_repr(value.get(differing[0]))}'
    if isinstance(value, list) and isinstance(of_rank_0, list) and value != of_rank_0:
        pairs = enumerate(zip(value, of_rank_0))
        first = next((i for i, (a, b) in pairs if a != b), min(len(value), len(of_rank_0)))
        found = short_repr(value[first]) if first < len(value) else 'nothing'
        return f'{found} at place {first} of {len(value)}'
    return f'{len(value)} values' if isinstance(value, list) else short_repr(value)


def _group(texts: Sequence[str | None], before: bool = True, with_ranks: bool = True) -> list[str]:
    """Return each text once, with its ranks."""
    ranks: dict[str, list[int]] = {}
    for rank, text in enumerate(texts):
        if text is not None:
            ranks.setdefault(text, []).append(rank)
    if not with_ranks or all(len(found) == len(texts) for found in ranks.values()):
        return list(ranks)
    names = {text: _list_ranks(found) for text, found in ranks.items()}
    return [f'{names[text]}: {text}' if before else f'{text} on {names[text]}' for text in ranks]


def _list_ranks(ranks: Sequence[int]) -> str:
    n_more = len(ranks) - MAX_RANKS
    shown = ', '.join(map(str, ranks[:MAX_RANKS])) + (f' and {n_more} more' if n_more > 0 else '')
    return f'rank{"s" * (len(ranks) > 1)} {shown}'


def _digest(facts: Mapping[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()
