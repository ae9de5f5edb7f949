"""The threads of OpenCV."""

from __future__ import annotations

from chainer_ssd._extras import require
from chainer_ssd._options import check_integer


def set_opencv_threads(n_thread: int) -> None:
    """Set how many threads OpenCV uses in this process.

    Call it with 0 before worker processes are forked. A forked process does not inherit the threads
    and can block on the first call that needs them.

    Parameters
    ----------
    n_thread : int
        Number of threads. With 0, OpenCV starts none.

    Raises
    ------
    TypeError, ValueError
        If ``n_thread`` is not an integer of 0 or more.
    ImportError
        If OpenCV is missing (``pip install "chainer_ssd[data]"``).
    """
    check_integer('n_thread', n_thread)
    require('cv2', 'data').setNumThreads(n_thread)
