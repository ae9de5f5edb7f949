"""Images and videos for chainer-ssd predict, and a server that streams them."""

import contextlib
import http.server
import io
import threading

import numpy as np
import pytest
from PIL import Image

SCORE = 0.012  # some detections of a random model have more


def picture(size=(60, 80), seed=0):
    coarse = np.random.RandomState(seed).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size[::-1])


def write_video(path, n_frame=5, fps=8, codec='MJPG', size=(240, 320)):
    """Writes a video of a red square that moves on blue."""
    cv2 = pytest.importorskip('cv2', reason='OpenCV is not installed')
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size[::-1])
    assert writer.isOpened()
    for i in range(n_frame):
        frame = np.zeros((*size, 3), np.uint8)
        frame[:, :, 0] = 200
        frame[50:150, 20 * i : 20 * i + 100] = 0, 0, 250
        writer.write(frame)
    writer.release()


@contextlib.contextmanager
def stream_pictures(n_picture=None):
    """Yields the port of a server that sends pictures as an MJPEG stream, without end by default.

    Skips the test if OpenCV cannot read such a stream.
    """
    cv2 = pytest.importorskip('cv2', reason='OpenCV is not installed')
    is_over = threading.Event()
    parts = []
    for seed in range(4):
        jpeg = io.BytesIO()
        picture((96, 128), seed).save(jpeg, 'JPEG')
        head = f'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.tell()}\r\n\r\n'
        parts.append(head.encode() + jpeg.getvalue() + b'\r\n')

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
            self.end_headers()
            with contextlib.suppress(OSError):  # the reader ends the connection
                number = 0
                while number != n_picture and not is_over.wait(0.01):
                    self.wfile.write(parts[number % len(parts)])
                    number += 1

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            capture = cv2.VideoCapture(f'http://127.0.0.1:{server.server_port}/try')
            if not capture.isOpened():
                pytest.skip('this OpenCV reads no stream over HTTP')
            capture.release()
            yield server.server_port
        finally:
            is_over.set()
            server.shutdown()
            thread.join()
