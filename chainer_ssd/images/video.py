"""Reading videos, cameras and streams frame by frame, and writing videos, with OpenCV."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd._options import check_integer

_DEFAULT_FPS = 25  # of a file that states no rate
_MAX_FPS = 1000  # a larger rate is an error of the file
_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]*://', re.I)


class VideoReader:
    """The frames of a video file, a camera or a stream: ``for img in VideoReader(source)``.

    A frame is a float32 array (3, H, W), RGB, 0..255. It is rotated as the file requires.

    Parameters
    ----------
    source : str, path or int
        A file, the address of a stream such as ``'rtsp://camera.local/live'``, or the number of
        a camera of this machine, counted from 0.

    Attributes
    ----------
    name : str
        What :func:`video_source_name` returns for the source.
    is_live : bool
        Whether the source is a camera or a stream. It may have no end.
    fps : float
        Frames per second. 25 if the source states none.
    n_frame : int
        Number of frames that the source states, or 0. Some formats only estimate it.

    Raises
    ------
    ValueError
        If the file does not exist, or OpenCV cannot open the source.
    TypeError
        If the number of a camera is no integer.
    ImportError
        If OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """

    def __init__(self, source: str | os.PathLike[str] | int) -> None:
        cv2 = require('cv2', 'data')
        self.name = video_source_name(source)
        source = source if isinstance(source, int) else os.fspath(source)
        self.is_live = isinstance(source, int) or is_address(source)
        if not self.is_live and not os.path.isfile(source):
            raise ValueError(f'{self.name}: no such file')
        self.capture = cv2.VideoCapture(source)
        if not self.capture.isOpened():
            what = 'cannot be opened' if self.is_live else 'cannot be read as a video'
            raise ValueError(f'{self.name}: {what}')
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < _MAX_FPS else _DEFAULT_FPS
        self.n_frame = max(0, int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            is_read, frame = self.capture.read()
            if not is_read:
                return
            yield frame[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)

    def close(self) -> None:
        """Release the file, the camera or the connection."""
        self.capture.release()


def is_address(source: str) -> bool:
    """Return whether the source of a video is the address of a stream, and not a file.

    Parameters
    ----------
    source : str
        As :class:`VideoReader` takes it.

    Returns
    -------
    bool
        True if it begins with a scheme, such as ``rtsp://``.
    """
    return _ADDRESS.match(source) is not None


def video_source_name(source: str | os.PathLike[str] | int) -> str:
    """Return how the source of a video is named in messages and results.

    Parameters
    ----------
    source : str, path or int
        As :class:`VideoReader` takes it.

    Returns
    -------
    str
        ``'camera 0'`` for 0. An address without user, password, query and fragment, which may hold
        secrets. The path of a file as it is.

    Raises
    ------
    TypeError, ValueError
        If the number of a camera is no integer, or below 0.
    """
    if not isinstance(source, (str, os.PathLike)):
        return f'camera {check_integer("source", source)}'
    source = os.fspath(source)
    scheme = _ADDRESS.match(source)
    if scheme is None:
        return source
    host, slash, path = re.split(r'[?#]', source[scheme.end() :])[0].partition('/')
    return scheme[0] + host.rpartition('@')[2] + slash + path


class VideoWriter:
    """A writer of .mp4 files, frame by frame: ``with VideoWriter(path, fps) as writer``.

    The codec is MPEG-4 Part 2, which OpenCV can write on any machine. Video players play it, but
    most browsers do not. Height and width must be even, so the last row or column of an odd size
    is dropped. Without frames, no file is written.

    Parameters
    ----------
    path : str
        The file.
    fps : float
        Frames per second.

    Attributes
    ----------
    error : str or None
        Why the file is missing. Failures raise no exception, so that the caller can continue its
        other work with the frames.
    """

    def __init__(self, path: str, fps: float) -> None:
        self.path, self.fps = path, fps
        self.error: str | None = None
        self._writer: Any = None
        self._n_frame = 0

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, img: np.ndarray) -> None:
        """Append a frame. After an error, nothing is written.

        Parameters
        ----------
        img : uint8 array of shape (3, H, W)
            RGB. All frames have the same size.

        Raises
        ------
        ImportError
            If OpenCV is missing (``pip install "chainer_ssd[data]"``).
        """
        cv2 = require('cv2', 'data')
        if self._writer is None:
            size = img.shape[:0:-1]
            self._writer = cv2.VideoWriter(
                self.path, cv2.VideoWriter_fourcc(*'mp4v'), self.fps, size
            )
            if not self._writer.isOpened():
                self.error = f'{self.path}: OpenCV cannot write an .mp4 of {size} pixels'
        if self.error is None:
            self._writer.write(np.ascontiguousarray(img.transpose(1, 2, 0)[:, :, ::-1]))
            self._n_frame += 1

    def __exit__(self, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if self.error is None and not self._is_complete():  # OpenCV does not report a full disk
            self.error = f'{self.path}: OpenCV could not write all of it (is the disk full?)'
            with contextlib.suppress(OSError):
                os.remove(self.path)

    def _is_complete(self) -> bool:
        try:
            return VideoReader(self.path).n_frame >= self._n_frame
        except ValueError:
            return False
