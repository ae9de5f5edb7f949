"""Reading and writing videos frame by frame, with OpenCV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainer_ssd._extras import require

_DEFAULT_FPS = 25  # of a file that states no rate
_MAX_FPS = 1000  # a larger rate is an error of the file


class VideoReader:
    """The frames of a video file: ``for img in VideoReader(path)``.

    A frame is a float32 array (3, H, W), RGB, 0..255. It is rotated as the file requires.

    Parameters
    ----------
    path : str
        The file.

    Attributes
    ----------
    fps : float
        Frames per second. 25 if the file states none.
    n_frame : int
        Number of frames that the file states. Some formats only estimate it.

    Raises
    ------
    ValueError
        If the file does not exist, or OpenCV cannot read it.
    ImportError
        If OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """

    def __init__(self, path: str) -> None:
        cv2 = require('cv2', 'data')
        if not os.path.isfile(path):
            raise ValueError(f'{path}: no such file')
        self.capture = cv2.VideoCapture(path)
        if not self.capture.isOpened():
            raise ValueError(f'{path}: cannot be read as a video')
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < _MAX_FPS else _DEFAULT_FPS
        self.n_frame = max(0, int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            is_read, frame = self.capture.read()
            if not is_read:
                return
            yield frame[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)


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
