"""Videos, frame by frame, with OpenCV."""
import contextlib

import numpy as np

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
        If the file is none that OpenCV can read.
    ImportError
        If OpenCV is missing.
    """

    def __init__(self, path):
        import cv2
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


@contextlib.contextmanager
def video_writer(path, fps):
    """Writes an .mp4: gives a function that takes the frames, uint8 (3, H, W), RGB.

    MPEG-4 Part 2, which OpenCV writes on any machine: players take it, most browsers do not. It
    takes even sides only, so that odd ones lose their last row or column. There is no file
    without a frame. RuntimeError if OpenCV cannot write.
    """
    import cv2
    writer = None

    def write(img):
        nonlocal writer
        if writer is None:
            size = img.shape[:0:-1]
            writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), fps, size)
            if not writer.isOpened():
                raise RuntimeError(f'{path}: OpenCV cannot write an .mp4 of {size} pixels')
        writer.write(np.ascontiguousarray(img.transpose(1, 2, 0)[:, :, ::-1]))

    try:
        yield write
    finally:
        if writer is not None:
            writer.release()
