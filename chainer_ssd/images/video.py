"""Videos, frame by frame, with OpenCV."""

import contextlib
import os

import numpy as np

from chainer_ssd._extras import require

FPS = 25  # of a video that does not say


class Video:
    """Reads a video: ``for img in Video(path)``.

    Frames are float32 (3, H, W), RGB, 0..255, turned as the file says.

    Parameters
    ----------
    path : str
        The file.

    Attributes
    ----------
    fps : float
        Frames a second.
    n_frame : int
        How many frames the file promises, in some formats an estimate.

    Raises
    ------
    ValueError
        If there is no such file, or none that OpenCV can read.
    ImportError
        If OpenCV is missing.
    """

    def __init__(self, path):
        cv2 = require('cv2', 'data')
        if not os.path.isfile(path):
            raise ValueError(f'{path}: no such file')
        self.capture = cv2.VideoCapture(path)
        if not self.capture.isOpened():
            raise ValueError(f'{path}: cannot be read as a video')
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < 1000 else FPS
        self.n_frame = max(0, int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self):
        while True:
            there, frame = self.capture.read()
            if not there:
                return
            yield frame[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)


class VideoWriter:
    """Writes an .mp4, frame by frame, with one frame or more: ``with VideoWriter(path, fps)``.

    MPEG-4 Part 2, which OpenCV writes on any machine: players take it, most browsers do not. It
    takes even sides only, so that odd ones lose their last row or column.

    Parameters
    ----------
    path : str
        The file.
    fps : float
        Frames a second.

    Attributes
    ----------
    error : str or None
        Why there is no such file: whoever writes frames has other work to do with them.
    """

    def __init__(self, path, fps):
        self.path, self.fps, self.error = path, fps, None
        self._writer, self._n_frame = None, 0

    def __enter__(self):
        return self

    def write(self, img):
        """Takes the next frame, uint8 (3, H, W), RGB; after an error it does nothing."""
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

    def __exit__(self, *_):
        if self._writer is None:
            return
        self._writer.release()
        if self.error is None and not self._is_whole():  # OpenCV does not say that a disk is full
            self.error = f'{self.path}: OpenCV could not write all of it (is the disk full?)'
            with contextlib.suppress(OSError):
                os.remove(self.path)

    def _is_whole(self):
        try:
            return Video(self.path).n_frame >= self._n_frame
        except ValueError:
            return False
