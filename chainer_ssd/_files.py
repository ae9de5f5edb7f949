"""Files that are written whole or not at all, and npz files that are read without pickle."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

_MAX_JSON_BYTES = 8 * 2**30  # annotations of the largest data sets have 6 GB

_MAX_REASON_LETTERS = 200  # of another library's error


@contextlib.contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces ``path`` when the block ends without an error.

    The content goes to ``<path>.tmp``, which is then renamed. If the process ends at any moment,
    ``path`` holds either its old content or the whole new content.

    Parameters
    ----------
    path : str or path
        File to write. Its folder must exist.

    Yields
    ------
    binary file
        File object to write to.

    Raises
    ------
    OSError
        If the file cannot be written. It names ``path``.
    """
    path = os.fspath(path)
    temporary = f'{path}.tmp'
    try:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)  # a link of this name would be written through
        with open(temporary, 'xb') as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if isinstance(error, OSError):  # a full disk gives no file name
            raise OSError(error.errno, error.strerror or str(error), path) from error
        raise


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file as :func:`replace_file` does, and flush it to the disk.

    So ``path`` is whole even if the system itself ends at any moment. The flush takes some
    milliseconds.

    Parameters
    ----------
    path : str or path
        File to write. Its folder must exist.

    Yields
    ------
    binary file
        File object to write to.

    Raises
    ------
    OSError
        If the file cannot be written. It names ``path``.
    """
    with replace_file(path) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    _flush_folder(os.path.dirname(path) or '.')


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading in binary mode.

    A pipe would block the reader, and a device may have no end. Neither is opened.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not a regular file. The message names it.
    """
    # O_NONBLOCK returns at once from opening a pipe. Regular files ignore it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise ValueError(f'{os.fspath(path)}: expected a regular file, not a pipe or a device')
        return os.fdopen(descriptor, 'rb')
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Return the content of a regular file, or raise if it has more than ``max_bytes``.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not a regular file or too large. The message names it.
    """
    with open_regular(path) as file:
        # Python reserves as much memory as it is asked to read, so not more than the file has.
        n_byte = os.fstat(file.fileno()).st_size
        if n_byte <= max_bytes:
            return file.read(n_byte)
    raise ValueError(f'{os.fspath(path)}: expected at most {max_bytes} bytes')


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    with atomic_write(path) as file:
        file.write(text.encode('utf-8', 'surrogateescape'))


def none_if_nan(figure: Any) -> float | None:
    """Return a figure as a float, or None for NaN, which JSON does not have."""
    return None if np.isnan(figure) else float(figure)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is not a regular file, has more than 8 GiB, or its content is not JSON. The
        message names the file.
    """
    content = read_bytes(path, _MAX_JSON_BYTES)
    try:
        return json.loads(content)  # UTF-8, UTF-16 or UTF-32
    except UnicodeDecodeError as error:  # its str holds the whole content
        cause = f'byte {error.start} is not {error.encoding}. Save the file as UTF-8'
    except (ValueError, RecursionError) as error:
        cause = f'{error}'[:200]
    raise ValueError(f'{path}: not a well-formed JSON file: {cause}')


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Write arrays as an npz file, whole or not at all."""
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def read_npz(
    path: str | os.PathLike[str],
    names: Collection[str] | None = None,
    max_bytes: int | None = None,
) -> dict[str, np.ndarray]:
    """Read arrays of an npz file without pickle.

    Parameters
    ----------
    path : str or path
        File to read.
    names : collection of str, optional
        Arrays to read, where the file has them. Default: all.
    max_bytes : int, optional
        Largest size of these arrays in memory. It is checked before they are read, because a small
        file can expand to any size. Default: no limit.

    Returns
    -------
    dict
        Arrays by name.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is not npz, is damaged, is too large, or holds an object that is no array. The
        message names the file.
    """
    with open_regular(path) as file:
        if file.read(2) != b'PK':  # NumPy would try to unpickle anything else
            raise ValueError(f'{path}: expected an npz file')
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as npz:
                wanted = npz.files if names is None else [n for n in npz.files if n in names]
                # NumPy takes the ending off a name.
                members = {info.filename: info.file_size for info in npz.zip.infolist()}
                n_byte = sum(members.get(f'{name}.npy', members.get(name, 0)) for name in wanted)
                if max_bytes is not None and n_byte > max_bytes:
                    raise ValueError(
                        f'it holds {n_byte} bytes, expected at most {max_bytes} bytes of arrays'
                    )
                arrays = {name: npz[name] for name in wanted}
        except Exception as error:  # a damaged zip raises many types
            reason = ' '.join(str(error).split())[:_MAX_REASON_LETTERS]
            if 'allow_pickle' in reason:  # NumPy's advice would run code
                reason = 'it holds Python objects, expected arrays of numbers'
            raise ValueError(f'{path}: expected an npz file: {reason}') from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError(f'{path}: expected an npz file: a member is no array')
    return arrays


def _flush_folder(folder: str) -> None:
    """Flush a rename to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems do not support it
            raise
    finally:
        os.close(descriptor)
