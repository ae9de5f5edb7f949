"""chainer-ssd predict: patterns, cameras and streams."""

import json
import os
import shutil
import signal

import pytest

from chainer_ssd.images import VideoReader
from tests.cli.command import COMMAND, interrupt
from tests.cli.pictures import SCORE, picture, stream_pictures, write_video

cv2 = pytest.importorskip('cv2', reason='OpenCV is not installed')


def names_of(detections):
    return [os.path.basename(each['file']) for each in detections['images']]


def test_a_pattern_stands_for_the_files_that_fit(run_predict, random_detector, tmp_path):
    inner = tmp_path / 'in' / 'b' / 'c'
    inner.mkdir(parents=True)
    for name in ('in/2.png', 'in/10.png', 'in/1.bmp', 'in/b/3.png', 'in/b/c/4.png'):
        picture().save(tmp_path / name)
    write_video(tmp_path / 'in/5.avi')
    (tmp_path / 'in/6.txt').write_text('text')
    for pattern, names, n_video in (
        ('in/*.png', ['10.png', '2.png'], 0),
        ('in/?.*', ['1.bmp', '2.png'], 1),
        ('in/**/[34].png', ['3.png', '4.png'], 0),
        ('in/**', ['1.bmp', '10.png', '2.png', '3.png', '4.png'], 1),
    ):
        status, printed, errors, found = run_predict(random_detector, tmp_path / pattern)
        assert status == 0 and errors == '', pattern
        assert names_of(found) == names and len(found['videos']) == n_video
        assert ('left out: 6.txt' in printed) == bool(n_video)


def test_a_pattern_without_a_file_is_named(run_predict, random_detector, tmp_path):
    status, _, errors, found = run_predict(random_detector, tmp_path / '*.png')
    assert status == 1 and '*.png: no image and no video fits this pattern' in errors
    assert len(found['failed']) == 1


def test_a_file_comes_before_a_pattern_and_a_camera(
    run_predict, random_detector, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ('[1].png', '1.png', '2.png'):
        picture().save(name)
    shutil.move('2.png', '0')
    status, _, errors, found = run_predict(random_detector, '[1].png', '0')
    assert status == 0, errors
    assert names_of(found) == ['[1].png', '0']


class Camera:
    """An OpenCV capture of four frames."""

    def __init__(self, source):
        self.source, self.left = source, 4

    def isOpened(self):
        return self.source == 3

    def get(self, key):
        return {cv2.CAP_PROP_FPS: 30.0}.get(key, -1.0)

    def read(self):
        self.left -= 1
        return self.left >= 0, cv2.imread(self.file)

    def release(self):
        self.left = 0


@pytest.fixture
def camera(monkeypatch, tmp_path):
    Camera.file = str(tmp_path / 'frame.png')
    picture((96, 128)).save(Camera.file)
    monkeypatch.setattr(cv2, 'VideoCapture', Camera)


def test_a_camera(run_predict, random_detector, tmp_path, camera, monkeypatch):
    # Its video is read back by the real OpenCV.
    monkeypatch.setattr('chainer_ssd.images.video.VideoWriter._is_complete', lambda self: True)
    status, printed, errors, found = run_predict(random_detector, '3', '--score', SCORE)
    assert status == 0 and errors == ''
    assert 'camera 3: 30 frames/s. Ctrl-C ends it' in printed and 'camera 3, 4 frames: ' in printed
    (video,) = found['videos']
    assert video['file'] == 'camera 3' and len(video['frames']) == 4
    assert video['video'] == str(tmp_path / 'out' / 'camera_3.mp4') and video['frames'][0]


def test_frames_of_a_camera_can_be_limited(run_predict, random_detector, camera, monkeypatch):
    monkeypatch.setattr('chainer_ssd.images.video.VideoWriter._is_complete', lambda self: True)
    status, _, _, found = run_predict(random_detector, '3', '--max-frames', 2)
    assert status == 0 and len(found['videos'][0]['frames']) == 2


def test_a_camera_that_is_missing_is_named(run_predict, random_detector, camera):
    status, _, errors, found = run_predict(random_detector, '7')
    assert status == 1 and 'camera 7: cannot be opened\n' in errors
    assert found['failed'] == [{'file': 'camera 7', 'error': 'camera 7: cannot be opened'}]


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('0', 'rtsp://me:pa55@host/a?key=pa55'), 'camera 0 and rtsp://host/a: expected one'),
        (('a.png', '--max-frames', 2), '--max-frames 2 goes with a camera or a stream'),
        (('0', '--max-frames', 0), 'expected an integer >= 1'),
    ],
)
def test_wrong_arguments(run_predict, random_detector, args, message):
    status, _, errors, found = run_predict(random_detector, *args)
    assert status == 2 and message in errors.splitlines()[-1] and not found
    assert 'pa55' not in errors


def test_without_opencv_the_extra_is_named(run_predict, random_detector, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'cv2', None)
    status, _, errors, _ = run_predict(random_detector, '0')
    assert status == 2
    assert 'cv2 is needed here' in errors and 'pip install "chainer_ssd[data]"' in errors


def test_a_stream_keeps_no_secret(run_predict, random_detector, tmp_path):
    with stream_pictures() as port:
        status, printed, errors, found = run_predict(
            random_detector,
            f'http://me:pa55@127.0.0.1:{port}/cam?key=pa55',
            *('--max-frames', 3, '--score', SCORE, '--save-txt', '--save-json', '--save-crops'),
        )
    assert status == 0, errors
    (video,) = found['videos']
    assert video['file'] == f'http://127.0.0.1:{port}/cam' and len(video['frames']) == 3
    assert len(list(VideoReader(tmp_path / 'out/stream.mp4'))) == 3
    assert len(list((tmp_path / 'out/labels/stream_frames').iterdir())) == 3
    assert 'pa55' not in printed + errors
    texts = [*(tmp_path / 'out').rglob('*.json'), *(tmp_path / 'out').rglob('*.txt')]
    assert len(texts) == 7 and not [each for each in texts if 'pa55' in each.read_text()]


def test_a_stream_that_ends_is_complete(run_predict, random_detector):
    with stream_pictures(5) as port:
        status, _, errors, found = run_predict(random_detector, f'http://127.0.0.1:{port}/cam')
    assert status == 0, errors
    assert 1 <= len(found['videos'][0]['frames']) <= 5


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stream_and_keeps_all(random_detector, tmp_path, number):
    picture().save(tmp_path / 'a.png')
    with stream_pictures() as port:
        command = [*COMMAND, 'predict', random_detector, 'a.png', f'http://127.0.0.1:{port}/cam']
        awaited = tmp_path / 'predictions/labels/stream_frames/000003.txt'
        command.append('--save-txt')
        status, printed, errors, _ = interrupt(command, awaited, tmp_path, number)
    assert status == 0, errors
    assert 'images/s from file to file' in printed
    found = json.loads((tmp_path / 'predictions/detections.json').read_text())
    assert len(found['images']) == 1 and found['failed'] == []
    (video,) = found['videos']
    n_frame = len(video['frames'])
    assert n_frame >= 4 and VideoReader(tmp_path / 'predictions/stream.mp4').n_frame == n_frame
    assert len(list((tmp_path / 'predictions/labels/stream_frames').iterdir())) == n_frame
