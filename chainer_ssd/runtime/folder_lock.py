"""A lock on the folder of a run, so that no second run writes to it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from typing import Any

from chainer_ssd.distributed import Communicator, raise_together

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Name of the file that is locked. It stays in the folder, because deleting it would be a race.
LOCK_FILE = '.lock'
_MAX_HOLDER_BYTES = 1000


@contextlib.contextmanager
def lock_folder(folder: str | os.PathLike[str], comm: Communicator | None = None) -> Iterator[None]:
    """Hold a folder for one run, inside a ``with`` block.

    The operating system releases the lock when the process ends, however it ends. So a killed run
    never blocks the next one. Over MPI, rank 0 holds the lock for all ranks.

    Parameters
    ----------
    folder : str or path
        Folder of the run. It is made if missing.
    comm : chainermn.CommunicatorBase, optional
        Communicator of the run. Every rank calls. Default: one process.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    RuntimeError
        If another process holds the folder. The message names its host, process and start. Over
        MPI, every rank raises it.
    OSError
        If the lock file cannot be written, or is a link.

    Warns
    -----
    UserWarning
        If the system or the file system has no locks. Then nothing is held.
    """
    file, error = None, None
    if comm is None or comm.rank == 0:
        try:
            file = _lock(os.fspath(folder))
        except Exception as found:
            if comm is None:
                raise
            error = found
    if comm is not None:
        raise_together(comm, error)
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def _lock(folder: str) -> int | None:
    """Return the descriptor of the locked file, or None where there are no locks."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, LOCK_FILE)
    if fcntl is None:
        _warn(path, 'this system has no file locks')
        return None
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, 'a link, expected a regular file', path) from error
        raise
    try:
        # Not flock: data workers would inherit it, and hold it after the run has been killed.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            holder = _describe_holder(os.read(file, _MAX_HOLDER_BYTES))
            os.close(file)
            raise RuntimeError(
                f'{folder}: {holder} writes to this folder. '
                'Wait for its end, or choose another folder'
            ) from error
        os.close(file)
        _warn(path, str(error))
        return None
    facts = {'host': socket.gethostname(), 'process': os.getpid(), 'start': time.ctime()}
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(facts).encode(), 0)
    return file


def _describe_holder(content: bytes) -> str:
    try:
        holder: Any = json.loads(content)
        parts = f'{holder["process"]} on {holder["host"]}, started {holder["start"]},'
    except (ValueError, TypeError, KeyError):
        return 'another process'
    return 'process ' + ''.join(filter(str.isprintable, parts[:200]))


def _warn(path: str, reason: str) -> None:
    warnings.warn(
        f'{path}: cannot be locked, so a second run could write to the same folder: {reason}',
        stacklevel=5,
    )
