import cv2
import pytest

from chainer_ssd.images import set_opencv_threads


def test_number_of_threads():
    before = cv2.getNumThreads()
    try:
        set_opencv_threads(1)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_error_names_the_number():
    with pytest.raises(ValueError, match='n_thread = -1: expected an integer >= 0'):
        set_opencv_threads(-1)
